import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import { type EncodedEnvelope, sizeOf } from "@sluice/core/Envelope"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { freshId } from "../ids.ts"
import type { It } from "../kit.ts"
import { append, assertComplete, eventsOf, fresh, idsOfSlice, newEvent, readAll, request, textOf } from "../kit.ts"

/** Text that quoting, escaping, collations, padding or a narrow encoding would change. */
const awkward = [
  "plain",
  "with blank ",
  " with blank",
  "UPPER",
  "upper",
  "it's \"quoted\" `so`",
  "back\\slash",
  "100% _ wild*",
  "comma, semicolon; {braces} [brackets]",
  "line\nbreak\ttab",
  "$1 ? :name @x",
  "|pipe|s|",
  "naïve",
  "nai\u0308ve",
  "ß ss ẞ",
  "日本語",
  "😀👩‍👩‍👧‍👦",
  "null",
  "constructor"
]

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** The units of a text: plain ones, others, and now and then half a surrogate pair or U+0000. */
const Units = Schema.Array(Schema.Union([between(0x20, 0x7e), between(1, 0xd7ff), between(0, 0xffff)]))
  .check(Schema.isMaxLength(5))
const ofUnits = (units: ReadonlyArray<number>): string => String.fromCharCode(...units)

/** Appends, and returns the same events as both ways of reading return them. */
const roundTrip = (events: NonEmptyReadonlyArray<Journal.NewEvent>) =>
  Effect.gen(function*() {
    const journal = yield* Journal.Journal
    const type = fresh("content")
    const { persistenceId } = yield* journal.append(request(type, "a", events))
    const byEntity = yield* Stream.runCollect(Journal.readEncoded(persistenceId))
    const byReader = yield* readAll(type)
    assert.strictEqual(byEntity.length, events.length)
    assert.strictEqual(byReader.length, events.length)
    return [byEntity, byReader]
  })

const check = (
  events: NonEmptyReadonlyArray<Journal.NewEvent>,
  test: (found: EncodedEnvelope, event: Journal.NewEvent) => void
) =>
  Effect.map(roundTrip(events), (results) => {
    for (const found of results) events.forEach((event, i) => test(found[i]!, event))
  })

