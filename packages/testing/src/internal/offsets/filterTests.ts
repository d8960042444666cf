import { assert, describe } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import { Fenced, type OffsetKey, OffsetStore } from "@sluice/core/OffsetStore"
import type { Stores } from "@sluice/core/Projection"
import { ProjectionManagement, UnknownProjection } from "@sluice/core/ProjectionManagement"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { freshNameOf } from "../ids.ts"
import type { It } from "../kit.ts"
import { assertInvalid, fresh, impossible, revisionOf, transactAs } from "../kit.ts"

const freshSource = () => ({ source: `stream:${freshNameOf("s")}` })

const tagged = (...tags: ReadonlyArray<string>) => EventFilter.excludeAll.pipe(EventFilter.includeTags(...tags))

const including = (...ids: ReadonlyArray<string>) => EventFilter.includeEntityIds(...ids)

const ada = { by: "ada", reason: "a test" }

/** A stream whose pipeline has begun with a filter. */
const begun = (filter = EventFilter.excludeAll) =>
  Effect.gen(function*() {
    const ref = freshSource()
    yield* ConsumerFilter.begin(ref.source, filter)
    return ref
  })

const idsOf = (filter: EventFilter.EventFilter) => filter.includeEntityIds.map(({ entityId }) => entityId)

const shortly = ({ by, version }: ConsumerFilter.FilterVersion) => `${version} ${by}`

const load = (key: OffsetKey) => OffsetStore.use((store) => store.load(key, SliceRange.full))

