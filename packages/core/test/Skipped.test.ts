import { assert, describe, it } from "@effect/vitest"
import type { EncodedElement, EncodedEnvelope, Skipped } from "@sluice/core/Envelope"
import { isSkipped, nothing } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as Projection from "@sluice/core/Projection"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { settle, start, test } from "./projectionKit.ts"

const persistenceId = PersistenceId.make("note", "a")
const slice = Slice.ofPersistenceId(persistenceId)

const event = (position: number): EncodedEnvelope => ({
  persistenceId,
  sequenceNumber: SequenceNumber.make(position),
  slice,
  position: Position.make(position),
  timestamp: Timestamp.make(position * 10),
  ...nothing,
  payload: EventCodec.string.encodeUnsafe(`e${position}`)
})

const skipped = (from: number, to: number, timestamp?: number): Skipped => ({
  _tag: "Skipped",
  slice,
  from: Position.make(from),
  position: Position.make(to),
  timestamp: timestamp === undefined ? undefined : Timestamp.make(timestamp)
})

const sourceOf = (...elements: ReadonlyArray<EncodedElement>): Source.Source<string> =>
  Source.make({
    key: "test",
    description: "test",
    entityType: "note",
    codec: EventCodec.string,
    open: () => Effect.succeed({ journal: "j", envelopes: Stream.concat(Stream.fromArray(elements), Stream.never) }),
    entity: () => Stream.empty,
    heads: () => Effect.succeed(Offset.none),
    before: () => Effect.succeed(new Map()),
    now: Effect.succeed(Timestamp.make(0))
  })

describe("what a source has left out", () => {
  const source = sourceOf(event(1), skipped(2, 4), event(5), skipped(6, 9, 90))

  it.effect("passes its stages, and is not an event", () =>
    Effect.gen(function*() {
      const changed = source.pipe(
        Source.map(({ event }) => `${event}!`),
        Source.mapEffect(({ event }) => Effect.succeed(`${event}?`)),
        Source.filter(() => true)
      )
      const { elements } = yield* Source.open(changed)
      const found = yield* Stream.runCollect(Stream.take(elements, 4))
      assert.deepStrictEqual(found.map(({ _tag, position }) => [_tag, Number(position)]), [
        ["Envelope", 1],
        ["Skipped", 4],
        ["Envelope", 5],
        ["Skipped", 9]
      ])
      const events = yield* Stream.runCollect(Stream.take(Source.toStream(changed), 2))
      assert.deepStrictEqual(events.map(({ event }) => event), ["e1!?", "e5!?"])
    }))

  it.effect("is seen by who reads it encoded, with stages or without", () =>
    Effect.gen(function*() {
      for (const opened of [source, source.pipe(Source.map(({ event }) => `${event}!`))]) {
        const feed = yield* Source.openEncoded(opened, EventCodec.string)
        const found = yield* Stream.runCollect(Stream.take(feed.envelopes, 4))
        assert.deepStrictEqual(found.map(isSkipped), [false, true, false, true])
        assert.deepStrictEqual(found[3], skipped(6, 9, 90))
      }
    }))

  const storedOffset = Effect.gen(function*() {
    const store = yield* OffsetStore
    return (yield* store.load({ projection: "skips", source: "test" }, SliceRange.full)).offsets.get(slice)
  })

  const handled: Array<string> = []
  const note = ({ event }: { readonly event: string }) => Effect.sync(() => handled.push(event))

  for (
    const [name, projection] of [
      ["exactly once", Projection.exactlyOnce("skips", note)],
      [
        "in groups",
        Projection.exactlyOnce(
          "skips",
          Handler.grouped({ size: 1, within: 0 }, (envelopes: ReadonlyArray<any>) => note(envelopes[0]))
        )
      ],
      ["at least once", Projection.atLeastOnce("skips", note, { saveAfter: 1 })]
    ] as const
  ) {
    test(
      `moves the offset, where its time is known, and reaches no handler (${name})`,
      Effect.gen(function*() {
        handled.length = 0
        yield* start(projection(source))
        yield* settle
        assert.deepStrictEqual(handled, ["e1", "e5"])
        assert.deepStrictEqual(yield* storedOffset, Offset.make(9, 90))
      })
    )
  }

  test(
    "leaves the offset where it is, where its time is not known",
    Effect.gen(function*() {
      yield* start(sourceOf(event(1), skipped(2, 4)).pipe(Projection.exactlyOnce("skips", note)))
      yield* settle
      assert.deepStrictEqual(yield* storedOffset, Offset.make(1, 10))
    })
  )
})