/** @internal */
export const contentTests = (it: It<Journal.Journal>): void => {
  describe("keeps exactly", () => {
    it.effect("the bytes of payloads, none included", () => {
      const every = Uint8Array.from({ length: 256 }, (_, i) => i)
      const large = Uint8Array.from({ length: 300_000 }, (_, i) => i * 31 % 251)
      // a view on a part of a larger buffer, as network drivers hand them out
      const view = new Uint8Array(every.buffer, 100, 50)
      const payloads = [new Uint8Array(0), every, every.toReversed(), new Uint8Array(1), large, view]
      return check(
        payloads.map((bytes) => newEvent("", { payload: { manifest: "test/bytes", bytes } })) as any,
        ({ payload }, event) => {
          assert.isDefined(payload, "an empty payload is not a missing one")
          assert.instanceOf(payload.bytes, Uint8Array)
          assert.strictEqual(payload.bytes.length, event.payload.bytes.length)
          assert.isTrue(payload.bytes.every((byte, i) => byte === event.payload.bytes[i]))
        }
      )
    })

    it.effect("manifests", () =>
      check(
        ["", "json.sluice/Ünï#2", ...awkward, "m".repeat(1000)].map((manifest) =>
          newEvent("", { payload: { manifest, bytes: new Uint8Array(1) } })
        ) as any,
        ({ payload }, event) => assert.strictEqual(payload!.manifest, event.payload.manifest)
      ))

    it.effect("tags, in their order", () =>
      check(
        [[], awkward, awkward.toReversed(), ["one"], ["a,b", "a", "b"], ["t".repeat(1000)]].map((tags) =>
          newEvent("", { tags })
        ) as any,
        ({ tags }, event) => assert.deepStrictEqual(tags, event.tags)
      ))

    it.effect("metadata", () =>
      check(
        [{}, { key: "" }, Object.fromEntries(awkward.map((text) => [text, text])), { a: "1".repeat(5000) }].map((
          metadata
        ) => newEvent("", { metadata })) as any,
        ({ metadata }, event) => assert.deepStrictEqual({ ...metadata }, { ...event.metadata })
      ))

    it.effect("where events of replicated entities come from, and foreign metadata", () => {
      const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
      const replication = {
        origin: "eu",
        originSequenceNumber: SequenceNumber.make(Number.MAX_SAFE_INTEGER),
        version: new Map([
          ["us", SequenceNumber.make(0)],
          ["eu", SequenceNumber.make(7)],
          ...awkward.map((text) => [text, SequenceNumber.make(1)] as const)
        ]),
        concurrent: true
      }
      const foreignMetadata = { manifest: "ser.akka.io/31:Ünï$1", bytes }
      const own = { metadata: { a: "b", "": "", replication: "x" } }
      return check(
        [
          { replication },
          { replication: { ...replication, time: Timestamp.make(Number.MAX_SAFE_INTEGER) } },
          { foreignMetadata },
          { ...own, replication, foreignMetadata },
          { ...own, foreignMetadata: { manifest: "", bytes: bytes.subarray(0, 0) } },
          { replication: { ...replication, origin: "", version: new Map(), concurrent: false } },
          own
        ].map((about) => newEvent("", about)) as any,
        (found, { foreignMetadata, metadata, replication }) => {
          assert.deepStrictEqual({ ...found.metadata }, { ...metadata })
          assert.deepStrictEqual(found.replication, replication)
          assert.strictEqual(found.foreignMetadata?.manifest, foreignMetadata?.manifest)
          assert.deepStrictEqual(
            found.foreignMetadata && [...found.foreignMetadata.bytes],
            foreignMetadata && [...foreignMetadata.bytes]
          )
        }
      )
    })

    it.effect.prop(
      "any id, tags and metadata that it does not refuse",
      [Units, Schema.Array(Units).check(Schema.isMaxLength(3)), Units],
      ([units, tagUnits, metadataUnits]) =>
        Effect.gen(function*() {
          const type = fresh("content")
          const id = ofUnits(units)
          const tags = tagUnits.map(ofUnits)
          const text = ofUnits(metadataUnits)
          const metadata = { [text]: text }
          const isPossible = id !== "" &&
            [id, text, ...tags].every((text) => text.isWellFormed() && !text.includes("\0"))
          const exit = yield* Effect.exit(Journal.append(type, { id, events: ["x"], tags, metadata }))
          assert.strictEqual(Exit.isSuccess(exit), isPossible)
          const found = yield* readAll(type)
          if (!isPossible) return assert.deepStrictEqual(found, [])
          const back = yield* Stream.runCollect(Journal.readEncoded(EntityType.persistenceId(type, id)))
          for (const [event] of [found, back]) {
            assert.strictEqual(event!.persistenceId, `${type.name}|${id}`)
            assert.deepStrictEqual(event!.tags, tags)
            assert.deepStrictEqual({ ...event!.metadata }, metadata)
          }
        }),
      { arbitrary: { runs: 40 } }
    )

    it.effect("payloads of any text", () =>
      Effect.gen(function*() {
        const type = EntityType.make(fresh("content").name, {
          event: Schema.Struct({ text: Schema.String }).annotate({ identifier: "Said" })
        })
        const said = ["\0", "a\0b", "a\ud800", "\udc00", "\u2028\ufeff\uffff", ...awkward]
        for (const text of said) yield* Journal.append(type, { id: "a", events: [{ text }] })
        const back = yield* Stream.runCollect(Journal.read(type, "a"))
        assert.deepStrictEqual(back.map(({ event }) => event.text), said)
      }))

    it.effect("large events before deleted ones, in pages of any size", () =>
      Effect.gen(function*() {
        const type = fresh("content")
        const [a, b] = idsOfSlice(type, 200, 2) as [string, string]
        const large = newEvent("", { payload: { manifest: "test/bytes", bytes: new Uint8Array(1_500_000) } })
        const journal = yield* Journal.Journal
        for (let i = 0; i < 6; i++) yield* journal.append(request(type, a, [{ ...large, id: freshId() }]))
        yield* append(type, b, ["deleted", "deleted"])
        yield* Journal.deleteEvents(type, b)
        for (
          const start of [Offset.none, Offset.since(Timestamp.make(1)), new Map([[Slice.make(900), Offset.make(0, 1)]])]
        ) {
          for (const limit of [2, 1000]) {
            const found = yield* readAll(type, { start, limit })
            assert.strictEqual(found.length, 8)
            assertComplete(found)
          }
        }
      }))

    it.effect("large tags and metadata, in pages of a few megabytes", () =>
      Effect.gen(function*() {
        const type = fresh("content")
        const [id] = idsOfSlice(type, 200, 1) as [string]
        const journal = yield* Journal.Journal
        const large = "x".repeat(1_200_000)
        for (let i = 0; i < 10; i++) {
          const about = i % 2 === 0 ? { tags: [large] } : { metadata: { large } }
          yield* journal.append(request(type, id, [newEvent(`${i}`, about)]))
        }
        yield* append(type, id, ["small"])
        const most = 4 * 1024 * 1024 + large.length + 1000
        const assertSize = (page: ReadonlyArray<EncodedEnvelope>) =>
          assert.isAtMost(page.reduce((bytes, event) => bytes + sizeOf(event), 0), most)
        for (const byTime of [false, true]) {
          for (const start of [Offset.none, Offset.since(Timestamp.make(1))]) {
            const reader = yield* journal.reader(type.name, SliceRange.full, start, { byTime })
            const found: Array<EncodedEnvelope> = []
            while (found.length < 11) {
              const page = yield* reader.next(500)
              assertSize(page)
              found.push(...page)
            }
            assertComplete(found)
          }
        }
        const ofEntity = (from: number) =>
          journal.entity(EntityType.persistenceId(type, id), SequenceNumber.make(from), SequenceNumber.make(1000), 500)
        for (const transact of [false, true]) {
          const found: Array<EncodedEnvelope> = []
          while (found.length < 11) {
            const read = ofEntity(found.length + 1)
            const page = yield* transact ? Journal.transaction(read) : read
            assertSize(page)
            found.push(...page)
          }
          assertComplete(found)
        }
      }).pipe(Effect.scoped))

    it.effect("entities that are read in the same moment, each its own events, however many and large", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("moment")
        const large = "x".repeat(400_000)
        for (let i = 0; i < 8; i++) {
          yield* append(type, `${i}`, ["first", i % 2 === 0 ? large : "small", `${i}`], "none")
        }
        const read = (id: string, from: number, to: number, limit: number) => {
          const persistenceId = EntityType.persistenceId(type, id)
          return Effect.map(
            journal.entity(persistenceId, SequenceNumber.make(from), SequenceNumber.make(to), limit),
            (page) => ({ id, from, to, limit, page })
          )
        }
        const reads = [0, 1, 2, 3, 4, 5, 6, 7, 3, 5].flatMap((i) => [
          read(`${i}`, 1, 1000, 500),
          read(`${i}`, 2, 2, 10),
          read(`${i}`, 1, 3, 2),
          read(`${i}`, 3, 1000, 500),
          read(`${i}`, 4, 1000, 500),
          read(`none-${i}`, 1, 1000, 500)
        ])
        const pages = yield* Effect.all(reads, { concurrency: "unbounded" })
        for (const { from, id, limit, page, to } of pages) {
          const texts = ["first", Number(id) % 2 === 0 ? large : "small", id]
          const expected = id.startsWith("none") ? [] : texts.slice(from - 1, Math.min(to, from - 1 + limit))
          // a page may end for its size, but not before its first event
          if (expected.length > 0) assert.isAtLeast(page.length, 1)
          assert.deepStrictEqual(page.map(textOf), expected.slice(0, page.length))
          if (!expected.includes(large)) assert.strictEqual(page.length, expected.length)
        }
      }))

    it.effect("what a writer of many events says of each", () =>
      check(
        Array.from({ length: 50 }, (_, i) =>
          newEvent(`${i}`, { tags: i % 3 === 0 ? [] : [`t${i}`], metadata: i % 2 === 0 ? {} : { n: `${i}` } })) as any,
        (found, event) => {
          assert.deepStrictEqual(found.tags, event.tags)
          assert.deepStrictEqual({ ...found.metadata }, { ...event.metadata })
          assert.deepStrictEqual([...found.payload!.bytes], [...event.payload.bytes])
        }
      ))
  })

  describe("tells apart", () => {
    it.effect("entities whose ids differ in case, blanks, or the form of a character", () =>
      Effect.gen(function*() {
        const type = fresh("ids")
        const ids = [...awkward, "x".repeat(200), "x".repeat(201), "😀".repeat(50), "a|b", "a|b|c", "|", "||"]
        for (const [i, id] of ids.entries()) yield* append(type, id, [`${i}`], "none")
        for (const [i, id] of ids.entries()) yield* append(type, id, [`${i} again`], "exists")
        for (const [i, id] of ids.entries()) {
          assert.deepStrictEqual(yield* eventsOf(type, id), [`${i}`, `${i} again`])
        }
        const stored = yield* readAll(type)
        assert.sameMembers(
          stored.map((event) => `${textOf(event)} ${PersistenceId.entityId(event.persistenceId)}`),
          ids.flatMap((id, i) => [`${i} ${id}`, `${i} again ${id}`])
        )
      }))

    it.effect("entity types whose names differ in case, blanks, or the form of a character", () =>
      Effect.gen(function*() {
        const { codec, name } = fresh("types")
        const types = ["x", "X", "x ", " x", "é", "e\u0301", "%", "_", "'", "\"", "😀", "x".repeat(60)].map((end) =>
          EntityType.make(`${name} ${end}`, { codec })
        )
        for (const type of types) {
          const [id] = idsOfSlice(type, 7, 1) as [string]
          const { position } = yield* append(type, id, [type.name])
          assert.strictEqual(position, 1)
        }
        for (const type of types) assert.deepStrictEqual((yield* readAll(type)).map(textOf), [type.name])
      }))
  })
}
