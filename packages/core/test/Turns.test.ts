import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as Projection from "@sluice/core/Projection"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Turns } from "../src/internal/projection/Turns.ts"
import { settle, sourceOf, start, storedPositions, test } from "./projectionKit.ts"

/** Each of them takes as long as is said, in tenths of a millisecond. */
const durations = Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 500 })))

describe("turns of new elements and of replays", () => {
  it("are those of what is new while it waits, and replays have the gaps", () => {
    const turns = new Turns()
    assert.isFalse(turns.next(true, true, 0))
    assert.isFalse(turns.next(true, true, 0))
    assert.isTrue(turns.next(false, true, 0))
    assert.isFalse(turns.next(true, false, 1))
    assert.isFalse(turns.next(false, false, 2))
  })

  it("of a replay in a gap are over as soon as something new waits, and after a millisecond for it to come", () => {
    const turns = new Turns()
    assert.isTrue(turns.next(false, true, 10))
    assert.isFalse(turns.isOver(false, true, 10.9))
    assert.isTrue(turns.isOver(true, true, 10))
    assert.isTrue(turns.isOver(false, true, 11))
  })

  it("of replays in a gap are followed by a rest that is as long, at most ten milliseconds", () => {
    const turns = new Turns()
    assert.isFalse(turns.next(true, false, 0))
    assert.isTrue(turns.next(false, true, 10))
    assert.isFalse(turns.next(false, true, 13))
    assert.strictEqual(turns.rest(13), 3)
    assert.isFalse(turns.next(false, true, 15.9))
    assert.isTrue(turns.next(false, true, 16))
    assert.strictEqual(turns.rest(16), 0)
    assert.isFalse(turns.next(false, true, 46), "it has taken 30")
    assert.isFalse(turns.next(false, true, 55.9))
    assert.isTrue(turns.next(false, true, 56))
  })

  it("of a replay are over before whoever has had it waits: it rests for as long as it has worked", () => {
    const turns = new Turns()
    assert.isFalse(turns.next(true, false, 0))
    assert.isTrue(turns.next(false, true, 1))
    turns.end(false, 2)
    assert.strictEqual(turns.rest(2), 1)
    turns.end(false, 10)
    assert.strictEqual(turns.rest(10), 0)
    assert.isTrue(turns.next(false, true, 11))
    assert.isFalse(turns.next(false, true, 12))
    assert.strictEqual(turns.rest(12), 1)
  })

  it("of replays are not followed by a rest once nothing new has come for a tenth of a second, or where they are pressing", () => {
    const turns = new Turns()
    assert.isTrue(turns.next(false, true, 0))
    assert.isTrue(turns.next(false, true, 3))
    assert.isFalse(turns.next(true, true, 6))
    assert.isTrue(turns.next(false, true, 9))
    assert.isTrue(turns.next(false, true, 12, true))
    assert.isTrue(turns.next(false, true, 106))
    assert.isTrue(turns.next(false, true, 109))
  })

  it("of replays that rest are not given to them by what is new", () => {
    const turns = new Turns()
    assert.isFalse(turns.next(true, false, 0))
    assert.isTrue(turns.next(false, true, 10))
    assert.isFalse(turns.next(true, true, 13))
    assert.isFalse(turns.next(true, true, 13))
    assert.isFalse(turns.next(false, true, 13))
    assert.strictEqual(turns.rest(13), 3)
  })

  it("of a replay that is due last as long as it is owed, at most a millisecond each", () => {
    const turns = new Turns()
    assert.isFalse(turns.next(true, true, 0))
    assert.isTrue(turns.next(true, true, 2.4), "it is owed 0.8")
    assert.isFalse(turns.isOver(true, true, 3.1))
    assert.isTrue(turns.isOver(true, true, 3.2))
    turns.next(true, true, 3.2)
    assert.isTrue(turns.next(true, true, 15.2), "it is owed four")
    assert.isFalse(turns.isOver(true, true, 16.1))
    assert.isTrue(turns.isOver(true, true, 16.2))
  })

  it("of a replay that has taken longer than it was owed are fewer", () => {
    const turns = new Turns()
    assert.isFalse(turns.next(true, true, 0))
    assert.isTrue(turns.next(true, true, 3), "it is owed one")
    assert.isFalse(turns.next(true, true, 6), "it has had three")
    assert.isFalse(turns.next(true, true, 11.9))
    assert.isTrue(turns.next(true, true, 27), "it is owed five")
  })

  it("are not owed from before a gap, or by those that were alone", () => {
    const turns = new Turns()
    turns.next(true, true, 0)
    turns.next(true, false, 300)
    assert.isFalse(turns.next(true, true, 600))
    assert.isTrue(turns.next(true, true, 900))
    assert.isTrue(turns.next(false, true, 905))
    assert.isFalse(turns.next(true, true, 910))
  })

  it.prop("leave replays a quarter of the time, however long each element takes", [durations, durations], ([
    ofNew,
    ofReplays
  ]) => {
    const turns = new Turns()
    let now = 0
    let replayed = 0
    /** For how long something new has waited for replays. */
    let longest = 0
    let waited = 0
    for (let n = 0, r = 0; now < 20_000;) {
      const begun = now
      if (!turns.next(true, true, now)) {
        now += ofNew[n++ % ofNew.length]! / 10
        waited = 0
        continue
      }
      do now += ofReplays[r++ % ofReplays.length]! / 10
      while (!turns.isOver(true, true, now))
      replayed += now - begun
      waited += now - begun
      longest = Math.max(longest, waited)
    }
    assert.closeTo(replayed / now, 1 / 4, 0.01)
    // a third of what one before has taken, and an element to its end
    assert.isAtMost(longest, 50 / 3 + 50 + 0.1)
  })

  it.prop("leave replays a quarter of the time, also of chunks that take long", [
    durations,
    durations,
    Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 }))
  ], ([ofNew, ofReplays, length]) => {
    const turns = new Turns()
    let now = 0
    let replayed = 0
    /** For how long a replay has waited for what is new. */
    let longest = 0
    let lastReplay = 0
    for (let n = 0, r = 0; now < 200_000;) {
      const begun = now
      if (turns.next(true, true, now)) {
        longest = Math.max(longest, now - lastReplay)
        do now += ofReplays[r++ % ofReplays.length]! / 10
        while (!turns.isOver(true, true, now))
        replayed += now - begun
        lastReplay = now
      } else {
        const end = n + length
        do now += ofNew[n++ % ofNew.length]! / 10
        while (n < end && !turns.isOver(true, true, now))
      }
    }
    assert.closeTo(replayed / now, 1 / 4, 0.02)
    // what it is owed after three seconds, and an element to its end of each
    assert.isAtMost(longest, 3 * (1_000 + 50) + 50 + 0.1)
  })

  it("are replays' in time, where they come in the middle of a chunk", () => {
    const turns = new Turns()
    assert.isFalse(turns.next(true, false, 0))
    assert.isFalse(turns.isOver(true, false, 60_000))
    assert.isTrue(turns.isOver(true, true, 60_000))
    assert.isFalse(turns.next(true, true, 60_000))
    assert.isFalse(turns.isOver(true, true, 62_999))
    assert.isTrue(turns.isOver(true, true, 63_000))
    assert.isTrue(turns.next(true, true, 63_000))
  })

  it("are owed their share also of one element that takes longer than they are ever kept waiting otherwise", () => {
    const turns = new Turns()
    assert.isFalse(turns.next(true, true, 0))
    assert.isTrue(turns.next(true, true, 30_000))
    assert.isTrue(turns.next(true, true, 39_999))
    assert.isFalse(turns.next(true, true, 40_001))
  })
})

