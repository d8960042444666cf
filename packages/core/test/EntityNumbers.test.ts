import { assert, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import { EntityNumbers } from "../src/internal/projection/EntityNumbers.ts"

const persistenceId = PersistenceId.make("cart", "a")
const slice = Slice.ofPersistenceId(persistenceId)
const stored = new Map([[persistenceId, { sequenceNumber: SequenceNumber.make(5), revision: 0 }]])

const event = (n: number) =>
  Envelope.placeholder({
    persistenceId,
    sequenceNumber: SequenceNumber.make(n),
    slice,
    position: undefined,
    timestamp: Timestamp.make(n)
  })

/** Loads so many others that what is known of those that nobody needs is forgotten. */
const loadOthers = (numbers: EntityNumbers) => {
  const others = Array.from({ length: 10_000 }, (_, i) => PersistenceId.make("cart", `other-${i}`))
  numbers.loaded(others, new Map())
}

it("a number that became known while an older one was loaded stays", () => {
  const numbers = new EntityNumbers()
  numbers.loaded([persistenceId], stored)
  assert.strictEqual(numbers.last(persistenceId), 5)
  for (let n = 6; n <= 10; n++) {
    const sequenceNumber = SequenceNumber.make(n)
    numbers.accept(persistenceId, sequenceNumber)
    numbers.handled(slice, event(n))
  }
  numbers.stored(slice)
  numbers.loaded([persistenceId], stored)
  assert.strictEqual(numbers.last(persistenceId), 10)
})

it("what was handled before is not to be stored again, though that was forgotten until its turn in the log was passed", () => {
  const numbers = new EntityNumbers()
  numbers.loaded([persistenceId], stored)
  loadOthers(numbers)
  assert.isUndefined(numbers.last(persistenceId))
  numbers.handled(slice, event(4))
  assert.deepStrictEqual([...numbers.ahead(slice)], [])
})

it("of an entity that has an event in hand it is not forgotten what was handled before", () => {
  const numbers = new EntityNumbers()
  numbers.loaded([persistenceId], stored)
  numbers.accept(persistenceId, SequenceNumber.make(6))
  loadOthers(numbers)
  for (const n of [4, 6]) numbers.handled(slice, event(n))
  assert.deepStrictEqual([...numbers.ahead(slice)], [[persistenceId, { first: 6, last: 6 }]])
})