/** @internal */
export const filterTests = (it: It<Journal.Journal | Stores>): void => {
  describe("the filter of a stream", () => {
    it.effect("begins with the pipeline's, and follows that", () =>
      Effect.gen(function*() {
        const { source } = yield* begun(tagged("a"))
        yield* ConsumerFilter.begin(source, tagged("a"))
        assert.deepStrictEqual((yield* ConsumerFilter.history({ source })).map(shortly), ["1 pipeline"])
        const { newest, overridden } = yield* ConsumerFilter.begin(source, tagged("b"))
        assert.deepStrictEqual([shortly(newest), overridden], ["2 pipeline", undefined])
        assert.isTrue(Equal.equals((yield* ConsumerFilter.get({ source })).filter, tagged("b")))
      }))

    it.effect("stays as it was changed at runtime, whatever the pipeline begins with", () =>
      Effect.gen(function*() {
        const ref = yield* begun(tagged("a"))
        yield* ConsumerFilter.update(ref, including("x"), ada)
        const { newest, overridden } = yield* ConsumerFilter.begin(ref.source, tagged("b"))
        assert.deepStrictEqual([shortly(newest), overridden], ["2 ada", 1])
        assert.deepStrictEqual(idsOf((yield* ConsumerFilter.get(ref)).filter), ["x"])
      }))

    it.effect("follows the pipeline again once it is rolled back to what that had, or the pipeline has the same", () =>
      Effect.gen(function*() {
        const ref = yield* begun(tagged("a"))
        yield* ConsumerFilter.update(ref, including("x"), ada)
        yield* ConsumerFilter.rollBack(ref, 1, ada)
        assert.strictEqual(shortly((yield* ConsumerFilter.begin(ref.source, tagged("b"))).newest), "4 pipeline")
        const { filter } = yield* ConsumerFilter.update(ref, including("y"), ada)
        assert.strictEqual(shortly((yield* ConsumerFilter.begin(ref.source, filter)).newest), "6 pipeline")
        assert.strictEqual(shortly((yield* ConsumerFilter.begin(ref.source, tagged("c"))).newest), "7 pipeline")
      }))

    it.effect("is changed by whoever says so, with a version, a time and a reason", () =>
      Effect.gen(function*() {
        const ref = yield* begun()
        const version = yield* ConsumerFilter.update(ref, including("x"), {
          by: "ada 'n \u{1f6a3} \"b\"",
          reason: "ü\n"
        })
        assert.deepInclude(version, {
          source: ref.source,
          version: 2,
          by: "ada 'n \u{1f6a3} \"b\"",
          reason: "ü\n",
          history: "nextEvent"
        })
        const [newest, first] = yield* ConsumerFilter.history(ref)
        assert.isTrue(Equal.equals(newest, version))
        assert.isTrue(Equal.equals(yield* ConsumerFilter.get(ref), version))
        assert.isAtLeast(newest!.at, first!.at)
        assert.isAbove(first!.at, 1_500_000_000_000_000)
      }))

    it.effect("is told of the commit of a transaction, unless it was undone", () =>
      Effect.gen(function*() {
        const { afterCommit } = yield* ConsumerFilter.ConsumerFilter
        const seen: Array<string> = []
        const note = (text: string) => Effect.sync(() => void seen.push(text))
        yield* Journal.transaction(Effect.gen(function*() {
          yield* Journal.transaction(afterCommit(note("after it")))
          yield* Effect.exit(Journal.transaction(Effect.andThen(afterCommit(note("never")), Effect.fail("undone"))))
          yield* note("within")
        }))
        yield* Effect.exit(Journal.transaction(Effect.andThen(afterCommit(note("never")), Effect.fail("undone"))))
        yield* afterCommit(note("at once"))
        assert.deepStrictEqual(seen, ["within", "after it", "at once"])
      }))

    it.effect("is not changed by what makes no difference", () =>
      Effect.gen(function*() {
        const ref = yield* begun(tagged("a"))
        const version = yield* ConsumerFilter.update(ref, EventFilter.includeTags("a"), ada)
        assert.strictEqual(shortly(version), "1 pipeline")
        assert.strictEqual((yield* ConsumerFilter.history(ref)).length, 1)
      }))

    it.effect("loses none of the changes that come at once", () =>
      Effect.gen(function*() {
        const ref = yield* begun()
        const ids = Array.from({ length: 12 }, (_, i) => `${10 + i}`)
        const versions = yield* Effect.forEach(
          ids,
          (id) => ConsumerFilter.update(ref, including(id), { by: id }),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          versions.map(({ version }) => version).toSorted((a, b) => a - b),
          ids.map((_, i) => i + 2)
        )
        assert.deepStrictEqual(idsOf((yield* ConsumerFilter.get(ref)).filter), ids)
        for (const { by, filter } of versions) assert.include(idsOf(filter), by)
      }))

    it.effect("takes changes that come at once in transactions of their callers, which nobody tries again", () =>
      Effect.gen(function*() {
        const ref = yield* begun()
        const ids = Array.from({ length: 6 }, (_, i) => `${10 + i}`)
        yield* Effect.forEach(
          ids,
          (id) => Journal.transaction(ConsumerFilter.update(ref, including(id), { by: id })),
          { concurrency: "unbounded", discard: true }
        )
        assert.deepStrictEqual(idsOf((yield* ConsumerFilter.get(ref)).filter), ids)
      }))

    it.effect(
      "keeps a bounded number of its versions, and the newest one of the pipeline",
      () =>
        Effect.gen(function*() {
          const ref = yield* begun()
          const { store } = yield* ConsumerFilter.ConsumerFilter
          const version = {
            filter: EventFilter.passAll,
            by: "ada",
            reason: "",
            history: "nextEvent",
            restarts: false
          } as const
          for (let i = 0; i < 5; i++) yield* store(ref.source, () => Effect.succeed(version))
          assert.deepStrictEqual((yield* ConsumerFilter.history(ref)).map(shortly), [
            "6 ada",
            "5 ada",
            "4 ada",
            "1 pipeline"
          ])
          const unknown = yield* Effect.flip(ConsumerFilter.rollBack(ref, 3, ada))
          assert.strictEqual(unknown._tag, "UnknownVersion")
          assert.include(unknown.message, "has no version 3: it is not among those that are kept")
          yield* ConsumerFilter.rollBack(ref, 1, ada)
          yield* ConsumerFilter.begin(ref.source, tagged("b"))
          assert.deepStrictEqual((yield* ConsumerFilter.history(ref)).map(shortly), ["8 pipeline", "7 ada", "6 ada"])
        }).pipe(Effect.provideService(ConsumerFilter.KeptVersions, 3))
    )

    it.effect("shows its versions newest first, page by page", () =>
      Effect.gen(function*() {
        const ref = yield* begun()
        for (const id of ["a", "b", "c"]) yield* ConsumerFilter.update(ref, including(id), ada)
        const page = yield* ConsumerFilter.history(ref, { limit: 2 })
        assert.deepStrictEqual(page.map(shortly), ["4 ada", "3 ada"])
        const next = yield* ConsumerFilter.history(ref, { limit: 2, before: 3 })
        assert.deepStrictEqual(next.map(({ filter }) => idsOf(filter)), [["a"], []])
        assert.deepStrictEqual(yield* ConsumerFilter.history(ref, { before: 1 }), [])
      }))

    it.effect("is rolled back by a new version", () =>
      Effect.gen(function*() {
        const ref = yield* begun()
        for (const id of ["a", "b"]) yield* ConsumerFilter.update(ref, including(id), ada)
        const version = yield* ConsumerFilter.rollBack(ref, 2, { by: "bob" })
        assert.deepStrictEqual([shortly(version), idsOf(version.filter)], ["4 bob", ["a"]])
        const unknown = yield* Effect.flip(ConsumerFilter.rollBack(ref, 5, ada))
        assert.instanceOf(unknown, ConsumerFilter.UnknownVersion)
        assert.deepInclude(unknown, { source: ref.source, version: 5, newest: 4 })
        assert.strictEqual(unknown.message, `The filter of '${ref.source}' has no version 5: its newest is 4`)
      }))

    it.effect("is shown as it changes", () =>
      Effect.gen(function*() {
        const ref = yield* begun()
        const seen = yield* Deferred.make<void>()
        const watching = yield* ConsumerFilter.changes(ref).pipe(
          Stream.tap(({ version }) => version === 2 ? Deferred.succeed(seen, undefined) : Effect.void),
          Stream.takeUntil(({ version }) => version === 3),
          Stream.runCollect,
          Effect.forkChild
        )
        yield* ConsumerFilter.update(ref, including("a"), ada)
        yield* Deferred.await(seen)
        yield* ConsumerFilter.update(ref, including("b"), ada)
        const versions = (yield* Fiber.join(watching)).map(({ version }) => version)
        assert.deepStrictEqual(versions.slice(-2), [2, 3])
      }))

    it.effect("may be as large as filters are", () =>
      Effect.gen(function*() {
        const ref = yield* begun()
        const ids = Array.from({ length: 7_999 }, (_, i) => `${i}`.padStart(5, "0") + "\u{1f6a3}\"\\".repeat(6)).map((
          id
        ) => id.slice(0, 29))
        yield* ConsumerFilter.update(ref, including(...ids), ada)
        assert.deepStrictEqual(idsOf((yield* ConsumerFilter.get(ref)).filter), ids)
      }))

    it.effect("is not changed by bad input", () =>
      Effect.gen(function*() {
        const ref = yield* begun()
        const refused = (change: (filter: EventFilter.EventFilter) => EventFilter.EventFilter, options: object = {}) =>
          Effect.map(Effect.flip(ConsumerFilter.update(ref, change, { ...ada, ...options })), (error) => {
            assertInvalid(error)
            return error.input
          })
        for (const by of ["", "pipeline", "x".repeat(256), ...impossible]) {
          assert.strictEqual(yield* refused(including("a"), { by }), "by")
        }
        for (const reason of ["x".repeat(2_001), ...impossible]) {
          assert.strictEqual(yield* refused(including("a"), { reason }), "reason")
        }
        assert.strictEqual(yield* refused(including("a"), { history: "later" }), "history")
        assert.strictEqual(yield* refused(including("")), "filter")
        assert.strictEqual(yield* refused(EventFilter.excludeMatching("(")), "filter")
        assert.strictEqual(yield* refused(EventFilter.includeEntityIds({ entityId: "a", from: 3 })), "filter")
        assert.strictEqual(yield* refused(() => ({ excludeTags: "a" }) as any), "filter")
        for (const version of [-1, 1.5, Number.NaN]) {
          assertInvalid(yield* Effect.flip(ConsumerFilter.rollBack(ref, version, ada)))
        }
        assertInvalid(yield* Effect.flip(ConsumerFilter.history(ref, { limit: -1 })))
        assertInvalid(yield* Effect.flip(ConsumerFilter.history(ref, { before: -1 })))
        assert.strictEqual((yield* ConsumerFilter.history(ref)).length, 1)
      }))

    it.effect("is none of a local journal, nor of what was never started", () =>
      Effect.gen(function*() {
        for (const ref of [Source.journal(fresh("local")), freshSource()]) {
          for (
            const refused of [
              ConsumerFilter.update(ref, including("a"), ada),
              ConsumerFilter.rollBack(ref, 1, ada),
              ConsumerFilter.get(ref)
            ]
          ) assert.instanceOf(yield* Effect.flip(refused), ConsumerFilter.FilterNotSupported)
        }
        assert.instanceOf(yield* Effect.flip(ConsumerFilter.get(freshNameOf("p"))), UnknownProjection)
      }))

    it.effect("goes by the name of a projection that reads the stream, too", () =>
      Effect.gen(function*() {
        const { source } = yield* begun()
        const projection = freshNameOf("p")
        yield* revisionOf({ projection, source })
        for (const ref of [projection, { projection }, { projection, source }, { source }]) {
          yield* ConsumerFilter.update(ref, including(freshNameOf("e")), ada)
        }
        assert.strictEqual((yield* ConsumerFilter.get({ source })).version, 5)
      }))
  })

  describe("a change of a filter", () => {
    it.effect("waits for whoever is handling events, and fences all who read the stream, and no others", () =>
      Effect.gen(function*() {
        const { source } = yield* begun()
        const key = { projection: freshNameOf("p"), source }
        const second = { projection: freshNameOf("p"), source }
        const other = { projection: freshNameOf("p"), source: freshSource().source }
        for (const each of [key, second, other]) yield* revisionOf(each)
        const before = yield* Effect.forEach([key, second, other], load)
        const started = yield* Deferred.make<void>()
        const goOn = yield* Deferred.make<void>()
        const handling = yield* transactAs(
          key,
          "j",
          [],
          Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(goOn))
        ).pipe(Effect.forkChild)
        yield* Deferred.await(started)
        const updating = yield* Effect.forkChild(ConsumerFilter.update({ source }, including("a"), ada))
        for (let turns = 0; turns < 10; turns++) yield* Effect.yieldNow
        assert.isUndefined(updating.pollUnsafe(), "it waits")
        yield* Deferred.succeed(goOn, undefined)
        yield* Fiber.join(handling)
        yield* Fiber.join(updating)
        const store = yield* OffsetStore
        const transact = (of: OffsetKey, revision: number) =>
          Effect.exit(store.transact(of, { journal: "j", revision }, [], Effect.void))
        for (const [i, of] of [key, second].entries()) {
          const fenced = yield* Effect.flip(
            store.transact(of, { journal: "j", revision: before[i]!.revision! }, [], Effect.void)
          )
          assert.instanceOf(fenced, Fenced)
          assert.strictEqual(fenced.by, "command")
        }
        assert.strictEqual((yield* transact(other, before[2]!.revision!))._tag, "Success")
        assert.deepStrictEqual((yield* load(key)).offsets, before[0]!.offsets)
        const { commands } = yield* ProjectionManagement
        const told = yield* commands([key, second, other].map(({ projection }) => projection))
        assert.deepStrictEqual([...told.values()].map(({ revision }) => revision).toSorted((a, b) => a - b), [0, 1, 1])
        assert.strictEqual((yield* transact(second, told.get(second.projection)!.revision))._tag, "Success")
      }))
  })
}
