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

it("a number that became known while an older one was loaded stays", () => {
  const numbers = new EntityNumbers()
  numbers.loaded([persistenceId], stored)
  assert.strictEqual(numbers.last(persistenceId), 5)
  for (let n = 6; n <= 10; n++) {
    const sequenceNumber = SequenceNumber.make(n)
    numbers.accept(persistenceId, sequenceNumber)
    numbers.handled(
      slice,
      Envelope.placeholder({
        persistenceId,
        sequenceNumber,
        slice,
        position: undefined,
        timestamp: Timestamp.make(n)
      })
    )
  }
  numbers.stored(slice)
  numbers.loaded([persistenceId], stored)
  assert.strictEqual(numbers.last(persistenceId), 10)
})
