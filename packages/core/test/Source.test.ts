import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import { type Element, type EncodedEnvelope, FailedAt, nothing, sizeOf } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Offset from "@sluice/core/Offset"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

const Note = EntityType.make("note", { codec: EventCodec.string })

const write = (id: string, ...events: readonly [string, ...ReadonlyArray<string>]) =>
  Journal.append(Note, { id, events })

const writeUndecodable = (id: string) =>
  Effect.flatMap(Journal.Journal, (journal) =>
    journal.append({
      entityType: "note",
      persistenceId: EntityType.persistenceId(Note, id),
      expected: "any",
      events: [{
        id: crypto.randomUUID(),
        payload: { manifest: "unknown", bytes: new Uint8Array(0) },
        tags: [],
        metadata: {}
      }],
      recheck: false
    }))

const number = SequenceNumber.make

/** The first `n` of a stream without end. */
const first = (n: number) => <A, E, R>(stream: Stream.Stream<A, E, R>) => Stream.runCollect(Stream.take(stream, n))

/** Everything up to the failure, and that. */
const untilFailure = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
  Effect.gen(function*() {
    const seen: Array<A> = []
    const exit = yield* Effect.exit(Stream.runForEach(stream, (a) => Effect.sync(() => seen.push(a))))
    assert.isTrue(Exit.isFailure(exit))
    return { seen, cause: (exit as Exit.Failure<void, E>).cause }
  })

const eventsOf = <A>(envelopes: ReadonlyArray<{ readonly event: A }>) => envelopes.map(({ event }) => event)

const tagsOf = (elements: ReadonlyArray<Element<unknown>>) => elements.map(({ _tag }) => _tag)

