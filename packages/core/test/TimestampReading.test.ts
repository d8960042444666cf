import { assert, describe, it } from "@effect/vitest"
import type { Element } from "@sluice/core/Envelope"
import * as Envelope from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Schema from "effect/Schema"
import { type Held, HeldBack } from "../src/internal/projection/HeldBack.ts"
import { OffsetTracker } from "../src/internal/projection/OffsetTracker.ts"
import { TimestampReading } from "../src/internal/projection/TimestampReading.ts"

const idOf = (name: string) => PersistenceId.make("cart", name)

const place = (name: string, n: number, timestamp: number) => {
  const persistenceId = idOf(name)
  return {
    persistenceId,
    sequenceNumber: SequenceNumber.make(n),
    slice: Slice.ofPersistenceId(persistenceId),
    position: undefined,
    timestamp: Timestamp.make(timestamp)
  }
}

const event = (name: string, n: number, timestamp = n * 10) => Envelope.make(place(name, n, timestamp), n, 1)
const reminder = (name: string, n: number, timestamp = n * 10) => Envelope.reminder(place(name, n, timestamp))

/** A reading of the slices of these entities, of which these numbers are stored. */
const readingOf = (numbers: Readonly<Record<string, number>>, offsets: Offset.Offsets = Offset.none) => {
  const reading = new TimestampReading(SliceRange.full, { offsets, completeUpTo: new Map() })
  const ids = Object.keys(numbers).map(idOf)
  const found = Object.entries(numbers).filter(([, n]) => n > 0)
  reading.loaded(
    ids,
    new Map(found.map(([name, n]) => [idOf(name), { sequenceNumber: SequenceNumber.make(n), revision: 0 }]))
  )
  return reading
}

const sliceOf = (name: string) => Slice.ofPersistenceId(idOf(name))

/** Events that wait, as a worker has them wait. */
const waitingOf = (reading: TimestampReading) => {
  const held = new HeldBack()
  return {
    held,
    hold: (element: Held) => {
      reading.hold(element)
      held.hold(element)
    },
    due: (persistenceId: PersistenceId.PersistenceId) => held.due(persistenceId, reading.last(persistenceId) ?? -1)
  }
}

const judgeAll = (reading: TimestampReading, ...elements: ReadonlyArray<Element<unknown>>) =>
  elements.map((element) => reading.judge(element))

