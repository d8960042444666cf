import { assert, describe, it } from "@effect/vitest"
import type { EncodedElement, EncodedEnvelope, Skipped } from "@sluice/core/Envelope"
import * as Envelope from "@sluice/core/Envelope"
import { encoded, isSkipped, nothing } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import { JournalForked } from "@sluice/core/Journal"
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
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { after, settle, start, statusOf, test } from "./projectionKit.ts"

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

const skipped = (from: number, to: number, timestamp?: number, isDeferred = false): Skipped =>
  Envelope.skipped(slice, Position.make(from), Position.make(to), timestamp as Timestamp.Timestamp, isDeferred)

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

/** The log of one slice, with the events of two entities, whatever the slices of their ids are. */
const log = ["a1", "b1", "a2", "b2", "a3", "b3", "c1", "c2"].map((text, i): EncodedEnvelope =>
  encoded({
    persistenceId: PersistenceId.make("note", text[0]!),
    sequenceNumber: SequenceNumber.make(Number(text[1])),
    slice,
    position: Position.make(i + 1),
    timestamp: Timestamp.make((i + 1) * 10)
  }, EventCodec.string.encodeUnsafe(text))
)

/** Shows the elements from where it is told to go on, and has all events of each entity. */
const logOf = (elements: ReadonlyArray<EncodedElement>) => {
  const asked: Array<string> = []
  const provider: Source.Provider<string, never, never> = {
    ...sourceOf().provider as Source.Provider<string, never, never>,
    open: (_, { offsets }) =>
      Effect.succeed({
        journal: "j",
        envelopes: Stream.concat(
          Stream.fromIterable(elements.filter(({ position }) => position! > (offsets.get(slice)?.position ?? 0))),
          Stream.never
        )
      }),
    entity: (persistenceId, from, to) => {
      asked.push(`${PersistenceId.entityId(persistenceId)} ${from}-${to}`)
      return Stream.fromIterable(
        log.filter((event) =>
          event.persistenceId === persistenceId && event.sequenceNumber >= from && event.sequenceNumber <= to
        )
      )
    }
  }
  return { asked, source: Source.make(provider) }
}

const deferred = (from: number, to: number): Skipped => skipped(from, to, to * 10, true)