describe("Source.toStream", () => {
  it("does not begin at a place in one source if several are merged", () => {
    const Page = EntityType.make("page", { codec: EventCodec.string })
    const merged = Source.mergeAll([Source.journal(Note), Source.journal(Page)])
    assert.throws(() => Source.toStream(merged, { start: { journal: undefined, offsets: Offset.none } }), RangeError)
  })

  it.effect("is the journal from its beginning, and as it grows", () =>
    Effect.gen(function*() {
      yield* write("a", "1", "2")
      const seen: Array<string> = []
      yield* Source.toStream(Source.journal(Note)).pipe(
        Stream.runForEach(({ event }) => Effect.sync(() => seen.push(event))),
        Effect.forkScoped
      )
      yield* Wait.until("the past", () => seen.length === 2)
      yield* write("b", "3")
      yield* write("a", "4")
      yield* Wait.until("the present", () => seen.length === 4)
      assert.deepStrictEqual(seen, ["1", "2", "3", "4"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("says of each event where it stands, and what its writer said of it", () =>
    Effect.gen(function*() {
      const written = yield* Journal.append(Note, {
        id: "a",
        events: ["1"],
        tags: (event) => [`tag ${event}`],
        metadata: { trace: "t-1" }
      })
      const [envelope] = yield* first(1)(Source.toStream(Source.journal(Note)))
      assert.deepStrictEqual(envelope, {
        _tag: "Envelope",
        persistenceId: EntityType.persistenceId(Note, "a"),
        sequenceNumber: number(1),
        slice: Slice.ofPersistenceId("note|a"),
        position: written.position,
        timestamp: written.timestamp,
        tags: ["tag 1"],
        metadata: { trace: "t-1" },
        replication: undefined,
        foreignMetadata: undefined,
        event: "1",
        bytes: sizeOf({
          payload: EventCodec.string.encodeUnsafe("1"),
          tags: ["tag 1"],
          metadata: { trace: "t-1" }
        })
      })
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("begins after offsets, or at a time, in some slices or all", () =>
    Effect.gen(function*() {
      const { identity } = yield* Journal.Journal
      const { position, slice, timestamp } = yield* write("a", "1", "2")
      const second = yield* write("a", "3")
      yield* write("b", "4")
      const source = Source.journal(Note)
      const start = { journal: identity, offsets: new Map([[slice, { position, timestamp }]]) }
      assert.deepStrictEqual(eventsOf(yield* first(2)(Source.toStream(source, { start }))), ["3", "4"])
      const since = { journal: undefined, offsets: Offset.since(second.timestamp) }
      assert.deepStrictEqual(eventsOf(yield* first(1)(Source.toStream(source, { start: since }))), ["3"])
      const range = SliceRange.make(slice, slice)
      yield* write("a", "5")
      assert.deepStrictEqual(eventsOf(yield* first(4)(Source.toStream(source, { range }))), ["1", "2", "3", "5"])
      assert.deepStrictEqual(eventsOf(yield* first(2)(Source.toStream(source, { range, start }))), ["3", "5"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("fails at an event that cannot be decoded, after those before it", () =>
    Effect.gen(function*() {
      yield* write("a", "1", "2")
      yield* writeUndecodable("a")
      yield* write("a", "never")
      const { cause, seen } = yield* untilFailure(Source.toStream(Source.journal(Note)))
      assert.deepStrictEqual(eventsOf(seen), ["1", "2"])
      const error = Cause.squash(cause)
      assert.instanceOf(error, EventCodec.EventDecodeError)
      assert.deepInclude(error, { sequenceNumber: number(3), manifest: "unknown" })
      assert.include(error.message, "note|a")
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("fails where the journal is another, or has lost the events of the offsets", () =>
    Effect.gen(function*() {
      const { identity } = yield* Journal.Journal
      const { position, slice, timestamp } = yield* write("a", "1")
      const offsets = new Map([[slice, { position, timestamp }]])
      const replaced = yield* untilFailure(
        Source.toStream(Source.journal(Note), { start: { journal: "another", offsets } })
      )
      assert.deepInclude(Cause.squash(replaced.cause), { expected: "another", actual: identity })
      const forked = yield* untilFailure(
        Source.toStream(Source.journal(Note), {
          start: { journal: identity, offsets: new Map([[slice, Offset.make(position + 1, timestamp + 1)]]) }
        })
      )
      assert.instanceOf(Cause.squash(forked.cause), Journal.JournalForked)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

const place = (sequenceNumber: number): Omit<EncodedEnvelope, "payload"> => ({
  persistenceId: EntityType.persistenceId(Note, "a"),
  sequenceNumber: number(sequenceNumber),
  slice: Slice.ofPersistenceId("note|a"),
  position: undefined,
  timestamp: Timestamp.make(sequenceNumber),
  ...nothing
})

describe("a source of one's own", () => {
  const stored: ReadonlyArray<EncodedEnvelope> = [
    { ...place(1), payload: EventCodec.string.encodeUnsafe("1") },
    { ...place(2), payload: undefined },
    { ...place(3), payload: EventCodec.string.encodeUnsafe("") }
  ]
  const source = Source.make<string, never, never>({
    key: "test",
    description: "three events",
    entityType: undefined,
    codec: EventCodec.string,
    open: () => Effect.succeed({ journal: "j", envelopes: Stream.fromIterable(stored) }),
    entity: () => Stream.fromIterable(stored),
    heads: () => Effect.succeed(Offset.none),
    before: () => Effect.succeed(new Map()),
    now: Effect.succeed(Timestamp.make(0))
  })

  it.effect("has placeholders of events without a payload", () =>
    Effect.gen(function*() {
      assert.strictEqual(Source.describe(source), "three events")
      const { elements, journal } = yield* Source.open(source)
      assert.strictEqual(journal, "j")
      assert.deepStrictEqual(tagsOf(yield* Stream.runCollect(elements)), ["Envelope", "Placeholder", "Envelope"])
      const events = yield* Stream.runCollect(Source.toStream(source.pipe(Source.map(({ event }) => `${event}!`))))
      assert.deepStrictEqual(eventsOf(events), ["1!", "!"])
    }))

  it.effect("passes them on to whoever reads it encoded", () =>
    Effect.gen(function*() {
      const doubled = source.pipe(Source.map(({ event }) => event + event))
      const feed = yield* Source.openEncoded(doubled, EventCodec.string)
      const found = yield* Stream.runCollect(feed.envelopes) as Effect.Effect<ReadonlyArray<EncodedEnvelope>>
      assert.deepStrictEqual(found.map(({ payload }) => payload && EventCodec.string.decodeUnsafe(payload)), [
        "11",
        undefined,
        ""
      ])
    }))
})

describe("the stages of a source", () => {
  it.effect("are run in their order, whether they are effects or not", () =>
    Effect.gen(function*() {
      yield* write("a", "1", "2", "3", "4", "5", "6")
      const tapped: Array<number> = []
      const source = Source.journal(Note).pipe(
        Source.map(({ event }) => Number(event)),
        Source.filter(({ event }) => event !== 2),
        Source.mapEffect(({ event }) => Effect.succeed(event * 10)),
        Source.filterMap(({ event }) => event === 40 ? Option.none() : Option.some(event + 1)),
        Source.tap(({ event }) => Effect.sync(() => tapped.push(event))),
        Source.filter(({ event }) => event !== 51),
        Source.map(({ event, sequenceNumber }) => `${sequenceNumber}: ${event}`)
      )
      const found = yield* first(3)(Source.toStream(source))
      assert.deepStrictEqual(eventsOf(found), ["1: 11", "3: 31", "6: 61"])
      assert.deepStrictEqual(tapped, [11, 31, 51, 61])
      assert.strictEqual(
        Source.describe(source),
        "journal of note | map | filter | mapEffect | filterMap | tap | filter | map"
      )
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("leave placeholders of what they drop, and poison of what they throw on", () =>
    Effect.gen(function*() {
      yield* write("a", "1", "2", "3", "4")
      const source = Source.journal(Note).pipe(
        Source.filter(({ event }) => event !== "2"),
        Source.map(({ event }) => {
          if (event === "3") throw new Error("three")
          return event
        })
      )
      const { elements, journal } = yield* Source.open(source)
      assert.strictEqual(journal, (yield* Journal.Journal).identity)
      const found = yield* first(4)(elements)
      assert.deepStrictEqual(tagsOf(found), ["Envelope", "Placeholder", "Poison", "Envelope"])
      assert.deepStrictEqual(found.map(({ position }) => position as number), [1, 2, 3, 4])
      assert.isFalse("event" in found[1]!)
      const poison = found[2] as Extract<typeof found[2], { readonly _tag: "Poison" }>
      assert.isTrue(poison.permanent)
      assert.strictEqual((Cause.squash(poison.cause) as Error).message, "three")
      const { cause, seen } = yield* untilFailure(Source.toStream(source))
      assert.deepStrictEqual(eventsOf(seen), ["1"])
      assert.strictEqual((Cause.squash(cause) as Error).message, "three")
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("that fail as effects do not run on the events behind", () =>
    Effect.gen(function*() {
      yield* write("a", "1", "2", "3")
      const calls: Array<string> = []
      const source = Source.journal(Note).pipe(Source.tap(({ event }) => {
        calls.push(event)
        return event === "2" ? Effect.fail("two") : Effect.void
      }))
      const { cause, seen } = yield* untilFailure(Source.toStream(source))
      assert.deepStrictEqual(eventsOf(seen), ["1"])
      assert.strictEqual(Cause.squash(cause), "two")
      assert.deepStrictEqual(calls, ["1", "2"])
      const { elements } = yield* Source.open(source)
      const found = yield* first(2)(elements)
      assert.deepStrictEqual(tagsOf(found), ["Envelope", "Poison"])
      assert.deepInclude(found[1], { permanent: false })
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it("do not change the source that they are added to", () => {
    const source = Source.journal(Note)
    source.pipe(Source.filter(() => true))
    assert.strictEqual(Source.describe(source), "journal of note")
  })
})

/** Counts what is decoded. */
const makeCodec = (prefix: string) => {
  const counts = { decoded: 0, encoded: 0 }
  const codec = EventCodec.make<string>({
    name: "counting",
    encode: (event) => {
      counts.encoded++
      return { manifest: "test/text", bytes: new TextEncoder().encode(prefix + event) }
    },
    decode: ({ bytes }) => {
      counts.decoded++
      return new TextDecoder().decode(bytes).slice(prefix.length)
    }
  })
  return { codec, counts }
}
const read = <E, R>(feed: Source.Feed<E, R>, n: number) =>
  Effect.map(first(n)(feed.envelopes), (found) => found as ReadonlyArray<EncodedEnvelope>)
const textOf = ({ payload }: EncodedEnvelope) => payload && new TextDecoder().decode(payload.bytes)

describe("Source.openEncoded", () => {
  it.effect("passes payloads through undecoded where the codec is the same and there are no stages", () =>
    Effect.gen(function*() {
      const { codec, counts } = makeCodec("stored ")
      const type = EntityType.make("note", { codec })
      yield* Journal.append(type, { id: "a", events: ["1", "2"] })
      counts.encoded = 0
      const found = yield* read(yield* Source.openEncoded(Source.journal(type), codec), 2)
      assert.deepStrictEqual(found.map(textOf), ["stored 1", "stored 2"])
      assert.deepStrictEqual(counts, { decoded: 0, encoded: 0 })
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("encodes for its reader where the codec is another, or there are stages", () =>
    Effect.gen(function*() {
      const { codec } = makeCodec("stored ")
      const type = EntityType.make("note", { codec })
      yield* Journal.append(type, { id: "a", events: ["1", "2", "3"], tags: ["t"], metadata: { m: "1" } })
      const other = makeCodec("public ").codec
      const converted = yield* read(yield* Source.openEncoded(Source.journal(type), other), 3)
      assert.deepStrictEqual(converted.map(textOf), ["public 1", "public 2", "public 3"])
      const filtered = Source.journal(type).pipe(
        Source.filterMap(({ event }) => event === "2" ? Option.none() : Option.some(`${event}!`))
      )
      const found = yield* read(yield* Source.openEncoded(filtered, codec), 3)
      assert.deepStrictEqual(found.map(textOf), ["stored 1!", undefined, "stored 3!"])
      assert.deepStrictEqual(found.map(({ sequenceNumber }) => sequenceNumber as number), [1, 2, 3])
      const said = [["t"], { m: "1" }]
      assert.deepStrictEqual(found.map(({ metadata, tags }) => [tags, metadata]), [said, [[], {}], said])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("dies of an event that its reader's codec refuses", () =>
    Effect.gen(function*() {
      yield* write("a", "1")
      const refusing = EventCodec.make<string>({
        name: "refusing",
        encode: () => {
          throw new Error("refused")
        },
        decode: () => ""
      })
      const feed = yield* Source.openEncoded(Source.journal(Note), refusing)
      const { cause } = yield* untilFailure(feed.envelopes)
      assert.isTrue(Cause.hasDies(cause))
      assert.instanceOf(Cause.squash(cause), EventCodec.EventEncodeError)
      assert.deepStrictEqual(Context.getOrUndefined(Cause.annotations(cause), FailedAt), {
        persistenceId: EntityType.persistenceId(Note, "a"),
        sequenceNumber: number(1)
      })
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("has a counterpart for one entity", () =>
    Effect.gen(function*() {
      yield* write("a", "1", "2", "3", "4", "5")
      yield* write("b", "other")
      const source = Source.journal(Note).pipe(Source.filter(({ event }) => event !== "3"))
      const found = yield* Stream.runCollect(Source.entityEncoded(
        source,
        EventCodec.string,
        EntityType.persistenceId(Note, "a"),
        number(2),
        number(4)
      ))
      assert.deepStrictEqual(found.map(textOf), ["2", undefined, "4"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("does not look through an entity if the event after those that are asked for is selected", () =>
    Effect.gen(function*() {
      yield* write("a", "1", "2", "3", "4", "5", "6")
      const { provider } = Source.journal(Note)
      const reads: Array<string> = []
      const source = Source.make({
        ...provider,
        entity: (id, from, to) => {
          reads.push(`${from}-${to}`)
          // a page of one event
          return Stream.rechunk(provider.entity(id, from, to), 1)
        }
      })
      const read = (to: number, selected: string) =>
        Effect.gen(function*() {
          reads.length = 0
          const selection = { isOpen: false, isSelected: (event: EncodedEnvelope) => textOf(event) === selected }
          const found = yield* Stream.runCollect(Source.entityEncoded(
            source,
            EventCodec.string,
            EntityType.persistenceId(Note, "a"),
            number(1),
            number(to),
            { selection, unselected: "places" }
          ))
          return found.map((event) => textOf(event) ?? "-").join("")
        })
      assert.strictEqual(yield* read(4, "5"), "----")
      assert.deepStrictEqual(reads, ["1-4", "4-5"])
      assert.strictEqual(yield* read(4, "6"), "----")
      assert.deepStrictEqual(reads, ["1-4", "4-5", `2-${Number.MAX_SAFE_INTEGER - 1}`])
      assert.strictEqual(yield* read(Number.MAX_SAFE_INTEGER, "7"), "")
      assert.deepStrictEqual(reads, [`1-${Number.MAX_SAFE_INTEGER}`, `2-${Number.MAX_SAFE_INTEGER - 1}`])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("has of one entity what is selected, before the stages of the source", () =>
    Effect.gen(function*() {
      yield* write("a", "1", "2", "3", "4", "5")
      yield* write("b", "1", "2")
      const source = Source.journal(Note).pipe(Source.map(({ event }) => `${event}!`))
      const read = (id: string, from: number, to: number, options: Source.EntityEncodedOptions) =>
        Effect.map(
          Stream.runCollect(Source.entityEncoded(
            source,
            EventCodec.string,
            EntityType.persistenceId(Note, id),
            number(from),
            number(to),
            options
          )),
          (found) => found.map((event) => textOf(event) ?? `- ${event.sequenceNumber}`)
        )
      const asked: Array<number> = []
      const selection = {
        isOpen: false,
        isSelected: (event: EncodedEnvelope) => {
          asked.push(event.sequenceNumber)
          return textOf(event) === "2" || textOf(event) === "4"
        }
      }
      assert.deepStrictEqual(yield* read("a", 1, 5, { selection }), ["2!", "4!"])
      const places = { selection, unselected: "places" } as const
      assert.deepStrictEqual(yield* read("a", 1, 5, places), ["- 1", "2!", "- 3", "4!", "- 5"])
      assert.deepStrictEqual(yield* read("a", 1, 1, places), ["- 1"])
      assert.deepStrictEqual(yield* read("a", 3, 3, places), ["- 3"])
      // nothing is selected from there on
      assert.deepStrictEqual(yield* read("a", 5, 5, places), [])
      assert.deepStrictEqual(yield* read("nobody", 1, 5, places), [])
      asked.length = 0
      const open = { selection: { ...selection, isOpen: true }, unselected: "places" } as const
      assert.deepStrictEqual(yield* read("b", 1, 5, open), ["1!", "2!"])
      assert.deepStrictEqual(asked, [])
      const none = { selection: { isOpen: false, isSelected: () => false }, unselected: "places" } as const
      assert.deepStrictEqual(yield* read("a", 1, 5, none), [])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})
