import { assert, describe, it } from "@effect/vitest"
import { encoded, type EncodedEnvelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import { SnapshotNumbers } from "../src/internal/reading/SnapshotNumbers.ts"

const slice = Slice.make(7)

const idOf = (id: string) => PersistenceId.make("cart", id)

/** An event of the one log that is read. */
const event = (id: string, number: number, position: number, payload: string | undefined = "event"): EncodedEnvelope =>
  encoded({
    persistenceId: idOf(id),
    sequenceNumber: SequenceNumber.make(number),
    slice,
    position: Position.make(position),
    timestamp: Timestamp.make(position)
  }, payload === undefined ? undefined : EventCodec.string.encodeUnsafe(payload))

const deleted = (id: string, number: number, position: number) => encoded(event(id, number, position), undefined)

/** Of a log that had so many events when reading began. */
const upTo = (head: number, capacity?: number) => new SnapshotNumbers(headsOf(head), capacity)

const headsOf = (head: number) => new Map([[slice, Offset.make(head, head)]])

const learn = (numbers: SnapshotNumbers, newest: Readonly<Record<string, number>>) =>
  numbers.learn(
    Object.keys(newest).map(idOf),
    new Map(Object.entries(newest).filter(([, number]) => number > 0).map(([id, number]) => [idOf(id), number]))
  )

const unknown = (numbers: SnapshotNumbers, ...page: ReadonlyArray<EncodedEnvelope>) =>
  Array.from(numbers.unknown(page), PersistenceId.entityId)

describe("the numbers of snapshots", () => {
  it("are looked up once for the entities of the past, and not for what is appended later", () => {
    const numbers = upTo(10)
    assert.deepStrictEqual(unknown(numbers, event("a", 1, 9), event("a", 2, 10), event("b", 1, 11)), ["a"])
    learn(numbers, { a: 0 })
    assert.deepStrictEqual(unknown(numbers, event("a", 2, 10), event("b", 2, 12)), [])
  })

  it("are looked up again where an event was deleted after the snapshot that is known", () => {
    const numbers = upTo(10)
    learn(numbers, { a: 3, b: 0 })
    assert.deepStrictEqual(unknown(numbers, deleted("a", 3, 3), deleted("b", 4, 20), deleted("c", 1, 30)), ["b", "c"])
    learn(numbers, { b: 4 })
    assert.deepStrictEqual(unknown(numbers, deleted("a", 4, 5), deleted("b", 4, 20)), ["a"])
  })

  it("say which events a snapshot includes, and which one it stands for", () => {
    const numbers = upTo(10)
    const page = [event("a", 2, 1), event("a", 3, 2), event("a", 4, 3), event("b", 1, 4), event("c", 1, 5)]
    assert.deepStrictEqual([...numbers.due(page)], [])
    learn(numbers, { a: 3, b: 0, c: 7 })
    assert.deepStrictEqual([...numbers.due(page)], [[idOf("a"), 3]])
    assert.deepStrictEqual(page.map((_) => numbers.notBefore(_)), [3, 3, undefined, undefined, 7])
  })

  it("of too many entities are forgotten, and the heads are read again before events that may have been owed", () => {
    const numbers = upTo(10, 2)
    learn(numbers, { a: 12, b: 0, c: 0 })
    numbers.forget()
    // only what comes after the heads that are known may be taken for new
    assert.isFalse(numbers.needsHeads([event("a", 9, 10)]))
    assert.isTrue(numbers.needsHeads([event("a", 10, 11)]))
    numbers.raise(headsOf(13))
    assert.isFalse(numbers.needsHeads([event("a", 10, 11)]))
    assert.deepStrictEqual(unknown(numbers, event("a", 10, 11), event("d", 1, 14)), ["a"])
  })

  it("of entities without snapshots are forgotten, and nothing is owed to those", () => {
    const numbers = upTo(10, 2)
    learn(numbers, { a: 0, b: 0, c: 0 })
    numbers.forget()
    assert.isFalse(numbers.needsHeads([event("a", 10, 11)]))
    assert.deepStrictEqual(unknown(numbers, event("a", 9, 10), event("c", 1, 9)), ["a"])
  })
})