const slice = Slice.make(5)
const at = (id: string, sequenceNumber: number, position: number) => ({
  persistenceId: PersistenceId.make("note", id),
  sequenceNumber: SequenceNumber.make(sequenceNumber),
  slice,
  position: Position.make(position),
  timestamp: Timestamp.make(position)
})
const event = (id: string, sequenceNumber: number, position: number) =>
  Envelope.encoded(at(id, sequenceNumber, position), EventCodec.string.encodeUnsafe(`${id} ${sequenceNumber}`))

type Handle = (envelope: Envelope.Envelope<string>) => Effect.Effect<void>

describe("a worker in the middle of a replay", () => {
  for (
    const [guarantee, make] of [
      ["exactly once", (handler: Handle) => Projection.exactlyOnce("notes", handler)],
      ["at least once", (handler: Handle) => Projection.atLeastOnce("notes", handler)]
    ] as const
  ) {
    test(
      `${guarantee}, handles what is new after the one event that it has in hand`,
      Effect.gen(function*() {
        const past = 40
        const replayed = Array.from({ length: past + 1 }, (_, i) => event("woken", i + 1, i + 1))
        const feed = yield* Queue.unbounded<Envelope.EncodedElement>()
        const source = Source.make({
          ...sourceOf(Effect.succeed({ journal: "j", envelopes: Stream.fromQueue(feed) })).provider,
          entity: (_, from, to) =>
            Stream.fromIterable(replayed.filter(({ sequenceNumber }) => from <= sequenceNumber && sequenceNumber <= to))
        })
        const handled: Array<string> = []
        const goOn = Latch.makeUnsafe()
        const projection = source.pipe(make(({ event }) =>
          Effect.suspend(() => {
            handled.push(event)
            return event === "woken 2" ? goOn.await : Effect.void
          })
        ))
        yield* start(projection)
        yield* Queue.offer(
          feed,
          Envelope.skipped(slice, Position.make(1), Position.make(past), Timestamp.make(past), true)
        )
        yield* Queue.offer(feed, replayed.at(-1)!)
        yield* settle
        assert.deepStrictEqual(handled, ["woken 1", "woken 2"])
        yield* Queue.offer(feed, event("other", 1, past + 2))
        yield* settle
        yield* goOn.open
        yield* settle
        assert.strictEqual(handled[2], "other 1")
        assert.deepStrictEqual(handled.toSpliced(2, 1), replayed.map((_, i) => `woken ${i + 1}`))
        const stored = yield* storedPositions("notes", source)
        if (guarantee === "exactly once") assert.deepStrictEqual(stored, [past + 2])
      })
    )
  }
})
