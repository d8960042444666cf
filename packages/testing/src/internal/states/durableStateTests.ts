import { assert, describe } from "@effect/vitest"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import type { EncodedEnvelope, Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import type * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import type * as StateType from "@sluice/core/StateType"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { freshNameOf } from "../ids.ts"
import type { It } from "../kit.ts"
import {
  assertByTime,
  assertInvalid,
  assertWakes,
  bySlice,
  drain,
  eventsOf,
  idsOfSlice,
  impossible,
  laterThan,
  newEvent,
  offsetsAfter,
  textOf
} from "../kit.ts"
import { caughtUp, errorOf, freshName, stopped, whileRunning } from "../projections/projectionKit.ts"

const fresh = (): EntityType.EntityType<string> => EntityType.make(freshNameOf("state"), { codec: EventCodec.string })

type Type = StateType.StateType<string>

const upsert = (type: Type, id: string, expected: number, state: string) =>
  DurableStateStore.upsert(type, { id, expected, state })

const stateOf = (type: Type, id: string) =>
  Effect.map(
    DurableStateStore.get(type, id),
    (found) => Option.getOrUndefined(Option.map(found, ({ revision, state }) => [revision as number, state]))
  )

const readerOf = (type: Type, range = SliceRange.full, start: Offset.Offsets = Offset.none) =>
  DurableStateStore.DurableStateStore.use((store) => store.reader(type.name, range, start))

const readAll = (type: Type, limit?: number) =>
  Effect.scoped(Effect.flatMap(readerOf(type), (reader) => drain(reader, limit)))

const placeOf = ({ payload, persistenceId, sequenceNumber, ...rest }: EncodedEnvelope) => [
  PersistenceId.entityId(persistenceId),
  sequenceNumber as number,
  payload === undefined ? undefined : textOf({ payload, persistenceId, sequenceNumber, ...rest })
]

const assertConflict = (error: unknown, expected: number, actual: number) => {
  assert.instanceOf(error, DurableStateStore.RevisionConflict)
  assert.deepStrictEqual([error.expected as number, error.actual as number], [expected, actual])
}

/** The workers' warnings are what the test provokes. */
const quiet = Effect.provideService(References.MinimumLogLevel, "None")

/** Each entity's last, and each log in order. */
const assertOrdered = (changes: ReadonlyArray<EncodedEnvelope>) => {
  for (const [slice, log] of bySlice(changes)) {
    log.reduce((before, change) => {
      assert.isAbove(change.position!, before.position!, `positions of slice ${slice} rise`)
      assert.isAbove(change.timestamp, before.timestamp, `timestamps of slice ${slice} rise`)
      return change
    })
  }
}

/** @internal */
export const durableStateTests = (
  it: It<Journal.Journal | DurableStateStore.DurableStateStore | Projection.Stores>
): void => {
  describe("a state", () => {
    it.effect("is none at first", () =>
      Effect.gen(function*() {
        assert.isUndefined(yield* stateOf(fresh(), "a"))
      }))

    it.effect("is what was stored last, and knows how often it was", () =>
      Effect.gen(function*() {
        const type = fresh()
        assert.strictEqual(yield* upsert(type, "a", 0, "one"), 1)
        assert.strictEqual(yield* upsert(type, "b", 0, "other"), 1)
        assert.strictEqual(yield* upsert(type, "a", 1, "two"), 2)
        assert.deepStrictEqual(yield* stateOf(type, "a"), [2, "two"])
        assert.deepStrictEqual(yield* stateOf(type, "b"), [1, "other"])
        for (const id of ["A", "a ", " a"]) assert.isUndefined(yield* stateOf(type, id), `'${id}'`)
      }))

    it.effect("comes back as it was stored, with its tags, metadata and place", () =>
      Effect.gen(function*() {
        const type = fresh()
        const state = "naïve 🙂 \u0000 '\"\\ \r\n"
        const about = { tags: ["a", "ü\""], metadata: { traceparent: "00-1", "😀": "'" } }
        yield* DurableStateStore.upsert(type, { id: "a", expected: 0, state, ...about })
        const { slice, timestamp, ...found } = Option.getOrThrow(yield* DurableStateStore.get(type, "a"))
        const persistenceId = PersistenceId.make(type.name, "a")
        assert.deepStrictEqual<unknown>(found, { persistenceId, revision: 1, position: 1, state, ...about })
        assert.deepStrictEqual(
          new Map(yield* DurableStateStore.DurableStateStore.use((_) => _.heads(type.name, SliceRange.full))),
          new Map([[slice, Offset.make(1, timestamp)]])
        )
      }))

    it.effect("is of one of the entity types that the store has", () =>
      Effect.gen(function*() {
        const type = fresh()
        const types = DurableStateStore.DurableStateStore.use((_) => _.entityTypes(1_000_000))
        assert.notInclude(yield* types, type.name)
        yield* upsert(type, "a", 0, "one")
        assert.include(yield* types, type.name)
        assert.lengthOf(yield* DurableStateStore.DurableStateStore.use((_) => _.entityTypes(1)), 1)
      }))

    it.effect("says where it was changed", () =>
      Effect.gen(function*() {
        const type = fresh()
        const store = yield* DurableStateStore.DurableStateStore
        const change = (id: string, expected: number, payload = newEvent("").payload) =>
          store.change({
            entityType: type.name,
            persistenceId: PersistenceId.make(type.name, id),
            expected: DurableStateStore.Revision.make(expected),
            payload,
            tags: [],
            metadata: {},
            event: undefined
          })
        for (const [id, expected] of [["a", 0], ["b", 0], ["a", 1]] as const) {
          const receipt = yield* change(id, expected)
          assert.deepStrictEqual(Option.getOrThrow(yield* DurableStateStore.receipt(type, id)), receipt)
          assert.strictEqual<number>(receipt.sequenceNumber, expected + 1)
        }
      }))

    it.effect("may be large", () =>
      Effect.gen(function*() {
        const type = fresh()
        const state = "🙂".repeat(1_000_000)
        yield* upsert(type, "a", 0, state)
        assert.deepStrictEqual(yield* stateOf(type, "a"), [1, state])
      }))

    it.effect("is gone once it is deleted, and goes on with the next revision", () =>
      Effect.gen(function*() {
        const type = fresh()
        yield* upsert(type, "a", 0, "one")
        assert.strictEqual(yield* DurableStateStore.delete(type, { id: "a", expected: 1 }), 2)
        assert.isUndefined(yield* stateOf(type, "a"))
        for (const expected of [1, 3]) {
          assertConflict(yield* Effect.flip(upsert(type, "a", expected, "no")), expected, 2)
        }
        assert.strictEqual(yield* upsert(type, "a", 2, "again"), 3)
        assert.deepStrictEqual(yield* stateOf(type, "a"), [3, "again"])
      }))

    it.effect("can be made again by who knows of none, once it is deleted, and its revisions never fall", () =>
      Effect.gen(function*() {
        const type = fresh()
        yield* upsert(type, "a", 0, "one")
        yield* DurableStateStore.delete(type, { id: "a", expected: 1 })
        assert.strictEqual(yield* upsert(type, "a", 0, "again"), 3)
        assertConflict(yield* Effect.flip(upsert(type, "a", 0, "no")), 0, 3)
        assert.deepStrictEqual((yield* readAll(type)).map(placeOf), [["a", 3, "again"]])
        // one of those who race for it
        yield* DurableStateStore.delete(type, { id: "a", expected: 3 })
        const results = yield* Effect.forEach(
          ["1", "2", "3", "4"],
          (state) => Effect.result(upsert(type, "a", 0, state)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(results.filter(Result.isSuccess).length, 1)
        assert.deepStrictEqual((yield* stateOf(type, "a"))?.[0], 5)
      }))

    it.effect("is refused where it is larger than a stream could carry", () =>
      Effect.gen(function*() {
        const type = fresh()
        const { maxStateBytes } = yield* DurableStateStore.DurableStateStore
        const manifest = EventCodec.string.encodeUnsafe("").manifest
        yield* upsert(type, "a", 0, "x".repeat(maxStateBytes - manifest.length))
        const error = yield* Effect.flip(upsert(type, "a", 1, "x".repeat(maxStateBytes - manifest.length + 1)))
        assert.instanceOf(error, DurableStateStore.StateTooLarge)
        assert.deepInclude(error, { bytes: maxStateBytes + 1, limit: maxStateBytes })
        const tagged = yield* Effect.flip(
          DurableStateStore.upsert(type, { id: "b", expected: 0, state: "", tags: ["x".repeat(maxStateBytes)] })
        )
        assert.instanceOf(tagged, DurableStateStore.StateTooLarge)
        assert.deepStrictEqual((yield* readAll(type)).map((_) => _.sequenceNumber as number), [1])
      }))

    it.effect("is refused where ids, tags or metadata could not be kept, or the revision is none", () =>
      Effect.gen(function*() {
        const type = fresh()
        const change = { id: "a", expected: 0, state: "" }
        for (const text of impossible) {
          for (
            const wrong of [{ id: text }, { tags: [text] }, { metadata: { [text]: "" } }, { metadata: { a: text } }]
          ) {
            assertInvalid(yield* Effect.flip(DurableStateStore.upsert(type, { ...change, ...wrong })))
          }
          assertInvalid(yield* Effect.flip(DurableStateStore.get(type, text)))
        }
        // which would be taken for the commands that an entity remembers
        const own = { ...change, metadata: { "sluice.commands": "[]" } }
        assertInvalid(yield* Effect.flip(DurableStateStore.upsert(type, own)))
        assertInvalid(yield* Effect.flip(DurableStateStore.delete(type, own)))
        for (const expected of [-1, 0.5, NaN, 2 ** 53]) {
          assertInvalid(yield* Effect.flip(DurableStateStore.upsert(type, { ...change, expected })))
        }
        for (const id of ["", "x".repeat(300)]) {
          assertInvalid(yield* Effect.flip(DurableStateStore.upsert(type, { ...change, id })))
        }
        // an event of another entity would be in no transaction of this one's log
        const other = fresh()
        const misplaced = { ...change, event: [other, "a"] as const }
        assertInvalid(yield* Effect.flip(DurableStateStore.upsert(type, misplaced)))
        assertInvalid(yield* Effect.flip(DurableStateStore.delete(type, misplaced)))
        assert.deepStrictEqual(yield* readAll(other), [])
        const event = newEvent("", { id: "');--" })
        const persistenceId = PersistenceId.make(type.name, "a")
        const { payload } = event
        const store = yield* DurableStateStore.DurableStateStore
        const request = { entityType: type.name, persistenceId, expected: DurableStateStore.Revision.make(0), payload }
        assertInvalid(yield* Effect.flip(store.change({ ...request, tags: [], metadata: {}, event })))
        assert.deepStrictEqual(yield* readAll(type), [])
      }))

    it.effect("is not changed by a writer that expects another revision", () =>
      Effect.gen(function*() {
        const type = fresh()
        yield* upsert(type, "a", 0, "one")
        for (const expected of [0, 2, 7]) {
          const error = yield* Effect.flip(upsert(type, "a", expected, "no"))
          assertConflict(error, expected, 1)
        }
        const none = yield* Effect.flip(DurableStateStore.delete(type, { id: "b", expected: 1 }))
        assertConflict(none, 1, 0)
        assert.deepStrictEqual(yield* stateOf(type, "a"), [1, "one"])
        assert.deepStrictEqual((yield* readAll(type)).map(placeOf), [["a", 1, "one"]])
      }))

    it.effect("is changed by one of those that race for it", () =>
      Effect.gen(function*() {
        const type = fresh()
        for (let revision = 0; revision < 5; revision++) {
          const results = yield* Effect.forEach(
            Array.from({ length: 8 }, (_, i) => i),
            (i) => Effect.result(upsert(type, "a", revision, `${i}`)),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(results.filter(Result.isSuccess).length, 1)
          for (const result of results) {
            if (Result.isFailure(result)) assert.instanceOf(result.failure, DurableStateStore.RevisionConflict)
          }
        }
      }))

    it.effect("appends an event in the same transaction", () =>
      Effect.gen(function*() {
        const type = fresh()
        const change = (expected: number, state: string) =>
          DurableStateStore.upsert(type, { id: "a", expected, state, event: [type, `became ${state}`] })
        yield* change(0, "one")
        yield* change(1, "two")
        yield* Effect.flip(change(1, "no"))
        yield* DurableStateStore.delete(type, { id: "a", expected: 2, event: [type, "gone"] })
        assert.deepStrictEqual(yield* eventsOf(type, "a"), ["became one", "became two", "gone"])
      }))

    it.effect("is not changed when the event cannot be appended", () =>
      Effect.gen(function*() {
        const type = fresh()
        yield* upsert(type, "a", 0, "one")
        const { maxEventBytes } = yield* Journal.Journal
        const error = yield* Effect.flip(DurableStateStore.upsert(type, {
          id: "a",
          expected: 1,
          state: "two",
          event: [type, "x".repeat(maxEventBytes + 1)]
        }))
        assert.instanceOf(error, Journal.EventTooLarge)
        assert.deepStrictEqual(yield* stateOf(type, "a"), [1, "one"])
        assert.deepStrictEqual((yield* readAll(type)).map(placeOf), [["a", 1, "one"]])
      }))

    it.effect("belongs to the transaction of the fiber", () =>
      Effect.gen(function*() {
        const type = fresh()
        yield* upsert(type, "a", 0, "one")
        yield* Effect.ignore(Journal.transaction(Effect.gen(function*() {
          yield* upsert(type, "a", 1, "two")
          yield* upsert(type, "b", 0, "other")
          assert.deepStrictEqual(yield* stateOf(type, "a"), [2, "two"])
          return yield* Effect.fail("no")
        })))
        assert.deepStrictEqual(yield* stateOf(type, "a"), [1, "one"])
        assert.isUndefined(yield* stateOf(type, "b"))
        yield* Journal.transaction(Effect.gen(function*() {
          yield* upsert(type, "a", 1, "two")
          // a conflict undoes itself, and no more
          yield* Effect.flip(upsert(type, "a", 1, "no"))
          yield* upsert(type, "a", 2, "three")
        }))
        assert.deepStrictEqual(yield* stateOf(type, "a"), [3, "three"])
        assert.deepStrictEqual((yield* readAll(type)).map(placeOf), [["a", 3, "three"]])
      }))
  })

  describe("the changes of states", () => {
    it.effect("are read in the order of each log, the last of each entity", () =>
      Effect.gen(function*() {
        const type = fresh()
        for (let i = 0; i < 60; i++) yield* upsert(type, `${i % 20}`, Math.floor(i / 20), `${i}`)
        yield* DurableStateStore.delete(type, { id: "7", expected: 3 })
        for (const limit of [1, 3, 100]) {
          const changes = yield* readAll(type, limit)
          assertOrdered(changes)
          assert.sameDeepMembers(
            changes.map(placeOf),
            Array.from({ length: 20 }, (_, i) => i === 7 ? ["7", 4, undefined] : [`${i}`, 3, `${i + 40}`])
          )
        }
      }))

    it.effect("are read on after the offsets, in a range of slices", () =>
      Effect.gen(function*() {
        const type = fresh()
        const [a, b] = idsOfSlice(type, 200, 2)
        const [c] = idsOfSlice(type, 700, 1)
        for (const id of [a!, b!, c!]) yield* upsert(type, id, 0, `${id} one`)
        const first = yield* readAll(type)
        assert.strictEqual(first.length, 3)
        yield* upsert(type, a!, 1, "two")
        yield* upsert(type, c!, 1, "two")
        const rest = yield* Effect.scoped(
          Effect.flatMap(readerOf(type, SliceRange.make(0, 511), offsetsAfter(first)), drain)
        )
        assert.deepStrictEqual(rest.map(placeOf), [[a, 2, "two"]])
        const later = yield* Effect.scoped(Effect.gen(function*() {
          const store = yield* DurableStateStore.DurableStateStore
          return yield* drain(yield* store.reader(type.name, SliceRange.full, Offset.since(first.at(-1)!.timestamp)))
        }))
        assert.includeDeepMembers(later.map(placeOf), [[a, 2, "two"], [c, 2, "two"]])
      }))

    it.effect("by time have the order of the timestamps, over all slices, wherever reading starts and in pages of any size", () =>
      Effect.gen(function*() {
        const store = yield* DurableStateStore.DurableStateStore
        const type = fresh()
        const ids = Array.from({ length: 400 }, (_, i) => `${i}`)
        yield* Effect.forEach(ids, (id) => upsert(type, id, 0, id), { discard: true })
        for (let i = 0; i < 400; i += 7) yield* upsert(type, ids[i]!, 1, "again")
        const all = yield* readAll(type)
        assert.strictEqual(all.length, ids.length)
        const times = all.map(({ timestamp }) => timestamp).toSorted((a, b) => a - b)
        const middle = times[times.length / 2]!
        const starts = [
          Offset.none,
          Offset.since(Timestamp.make(1)),
          Offset.since(middle),
          offsetsAfter(all.filter(({ timestamp }) => timestamp < middle))
        ]
        for (const [i, start] of starts.entries()) {
          for (const range of [SliceRange.full, SliceRange.make(512, 1023)]) {
            for (const limit of [7, 500]) {
              const reader = yield* store.reader(type.name, range, start, { byTime: true })
              const read = yield* drain(reader, limit)
              assertByTime(read)
              assertOrdered(read)
              assert.sameDeepMembers(
                read.map(placeOf),
                all.filter(({ slice, timestamp }) =>
                  (i < 2 || timestamp >= middle) && SliceRange.contains(range, slice)
                ).map(placeOf)
              )
              assert.deepStrictEqual(yield* reader.next(limit), [])
            }
          }
        }
      }).pipe(Effect.scoped))

    it.effect("by time go on with what is changed later, large and small", () =>
      Effect.gen(function*() {
        const store = yield* DurableStateStore.DurableStateStore
        const type = fresh()
        const [a, b] = idsOfSlice(type, 200, 2) as [string, string]
        const [c] = idsOfSlice(type, 700, 1) as [string]
        const reader = yield* store.reader(type.name, SliceRange.full, Offset.none, { byTime: true })
        assert.deepStrictEqual(yield* reader.next(10), [])
        const large = "x".repeat(1_500_000)
        for (let revision = 0; revision < 4; revision++) {
          for (const id of [a, c, b]) {
            yield* upsert(type, id, revision, id === c ? `${revision}` : `${revision}${large}`)
          }
          const read = yield* drain(reader, 2)
          assertByTime(read)
          assert.sameDeepMembers(
            read.map(placeOf).map(([id, revision, state]) => [id, revision, (state as string)[0]]),
            [a, c, b].map((id) => [id, revision + 1, `${revision}`])
          )
        }
        // and of one entity that changes while it is read
        yield* upsert(type, a, 4, "old")
        yield* upsert(type, c, 4, "4")
        assert.strictEqual((yield* reader.next(1)).length, 1)
        yield* upsert(type, c, 5, "5")
        yield* upsert(type, a, 5, "new")
        assert.sameDeepMembers((yield* drain(reader, 1)).map(placeOf), [[c, 6, "5"], [a, 6, "new"]])
      }).pipe(Effect.scoped))

    it.effect("come in pages of a few megabytes, however large they are", () =>
      Effect.gen(function*() {
        const type = fresh()
        const large = "x".repeat(1_500_000)
        for (let i = 0; i < 8; i++) yield* upsert(type, `${i}`, 0, i % 4 === 3 ? "small" : large)
        yield* DurableStateStore.delete(type, { id: "6", expected: 1 })
        const reader = yield* readerOf(type)
        const sizes: Array<number> = []
        const found: Array<EncodedEnvelope> = []
        while (true) {
          const page = yield* reader.next(500)
          if (page.length === 0) break
          found.push(...page)
          sizes.push(page.reduce((bytes, { payload }) => bytes + (payload?.bytes.length ?? 0), 0))
        }
        for (const size of sizes) assert.isAtMost(size, 4 * 1024 * 1024 + large.length)
        assertOrdered(found)
        assert.sameDeepMembers(
          found.map((change) => [PersistenceId.entityId(change.persistenceId), change.payload?.bytes.length]),
          ["0", "1", "2", "3", "4", "5", "6", "7"].map((id) => [
            id,
            id === "6" ? undefined : id === "3" || id === "7" ? "small".length : large.length
          ])
        )
      }).pipe(Effect.scoped))

    it.effect("are not read on from offsets that are not theirs, as a backup was restored", () =>
      Effect.gen(function*() {
        const type = fresh()
        const [a, b, c] = idsOfSlice(type, 300, 3) as [string, string, string]
        for (const id of [a, b, c]) yield* upsert(type, id, 0, id)
        const changes = yield* readAll(type)
        const open = (position: number, timestamp: number) =>
          Effect.scoped(
            readerOf(type, SliceRange.full, new Map([[changes[0]!.slice, Offset.make(position, timestamp)]]))
          )
        const refused = (position: number, timestamp: number) =>
          Effect.map(Effect.flip(open(position, timestamp)), (error) => {
            assert.instanceOf(error, Journal.JournalForked)
            assert.deepInclude(error, { entityType: type.name, offset: Offset.make(position, timestamp) })
          })
        const [one, two, three] = changes.map(({ timestamp }) => timestamp as number) as [number, number, number]
        for (const [i, timestamp] of [one, two, three].entries()) {
          yield* open(i + 1, timestamp)
          yield* refused(i + 1, timestamp - 1)
          yield* refused(i + 1, timestamp + 1)
        }
        yield* refused(4, three + 1)
        yield* refused(7, three)
        // of what was changed again only the neighbours tell
        yield* upsert(type, b, 1, "again")
        yield* open(2, two)
        yield* refused(2, one)
        yield* refused(2, three)
        yield* open(0, three)
      }))

    it.effect("have the last of each log that is older than a time", () =>
      Effect.gen(function*() {
        const type = fresh()
        const [a, b] = idsOfSlice(type, 100, 2) as [string, string]
        const [c] = idsOfSlice(type, 700, 1) as [string]
        for (const id of [a, b, c]) yield* upsert(type, id, 0, "one")
        yield* laterThan(Timestamp.make(Math.max(...(yield* readAll(type)).map(({ timestamp }) => timestamp))))
        yield* upsert(type, a, 1, "two")
        const places = new Map(
          (yield* readAll(type)).map(({ persistenceId, position, slice, timestamp }) =>
            [PersistenceId.entityId(persistenceId), [slice, Offset.make(position!, timestamp)] as const] as const
          )
        )
        const before = (time: number, range = SliceRange.full) =>
          Effect.map(
            DurableStateStore.DurableStateStore.use((store) => store.before(type.name, range, Timestamp.make(time))),
            (offsets) => new Map(offsets)
          )
        const of = (...ids: ReadonlyArray<string>) => new Map(ids.map((id) => places.get(id)!))
        const time = places.get(a)![1].timestamp
        assert.deepStrictEqual(yield* before(time), of(b, c))
        assert.deepStrictEqual(yield* before(time + 1), of(a, c))
        assert.deepStrictEqual(yield* before(time + 1, SliceRange.make(512, 1023)), of(c))
        assert.strictEqual((yield* before(1)).size, 0)
      }))

    it.effect("wake who waits for them", () =>
      Effect.gen(function*() {
        const type = fresh()
        const changed = yield* DurableStateStore.DurableStateStore.use((store) => store.changes(type.name))
        const deleted = DurableStateStore.delete(type, { id: "a", expected: 1 })
        yield* assertWakes(changed, [
          upsert(type, "a", 0, "1"),
          Journal.transaction(deleted),
          upsert(type, "b", 0, "1")
        ])
      }).pipe(Effect.scoped))

    it.effect("show every entity's last state, whatever its writers do", () =>
      Effect.gen(function*() {
        const type = fresh()
        const last = new Map<string, number>()
        const reader = yield* readerOf(type)
        const changed = yield* DurableStateStore.DurableStateStore.use((store) => store.changes(type.name))
        const seen: Array<EncodedEnvelope> = []
        const reading = yield* Effect.forkChild(Effect.gen(function*() {
          while (true) {
            const page = yield* reader.next(7)
            if (page.length === 0) yield* changed
            seen.push(...page)
          }
        }))
        yield* Effect.forEach(
          Array.from({ length: 12 }, (_, i) => `${i}`),
          (id) =>
            Effect.gen(function*() {
              for (let revision = 0; revision < 20; revision++) {
                const change = upsert(type, id, revision, `${id} ${revision + 1}`)
                yield* revision % 5 === 4 ? Journal.transaction(Effect.andThen(change, Effect.yieldNow)) : change
                last.set(id, revision + 1)
              }
            }),
          { concurrency: "unbounded" }
        )
        yield* upsert(type, "end", 0, "end")
        while (!seen.some((change) => PersistenceId.entityId(change.persistenceId) === "end")) yield* Effect.yieldNow
        yield* Fiber.interrupt(reading)
        seen.push(...yield* drain(reader))
        assertOrdered(seen)
        const latest = new Map(seen.map((change) => [PersistenceId.entityId(change.persistenceId), change]))
        for (const [id, revision] of last) assert.strictEqual(latest.get(id)?.sequenceNumber, revision, id)
      }))
  })

  describe("a projection of states", () => {
    it.effect("handles each entity's last state, deletions included, exactly once", () =>
      Effect.gen(function*() {
        const type = fresh()
        const name = freshName()
        const handled: Array<Envelope<Option.Option<string>>> = []
        const projection = Source.durableState(type).pipe(
          Projection.exactlyOnce(name, (envelope) => Effect.sync(() => void handled.push(envelope)))
        )
        const shown = () =>
          handled.splice(0).map(({ event, persistenceId, sequenceNumber }) => [
            PersistenceId.entityId(persistenceId),
            sequenceNumber as number,
            Option.getOrUndefined(event)
          ])
        yield* upsert(type, "a", 0, "one")
        yield* upsert(type, "b", 0, "one")
        yield* upsert(type, "a", 1, "two")
        yield* whileRunning(projection)(Effect.gen(function*() {
          yield* caughtUp(name)
          assert.sameDeepMembers(shown(), [["a", 2, "two"], ["b", 1, "one"]])
          yield* DurableStateStore.delete(type, { id: "b", expected: 1 })
          yield* caughtUp(name)
          assert.deepStrictEqual(shown(), [["b", 2, undefined]])
        }))
        yield* upsert(type, "c", 0, "new")
        yield* whileRunning(projection)(caughtUp(name))
        assert.deepStrictEqual(shown(), [["c", 1, "new"]])
      }))

    it.effect("stops where its offset is not in the store, as a backup was restored", () =>
      Effect.gen(function*() {
        const type = fresh()
        const name = freshName()
        const projection = Source.durableState(type).pipe(Projection.exactlyOnce(name, () => Effect.void))
        yield* upsert(type, "a", 0, "one")
        yield* whileRunning(projection)(caughtUp(name))
        const store = yield* OffsetStore
        const key = Projection.offsetKey(projection)
        const { journal, offsets, revision } = yield* store.load(key, SliceRange.full)
        const [[slice, from]] = [...offsets] as [[Slice.Slice, Offset.Offset]]
        // one that was taken before the backup was restored
        const to = Offset.make(from.position + 1, from.timestamp + 1)
        yield* store.transact(key, { journal: journal!, revision: revision! }, [{ slice, from, to }], Effect.void)
        yield* whileRunning(projection)(Effect.gen(function*() {
          assert.instanceOf(errorOf(yield* stopped(name)), Journal.JournalForked)
        }))
      }).pipe(Effect.provideService(References.MinimumLogLevel, "None")))
  })

  describe.each(
    [
      [
        "exactly once",
        (name: string, handle: (envelope: Envelope<Option.Option<string>>) => Effect.Effect<void, string>) =>
          Projection.exactlyOnce(name, handle)
      ],
      [
        "at least once",
        (name: string, handle: (envelope: Envelope<Option.Option<string>>) => Effect.Effect<void, string>) =>
          Projection.atLeastOnce(name, handle, { saveAfter: 1 })
      ]
    ] as const
  )("a state that was put aside, %s,", (_, deliver) => {
    it.effect("is handled later, unless there is a newer one", () =>
      Effect.gen(function*() {
        const type = fresh()
        const name = freshName()
        let isBroken = true
        const shown = new Map<string, string>()
        const projection = Source.durableState(type).pipe(
          deliver(name, ({ event, persistenceId }) =>
            isBroken ? Effect.fail("broken") : Effect.sync(() => {
              shown.set(PersistenceId.entityId(persistenceId), Option.getOrElse(event, () => "deleted"))
            })),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        for (const id of ["a", "b", "c"]) yield* upsert(type, id, 0, `${id} 1`)
        yield* Effect.gen(function*() {
          yield* caughtUp(name)
          isBroken = false
          yield* upsert(type, "a", 1, "a 2")
          yield* DurableStateStore.delete(type, { id: "b", expected: 1 })
          yield* caughtUp(name)
          const redriven = yield* Projection.handleDeadLetters(projection)
          assert.deepStrictEqual(redriven, { handled: 1, failed: 0, obsolete: 2, excluded: 0 })
          assert.deepStrictEqual(Object.fromEntries(shown), { a: "a 2", b: "deleted", c: "c 1" })
          assert.deepStrictEqual(yield* ProjectionManagement.deadLetters(projection), [])
        }).pipe(whileRunning(projection))
      }).pipe(quiet))

    it.effect("never comes after one that is handled meanwhile", () =>
      Effect.gen(function*() {
        const type = fresh()
        const name = freshName()
        let isBroken = true
        let redriven = 0
        const changed = yield* Deferred.make<void>()
        const order: Array<string> = []
        const projection = Source.durableState(type).pipe(
          deliver(name, ({ event }) =>
            Effect.gen(function*() {
              if (isBroken) return yield* Effect.fail("broken")
              order.push(Option.getOrElse(event, () => "deleted"))
            })),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* upsert(type, "a", 0, "one")
        yield* caughtUp(name).pipe(whileRunning(projection))
        isBroken = false
        // a newer state is handled between the look at the source and the handling of the old one
        const [source] = projection.sources
        const late = Source.make<Option.Option<string>, any, any>({
          ...source.provider,
          entity: (persistenceId, from, to) =>
            Stream.concat(
              source.provider.entity(persistenceId, from, to),
              Stream.drain(Stream.fromEffect(Effect.void))
            ).pipe(
              Stream.mapArrayEffect((envelopes) =>
                redriven++ > 0 ? Effect.succeed(envelopes) : Effect.as(
                  Effect.andThen(
                    upsert(type, "a", 1, "two"),
                    caughtUp(name).pipe(whileRunning(projection), Effect.andThen(Deferred.succeed(changed, undefined)))
                  ),
                  envelopes
                )
              )
            )
        }).pipe(
          deliver(name, ({ event }) => Effect.sync(() => void order.push(Option.getOrElse(event, () => "deleted")))),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* Projection.handleDeadLetters(late)
        yield* Deferred.await(changed)
        assert.strictEqual(order.at(-1), "two")
      }).pipe(quiet))
  })
}
