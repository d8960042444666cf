import { assert, describe } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EventFilter from "@sluice/core/EventFilter"
import * as GivenUp from "@sluice/core/GivenUp"
import * as Offset from "@sluice/core/Offset"
import { type OffsetKey, OffsetStore } from "@sluice/core/OffsetStore"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { freshNameOf } from "../ids.ts"
import { type It, transactAs } from "../kit.ts"

type Stores = ConsumerFilter.ConsumerFilter | OffsetStore | ProjectionManagement

const [exact, first, second] = [Slice.make(3), Slice.make(5), Slice.make(9)]

const at = (position: number) => Offset.make(position, position * 10)

/** A projection that has read all of one slice, and has left out something in two others. */
const leavingOut = Effect.fnUntraced(function*(source: string): Effect.fn.Return<OffsetKey, any, Stores> {
  const key = { projection: freshNameOf("given-up"), source }
  const entities = new Map()
  yield* transactAs(key, "journal", [
    { slice: exact, from: undefined, to: at(7) },
    { slice: first, from: undefined, to: at(2) },
    { slice: second, from: undefined, to: at(8), entities }
  ], Effect.void)
  yield* transactAs(key, "journal", [{ slice: first, from: at(2), to: at(6), entities }], Effect.void)
  return key
})

const begun = Effect.gen(function*() {
  const source = freshNameOf("stream:given-up")
  yield* ConsumerFilter.begin(source, EventFilter.excludeAll)
  return yield* leavingOut(source)
})

const including = EventFilter.includeEntityIds
const excluding = (...ids: ReadonlyArray<string>) => EventFilter.without(EventFilter.includeEntityIds(...ids))

const change = (
  { source }: Pick<OffsetKey, "source">,
  by: (filter: EventFilter.EventFilter) => EventFilter.EventFilter,
  history: ConsumerFilter.HistoryPolicy = "none"
) =>
  Effect.provideService(
    ConsumerFilter.update({ source }, by, { by: "ada", history }),
    // it warns of what is given up
    References.MinimumLogLevel,
    "Error"
  )

/** Of each slice, the versions, and the times until which they have given it up. */
const givenUp = (key: OffsetKey, range = SliceRange.full) =>
  Effect.map(
    ConsumerFilter.ConsumerFilter.use((filters) => filters.givenUp(key, range)),
    (found) =>
      Object.fromEntries(
        Array.from(
          found,
          ([slice, some]) => [slice, some.map(({ until, version }) => [version, until] as Array<number>)]
        )
      )
  )

const givenUpBy = ({ source }: OffsetKey) => ConsumerFilter.ConsumerFilter.use((filters) => filters.givenUpBy(source))

const rewind = (key: OffsetKey, offsets: Offset.Offsets) =>
  ProjectionManagement.use((management) => management.rewind(key, { journal: undefined, offsets }, Effect.void))

const idsOf = ({ includeEntityIds }: EventFilter.EventFilter) => includeEntityIds.map(({ entityId }) => entityId)