describe("what a source has left out for now", () => {
  const handled: Array<string> = []
  const note = ({ event }: { readonly event: string }) => Effect.sync(() => handled.push(event))
  const key = { projection: "selects", source: "test" }
  const known = Effect.gen(function*() {
    const store = yield* OffsetStore
    const ids = ["a", "b", "c"].map((id) => PersistenceId.make("note", id))
    const numbers = yield* store.sequenceNumbers(key, ids)
    const { completeUpTo, offsets } = yield* store.load(key, SliceRange.full)
    return {
      position: offsets.get(slice)?.position,
      completeUpTo: completeUpTo.get(slice)?.position,
      numbers: ids.map((id) => numbers.get(id)?.sequenceNumber)
    }
  })

  for (
    const [name, projection] of [
      ["exactly once", Projection.exactlyOnce("selects", note)],
      [
        "in groups",
        Projection.exactlyOnce(
          "selects",
          Handler.grouped(
            { size: 3, within: 0 },
            (envelopes: ReadonlyArray<any>) => Effect.forEach(envelopes, note, { discard: true })
          )
        )
      ],
      ["at least once", Projection.atLeastOnce("selects", note, { saveAfter: 1 })]
    ] as const
  ) {
    test(
      `is asked for before the next event of its entity is handled, and the worker goes on there (${name})`,
      Effect.gen(function*() {
        handled.length = 0
        const first = logOf([...log.slice(0, 2), deferred(3, 4), log[4]!, log[5]!])
        yield* Effect.scoped(Effect.andThen(start(projection(first.source)), settle))
        assert.deepStrictEqual(handled, ["a1", "b1", "a2", "a3", "b2", "b3"])
        // what was read before the first part was left out is not stored of each entity: their predecessors are asked for
        assert.deepStrictEqual(first.asked, ["a 2-2", "a 1-3", "b 2-2", "b 1-3"])
        assert.deepStrictEqual(yield* known, {
          position: Position.make(6),
          completeUpTo: Position.make(2),
          numbers: [SequenceNumber.make(3), SequenceNumber.make(3), undefined]
        })

        handled.length = 0
        const again = logOf([...log.slice(0, 6), deferred(7, 7), log[7]!])
        yield* start(projection(again.source))
        yield* settle
        assert.deepStrictEqual(handled, ["c1", "c2"])
        assert.deepStrictEqual((yield* known).numbers, [3, 3, 2].map(SequenceNumber.make))
      })
    )
  }

  test(
    "is asked for once where nothing was read before it, as no predecessor proves anything then",
    Effect.gen(function*() {
      handled.length = 0
      const { asked, source } = logOf([deferred(1, 4), log[4]!, log[5]!])
      yield* start(source.pipe(Projection.exactlyOnce("selects", note)))
      yield* settle
      assert.deepStrictEqual(handled, ["a1", "a2", "a3", "b1", "b2", "b3"])
      assert.deepStrictEqual(asked, ["a 1-3", "b 1-3"])
    })
  )

  test(
    "is not asked for where a later state takes its place",
    Effect.gen(function*() {
      handled.length = 0
      const { asked, source } = logOf([deferred(1, 4), log[4]!])
      const states = Source.make({ ...source.provider, supersedes: true })
      yield* start(states.pipe(Projection.exactlyOnce("selects", note)))
      yield* settle
      assert.deepStrictEqual(handled, ["a3"])
      assert.deepStrictEqual(asked.filter((_) => _ !== "a 3-3"), [])
    })
  )

  test(
    "and is gone at the source when it is asked for does not hold up what comes after it",
    Effect.gen(function*() {
      handled.length = 0
      const { source } = logOf([deferred(1, 4), log[4]!])
      const gone = Source.make({ ...source.provider, entity: () => Stream.make(log[4]!) })
      yield* start(gone.pipe(Projection.exactlyOnce("selects", note)))
      yield* settle
      assert.deepStrictEqual(handled, ["a3"])
    })
  )

  for (
    const [when, before, shown] of [
      ["where nothing was read before", [], [deferred(1, 4), log[4]!]],
      ["where others were read before", ["a1", "b1"], [log[0]!, log[1]!, deferred(3, 4), log[4]!]]
    ] as const
  ) {
    for (
      const [what, hidden] of [
        ["the event with it", () => []],
        [
          "of the event the place is left",
          (event: EncodedEnvelope) => [encoded(Envelope.placeholder(event), undefined)]
        ]
      ] as const
    ) {
      test(
        `and is hidden when it is asked for is not gone: ${what}, ${when}`,
        Effect.gen(function*() {
          handled.length = 0
          let isHidden = true
          const { source } = logOf(shown)
          const { entity } = source.provider
          const hiding = Source.make({
            ...source.provider,
            entity: (persistenceId, from, to) =>
              Stream.flatMap(
                entity(persistenceId, from, to),
                (event) => Stream.fromIterable(!isHidden ? [event] : event === log[4] ? hidden(event) : [])
              )
          })
          yield* start(hiding.pipe(Projection.exactlyOnce("selects", note)))
          yield* settle
          assert.deepStrictEqual(handled, [...before])
          assert.include(
            Cause.pretty((yield* statusOf("selects")).failure!.cause),
            "does not show event 3 of 'note|a' any more"
          )
          isHidden = false
          yield* after(1_000)
          assert.deepStrictEqual(handled.filter((event) => event.startsWith("a")), ["a1", "a2", "a3"])
        })
      )
    }
  }
})

for (
  const [when, shown, position, expected] of [
    ["", [log[0]!, log[2]!], 3, 2],
    [", also after it has left something out", [log[0]!, deferred(2, 2), log[3]!], 4, 3]
  ] as const
) {
  test(
    `a source that has lost events is opened again, and none of what comes after them is handled${when}`,
    Effect.gen(function*() {
      const handled: Array<string> = []
      let opened = 0
      const { provider } = logOf(log).source
      const source = Source.make({
        ...provider,
        open: (range, start) =>
          opened++ === 0 ? logOf(shown).source.provider.open(range, start) : provider.open(range, start)
      })
      yield* start(
        source.pipe(Projection.exactlyOnce("selects", ({ event }) => Effect.sync(() => handled.push(event))))
      )
      assert.deepStrictEqual(handled, ["a1"])
      const { failure } = yield* statusOf("selects")
      assert.include(
        Cause.pretty(failure!.cause),
        `has shown position ${position} of slice ${slice} where ${expected} comes next`
      )
      yield* after(1_000)
      assert.deepStrictEqual(handled, ["a1", "b1", "a2", "b2", "a3", "b3", "c1", "c2"])
    })
  )
}

describe("a source that shows another history than what was read", () => {
  for (
    const [when, elements] of [
      ["", [log[0]!, { ...log[0]!, timestamp: Timestamp.make(11) }]],
      [", also after it has left something out", [log[0]!, deferred(2, 2), {
        ...log[0]!,
        position: Position.make(3),
        timestamp: Timestamp.make(20)
      }]]
    ] as const
  ) {
    test(
      `has lost events: its journal is forked${when}`,
      Effect.gen(function*() {
        yield* start(logOf(elements).source.pipe(Projection.exactlyOnce("selects", () => Effect.void)))
        const { failure, state } = yield* statusOf("selects")
        // what was not stored yet may be another after a restart
        assert.strictEqual(state, when === "" ? "Stopped" : "Restarting")
        const error = Cause.squash(failure!.cause)
        assert.instanceOf(error, JournalForked)
        assert.strictEqual(error.slice, slice)
      })
    )
  }
})