describe("what is read of a source without positions", () => {
  it("is judged by the numbers of entities", () => {
    const reading = readingOf({ a: 0, b: 5 })
    assert.deepStrictEqual(
      judgeAll(reading, event("a", 1), event("a", 1), event("a", 2), event("b", 5), event("b", 6), event("b", 8)),
      ["accepted", "duplicate", "accepted", "duplicate", "accepted", "gap"]
    )
    assert.strictEqual(reading.missingFrom(idOf("b")), 7)
    assert.deepStrictEqual(judgeAll(readingOf({ a: 0 }), event("a", 7), event("c", 1)), ["unproven", "unknown"])
  })

  it("is judged so at any number and any time", () => {
    const last = Number.MAX_SAFE_INTEGER
    const reading = readingOf({ a: last - 2, b: 2 ** 31 - 1 })
    // late, and at the same time
    assert.deepStrictEqual(
      judgeAll(
        reading,
        event("a", last - 1, 5),
        event("a", last, 5),
        event("b", 2 ** 31, 3),
        event("b", 2 ** 31 + 1, 2)
      ),
      ["accepted", "accepted", "accepted", "accepted"]
    )
  })

  it("has an event loaded of which only a reminder comes, if it is next", () => {
    const reading = readingOf({ a: 2 })
    assert.deepStrictEqual(
      judgeAll(reading, reminder("a", 2), reminder("a", 4), reminder("a", 3), reminder("a", 3), event("a", 3)),
      ["duplicate", "gap", "unloaded", "unloaded", "accepted"]
    )
  })

  it("leaves out what is older than the time to begin at, also after it was stored", () => {
    const begun = readingOf({ a: 0, b: 0 }, Offset.since(Timestamp.make(100)))
    assert.deepStrictEqual(
      judgeAll(begun, event("a", 1, 99), event("a", 2, 100), reminder("b", 1, 50)),
      ["duplicate", "accepted", "duplicate"]
    )
    const later = new TimestampReading(SliceRange.full, {
      offsets: new Map([[sliceOf("a"), Offset.make(0, 500)]]),
      completeUpTo: new Map([[sliceOf("a"), Offset.make(0, 100)]])
    })
    later.loaded([idOf("a")], new Map())
    assert.deepStrictEqual(judgeAll(later, event("a", 1, 99), event("a", 2, 400)), ["duplicate", "accepted"])
  })

  it("tells by the numbers of entities what was handled behind an event that was not, and no offset moves past that", () => {
    const offsets = Offset.since(Timestamp.make(5))
    const reading = readingOf({ a: 0, b: 0 }, offsets)
    const tracker = new OffsetTracker(offsets, reading)
    judgeAll(reading, event("a", 1, 10), event("b", 1, 20))
    reading.handledBehind([event("b", 1, 20)])
    tracker.advance([])
    assert.isTrue(tracker.isAhead)
    const moves = tracker.moves
    assert.deepStrictEqual(
      moves.map(({ entities, slice, to }) => [slice, to.timestamp as number, entities?.get(idOf("b"))?.last as number]),
      [[sliceOf("b"), 5, 1]]
    )
    const later = readingOf({ a: 0, b: 1 }, offsets)
    assert.deepStrictEqual(judgeAll(later, event("a", 1, 10), event("b", 1, 20)), ["accepted", "duplicate"])
  })

  it("has come to a time once an event of it is stored, and none before it waits", () => {
    const reading = readingOf({ a: 0, b: 0 })
    const tracker = new OffsetTracker(Offset.none, reading)
    const handle = (...elements: ReadonlyArray<Envelope.Envelope<number>>) => {
      tracker.advance(elements)
      return tracker.stored()
    }
    assert.isTrue(tracker.follow(Offset.none))
    assert.isFalse(tracker.follow(Offset.since(Timestamp.make(30))))
    judgeAll(reading, event("a", 1, 10), event("b", 1, 30))
    assert.isFalse(handle(event("a", 1, 10)))
    const waiting = waitingOf(reading)
    waiting.hold(event("a", 3, 20))
    assert.strictEqual(reading.waitsFrom as number, 20)
    assert.isFalse(handle(event("b", 1, 30)))
    judgeAll(reading, event("a", 2, 15))
    judgeAll(reading, waiting.due(idOf("a"))!)
    assert.isFalse(handle(event("a", 2, 15)))
    // it is handled, and not stored yet
    tracker.advance([event("a", 3, 20)])
    assert.strictEqual(reading.waitsFrom as number, 20)
    assert.isTrue(tracker.stored())
    assert.isUndefined(reading.waitsFrom)
  })

  it("may have events that wait until it has read again what was read from the earliest offset on", () => {
    const offsets = new Map([...Offset.since(Timestamp.make(50)), [sliceOf("a"), Offset.make(0, 90)]] as const)
    const reading = readingOf({ a: 9, b: 5 }, offsets)
    assert.isFalse(new OffsetTracker(offsets, reading).follow(Offset.since(Timestamp.make(90))))
    judgeAll(reading, event("b", 5, 60))
    assert.strictEqual(reading.waitsFrom as number, 51)
    judgeAll(reading, event("a", 9, 90))
    assert.isUndefined(reading.waitsFrom)
    assert.isTrue(new OffsetTracker(offsets, reading).follow(Offset.since(Timestamp.make(90))))
  })

  it("moves the offset of a slice to its newest time, and all of them from time to time", () => {
    const reading = readingOf({ a: 0, b: 0 })
    const tracker = new OffsetTracker(Offset.none, reading)
    const handle = (...elements: ReadonlyArray<Envelope.Envelope<number>>) => {
      judgeAll(reading, ...elements)
      tracker.advance(elements)
      const { moves } = tracker
      tracker.stored()
      return moves
    }
    const first = handle(event("a", 1, 100))
    assert.strictEqual(first.length, SliceRange.size(SliceRange.full))
    assert.isTrue(first.every(({ entities, to }) => to.timestamp === 100 && entities !== undefined))
    assert.deepStrictEqual(
      first.flatMap(({ entities }) => [...entities!]),
      [[idOf("a"), { first: SequenceNumber.make(1), last: SequenceNumber.make(1) }]]
    )
    const second = handle(event("b", 1, 300), event("a", 2, 300), event("b", 2, 200))
    assert.deepStrictEqual(
      second.map(({ from, slice, to }): ReadonlyArray<number | undefined> => [slice, from?.timestamp, to.timestamp]),
      [sliceOf("a"), sliceOf("b")].toSorted((a, b) => a - b).map((slice) => [slice, 100, 300])
    )
    for (let n = 3; n < 12; n++) handle(event("a", n, 1000 + n))
    assert.isAbove(Math.min(...[...tracker.offsets.values()].map(({ timestamp }) => timestamp)), 1000)
  })

  it("keeps the offset of a slice before an event that waits, until it is handled", () => {
    const reading = readingOf({ a: 2 })
    const tracker = new OffsetTracker(Offset.none, reading)
    const handle = (...elements: ReadonlyArray<Envelope.Envelope<number>>) => {
      tracker.advance(elements)
      tracker.stored()
      return tracker.offsets.get(sliceOf("a"))?.timestamp as number
    }
    const { due, hold } = waitingOf(reading)
    const waiting = event("a", 5, 50)
    assert.strictEqual(reading.judge(waiting), "gap")
    hold(waiting)
    const missing = [event("a", 3, 60), event("a", 4, 60)]
    judgeAll(reading, missing[0]!)
    assert.isUndefined(due(idOf("a")))
    assert.strictEqual(handle(missing[0]!), 49)
    judgeAll(reading, missing[1]!)
    assert.strictEqual(due(idOf("a")), waiting)
    assert.strictEqual(handle(missing[1]!), 49)
    judgeAll(reading, waiting)
    // what could not be stored holds it back once more
    tracker.advance([waiting])
    tracker.revert()
    assert.strictEqual(handle(event("b", 1, 70)), 49)
    assert.strictEqual(handle(event("a", 6, 80)), 80)
  })

  it("moves no offset by what is replayed, until others are past all of it", () => {
    const reading = readingOf({ a: 2, b: 0 })
    const tracker = new OffsetTracker(Offset.none, reading)
    const handle = (...elements: ReadonlyArray<Envelope.Envelope<number>>) => {
      judgeAll(reading, ...elements)
      tracker.advance(elements)
      tracker.stored()
      return tracker.offsets.get(sliceOf("a"))?.timestamp as number
    }
    handle(event("b", 1, 10))
    reading.runsAhead(idOf("a"))
    assert.strictEqual(handle(event("a", 3, 20), event("a", 4, 300)), 10)
    handle(event("b", 2, 200))
    assert.strictEqual(handle(event("a", 5, 310)), 10)
    handle(event("b", 3, 320))
    assert.strictEqual(handle(event("a", 6, 330)), 330)
    // nothing of it has come yet
    reading.runsAhead(idOf("a"))
    handle(event("b", 4, 400))
    assert.strictEqual(handle(event("a", 7, 350)), 330)
  })

  it.prop(
    "hands over each event once and in order, whatever comes in whatever order",
    [Schema.Array(
      Schema.Tuple([Schema.Literals(["a", "b"]), Schema.Literals([1, 2, 3, 4, 5, 6, 7, 8]), Schema.Boolean])
    )],
    ([shown]) => {
      const reading = readingOf({ a: 0, b: 0 })
      const { due, held, hold } = waitingOf(reading)
      const handled: Record<string, Array<number>> = { a: [], b: [] }
      const judge = (element: Held) => {
        const verdict = reading.judge(element)
        if (verdict === "accepted") handled[PersistenceId.entityId(element.persistenceId)]!.push(element.sequenceNumber)
        else if (verdict !== "duplicate") hold(element)
      }
      const take = (element: Held) => {
        judge(element)
        for (let next = due(element.persistenceId); next !== undefined; next = due(element.persistenceId)) {
          judge(next)
          if (reading.last(next.persistenceId)! < next.sequenceNumber) break
          held.accepted(next)
        }
      }
      for (const [name, n, isReminder] of shown) take(isReminder ? reminder(name, n) : event(name, n))
      // a repair brings all of them
      for (let n = 1; n <= 9; n++) for (const name of ["a", "b"]) take(event(name, n))
      const all = [1, 2, 3, 4, 5, 6, 7, 8, 9]
      assert.deepStrictEqual(handled, { a: all, b: all })
      assert.isTrue(held.isEmpty)
    }
  )
})