/** @internal What is stored of that which changes of a filter have given up. */
export const givenUpTests = (it: It<Stores>): void => {
  describe("what a filter has given up", () => {
    it.effect("is all up to the stored offset, where something is left out, of each projection of the stream", () =>
      Effect.gen(function*() {
        const key = yield* begun
        const same = yield* leavingOut(key.source)
        const other = yield* begun
        assert.deepStrictEqual([yield* givenUp(key), yield* givenUpBy(key)], [{}, []])
        yield* change(key, including("a"))
        const all = { [first]: [[2, 61]], [second]: [[2, 81]] }
        assert.deepStrictEqual(yield* givenUp(key), all)
        assert.deepStrictEqual(yield* givenUp(same), all)
        assert.deepStrictEqual(yield* givenUp(key, SliceRange.make(4, 8)), { [first]: [[2, 61]] })
        assert.deepStrictEqual([yield* givenUp(other), yield* givenUpBy(other)], [{}, []])
        const late = yield* leavingOut(key.source)
        assert.deepStrictEqual(yield* givenUp(late), {}, "what was not read yet is not given up")
      }))

    it.effect("is remembered with the filters before and after the change, in their order", () =>
      Effect.gen(function*() {
        const key = yield* begun
        yield* change(key, including("a"))
        yield* transactAs(key, "journal", [{ slice: first, from: at(6), to: at(11), entities: new Map() }], Effect.void)
        yield* change(key, including("b"), "nextEvent")
        yield* change(key, including("c"))
        assert.deepStrictEqual(yield* givenUp(key), { [first]: [[2, 61], [4, 111]], [second]: [[2, 81], [4, 81]] })
        const changes = yield* givenUpBy(key)
        assert.deepStrictEqual(changes.map(({ after, before, version }) => [version, idsOf(before), idsOf(after)]), [
          [2, [], ["a"]],
          [4, ["a", "b"], ["a", "b", "c"]]
        ])
      }))

    it.effect("leaves what is read completely, and what is to be looked through, as it is", () =>
      Effect.gen(function*() {
        const key = yield* begun
        yield* change(key, including("a"))
        const store = yield* OffsetStore
        const { completeUpTo } = yield* store.load(key, SliceRange.full)
        assert.deepStrictEqual([...completeUpTo], [[first, at(2)], [second, at(0)]])
        yield* change(key, including("b"), "now")
        const filters = yield* ConsumerFilter.ConsumerFilter
        const { revision } = yield* store.load(key, SliceRange.full)
        const passed = yield* filters.passedOver(key, SliceRange.full, revision!)
        assert.deepStrictEqual(passed.get(first), { from: at(2), upTo: at(6).position })
        assert.deepStrictEqual(yield* givenUp(key), { [first]: [[2, 61]], [second]: [[2, 81]] })
      }))

    it.effect("is nothing if a change includes nothing, or is none", () =>
      Effect.gen(function*() {
        const key = yield* begun
        yield* change(key, including("a", "b"), "nextEvent")
        assert.deepInclude(yield* change(key, (filter) => filter), { version: 2, history: "nextEvent" })
        assert.deepInclude(yield* change(key, excluding("a")), { version: 3, history: "none" })
        assert.deepStrictEqual([yield* givenUp(key), yield* givenUpBy(key)], [{}, []])
      }))

    it.effect("is given up by the last of the changes that include the same", () =>
      Effect.gen(function*() {
        const key = yield* begun
        for (let i = 0; i < 2; i++) {
          yield* change(key, including("a"))
          yield* change(key, excluding("a"))
        }
        yield* change(key, including("a", "b"))
        assert.deepStrictEqual(yield* givenUp(key), { [first]: [[6, 61]], [second]: [[6, 81]] })
        // by an earlier version as well
        yield* ConsumerFilter.rollBack({ source: key.source }, 1, { by: "ada" })
        yield* ConsumerFilter.rollBack({ source: key.source }, 6, { by: "ada", history: "none" })
        assert.deepStrictEqual((yield* givenUpBy(key)).map(({ version }) => version), [8])
      }))

    it.effect("is less after a rewind, by what comes again", () =>
      Effect.gen(function*() {
        const key = yield* begun
        yield* change(key, including("a"))
        yield* rewind(key, new Map([[exact, at(7)], [first, at(4)], [second, at(9)]]))
        assert.deepStrictEqual(yield* givenUp(key), { [first]: [[2, 41]], [second]: [[2, 81]] })
        // a time
        yield* rewind(key, new Map([[first, Offset.make(0, 35)], [second, Offset.make(0, 35)]]))
        assert.deepStrictEqual(yield* givenUp(key), { [first]: [[2, 35]], [second]: [[2, 35]] })
        // until a worker has asked for its position
        yield* change(key, including("b"))
        assert.deepStrictEqual(yield* givenUp(key), { [first]: [[2, 35], [3, 35]], [second]: [[2, 35], [3, 35]] })
        yield* rewind(key, new Map([[first, at(2)], [second, at(1)]]))
        assert.deepStrictEqual(yield* givenUp(key), { [second]: [[2, 11], [3, 11]] }, "the other is read completely")
        yield* rewind(key, Offset.none)
        assert.deepStrictEqual([yield* givenUp(key), yield* givenUpBy(key)], [{}, []])
      }))

    it.effect("is nothing in a slice that begins anew, and once the projection is cleared", () =>
      Effect.gen(function*() {
        const key = yield* begun
        yield* change(key, including("a"))
        const anew = { slice: first, from: at(6), to: Offset.beginning }
        yield* transactAs(key, "journal", [anew], Effect.void)
        assert.deepStrictEqual(yield* givenUp(key), { [second]: [[2, 81]] })
        yield* ProjectionManagement.use((management) => management.clear(key))
        assert.deepStrictEqual([yield* givenUp(key), yield* givenUpBy(key)], [{}, []])
      }))

    it.effect("keeps the versions that are needed to know it, and no others", () =>
      Effect.gen(function*() {
        const key = yield* begun
        for (const id of ["a", "b"]) yield* change(key, including(id), "nextEvent")
        yield* change(key, including("c"))
        for (const id of ["d", "e", "f"]) yield* change(key, including(id), "nextEvent")
        const versions = Effect.map(
          ConsumerFilter.history({ source: key.source }),
          (all) => all.map(({ version }) => version)
        )
        assert.deepStrictEqual(yield* versions, [7, 4, 3, 1])
        const [change4] = yield* givenUpBy(key)
        assert.deepStrictEqual([idsOf(change4!.before), idsOf(change4!.after)], [["a", "b"], ["a", "b", "c"]])
        yield* rewind(key, Offset.none)
        yield* change(key, including("g"), "nextEvent")
        assert.deepStrictEqual(yield* versions, [8, 1])
      }).pipe(Effect.provideService(ConsumerFilter.KeptVersions, 1)))

    it.effect("is bounded: one change more is refused, and a rewind makes room", () =>
      Effect.gen(function*() {
        const key = yield* begun
        for (let i = 0; i < GivenUp.maxChanges; i++) yield* change(key, including(`${i}`))
        const before = yield* givenUp(key)
        assert.strictEqual(before[first]?.length, GivenUp.maxChanges)
        const refused = yield* Effect.flip(change(key, including("more")))
        assert.instanceOf(refused, ConsumerFilter.TooManyGivenUp)
        assert.strictEqual(refused.versions.length, GivenUp.maxChanges)
        assert.strictEqual(refused.versions[0], 2)
        for (const part of [`'${key.source}'`, "version 2", "nextEvent", "rewind"]) {
          assert.include(refused.message, part)
        }
        assert.deepStrictEqual(yield* givenUp(key), before)
        const { version } = yield* ConsumerFilter.get({ source: key.source })
        assert.strictEqual(version, GivenUp.maxChanges + 1)
        // what includes as much as one of them takes its place
        yield* ConsumerFilter.rollBack({ source: key.source }, 1, { by: "ada" })
        yield* change(key, including("0", "more"))
        assert.deepStrictEqual((yield* givenUpBy(key)).map(({ version }) => version).slice(-2), [33, 35])
        assert.instanceOf(yield* Effect.flip(change(key, including("another"))), ConsumerFilter.TooManyGivenUp)
        yield* rewind(key, Offset.none)
        yield* change(key, including("another"))
      }))
  })
}
