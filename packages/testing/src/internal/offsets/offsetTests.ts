import { assert, describe } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import type { Ahead, Move, OffsetKey } from "@sluice/core/OffsetStore"
import { Fenced, OffsetStore } from "@sluice/core/OffsetStore"
import type { Stores } from "@sluice/core/Projection"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import { Transaction } from "@sluice/core/Transaction"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { freshNameOf } from "../ids.ts"
import { retryBusy } from "../journal/transactionTests.ts"
import type { It } from "../kit.ts"
import { append, assertComplete, eventsOf, fresh, readAll, transactAs } from "../kit.ts"

const identity = "3f0c8a52-6f0e-4b57-9d0b-0d8f7a5f5c11"

const freshKey = (source = "journal:cart"): OffsetKey => ({
  projection: freshNameOf("projection"),
  source
})

type Place = readonly [position: number, timestamp: number]

const move = (slice: number, from: Place | undefined, to: Place): Move => ({
  slice: Slice.make(slice),
  from: from === undefined ? undefined : Offset.make(...from),
  to: Offset.make(...to)
})

const load = (key: OffsetKey, range = SliceRange.full) => Effect.flatMap(OffsetStore, (store) => store.load(key, range))

const transact = <A, E, R>(
  key: OffsetKey,
  moves: ReadonlyArray<Move>,
  effect: Effect.Effect<A, E, R>,
  journal = identity
) => transactAs(key, journal, moves, effect)

const store = (key: OffsetKey, ...moves: ReadonlyArray<Move>) => transact(key, moves, Effect.void)

const assertStored = (key: OffsetKey, expected: Readonly<Record<number, Place>>, range = SliceRange.full) =>
  Effect.map(load(key, range), ({ offsets }) =>
    assert.deepStrictEqual(
      Object.fromEntries([...offsets].map(([slice, { position, timestamp }]) => [slice, [position, timestamp]])),
      Object.fromEntries(Object.entries(expected).map(([slice, place]) => [slice, [...place]]))
    ))

/** Moves and appends, ends in one way or another, and checks that neither has happened. */
const leavesNothing = <E, R>(
  end: (
    transaction: Effect.Effect<unknown, unknown, Journal.Journal | Stores>,
    started: Deferred.Deferred<void>
  ) => Effect.Effect<unknown, E, R>,
  last: Effect.Effect<unknown, unknown>
) =>
  Effect.gen(function*() {
    const key = freshKey()
    const type = fresh("offsets")
    yield* store(key, move(4, undefined, [1, 1]))
    yield* append(type, "a", ["before"])
    const started = yield* Deferred.make<void>()
    yield* end(
      transact(
        key,
        [move(4, [1, 1], [2, 2]), move(5, undefined, [1, 1])],
        Effect.gen(function*() {
          yield* append(type, "a", ["never"])
          yield* Deferred.succeed(started, undefined)
          return yield* last
        })
      ),
      started
    )
    yield* assertStored(key, { 4: [1, 1] })
    assert.deepStrictEqual(yield* eventsOf(type, "a"), ["before"])
    yield* transact(key, [move(4, [1, 1], [2, 2])], append(type, "a", ["after"]))
    yield* assertStored(key, { 4: [2, 2] })
    assert.deepStrictEqual(yield* eventsOf(type, "a"), ["before", "after"])
    assertComplete(yield* readAll(type))
  })

/** @internal */
export const offsetTests = (it: It<Journal.Journal | Stores>): void => {
  describe("loading", () => {
    it.effect("finds nothing where nothing was stored", () =>
      Effect.gen(function*() {
        const { journal, offsets } = yield* load(freshKey())
        assert.isUndefined(journal)
        assert.strictEqual(offsets.size, 0)
      }))

    it.effect("finds what was stored in the range, and the journal that it was taken in", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* store(
          key,
          move(0, undefined, [1, 1000]),
          move(511, undefined, [7, 2000]),
          move(1023, undefined, [3, 1500])
        )
        yield* assertStored(key, { 0: [1, 1000], 511: [7, 2000], 1023: [3, 1500] })
        yield* assertStored(key, { 0: [1, 1000], 511: [7, 2000] }, SliceRange.make(0, 511))
        yield* assertStored(key, { 1023: [3, 1500] }, SliceRange.make(512, 1023))
        yield* assertStored(key, { 511: [7, 2000] }, SliceRange.make(511, 511))
        assert.strictEqual((yield* load(key)).journal, identity)
        const between = yield* load(key, SliceRange.make(1, 510))
        assert.isUndefined(between.journal)
        assert.strictEqual(between.offsets.size, 0)
      }))

    it.effect("finds what was moved last", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* store(key, move(5, undefined, [1, 10]))
        yield* store(key, move(5, [1, 10], [2, 11]), move(6, undefined, [1, 12]))
        yield* store(key, move(5, [2, 11], [40, 99]))
        yield* assertStored(key, { 5: [40, 99], 6: [1, 12] })
      }))

    it.effect("finds numbers of any size as they were", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const places: ReadonlyArray<Place> = [
          [2 ** 31, 1_700_000_000_000_000],
          [2 ** 32 + 1, 2 ** 52 + 1],
          [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]
        ]
        for (const [i, place] of places.entries()) {
          yield* store(key, move(3, i === 0 ? undefined : places[i - 1], place))
          yield* assertStored(key, { 3: place })
        }
      }))

    it.effect("finds all slices, moved at once", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const slices = Array.from({ length: 1024 }, (_, i) => i)
        yield* store(key, ...slices.map((slice) => move(slice, undefined, [slice + 1, 5000 + slice])))
        yield* store(key, ...slices.map((slice) => move(slice, [slice + 1, 5000 + slice], [slice + 2, 9000 + slice])))
        yield* assertStored(key, Object.fromEntries(slices.map((slice) => [slice, [slice + 2, 9000 + slice]])))
      }))

    it.effect("keeps projections and sources apart", () =>
      Effect.gen(function*() {
        const { projection } = freshKey()
        const projections = [
          projection,
          `${projection} `,
          projection.toUpperCase(),
          `${projection}|x`,
          `${projection}'s "own"`,
          `${projection} é`,
          `${projection} e\u0301`,
          `${projection}😀`.padEnd(255, "ü")
        ]
        const sources = ["journal:cart", "journal:Cart", "journal:cart ", "x|journal:cart", "carts@host:8101/ü😀"]
        const keys = projections.flatMap((projection) => sources.map((source) => ({ projection, source })))
        for (const [i, key] of keys.entries()) {
          yield* transact(key, [move(9, undefined, [i + 1, i + 1])], Effect.void, `journal-${i}`)
        }
        for (const [i, key] of keys.entries()) {
          yield* assertStored(key, { 9: [i + 1, i + 1] })
          assert.strictEqual((yield* load(key)).journal, `journal-${i}`)
        }
      }))

    it.effect("finds what other ranges of slices stored", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const slices = Array.from({ length: 64 }, (_, i) => i * 16 + 3)
        let at = 0
        // from run to run there are more workers, or fewer
        for (const workers of [1, 4, 2, 8, 3]) {
          for (const range of SliceRange.split(workers)) {
            const { offsets } = yield* load(key, range)
            const own = slices.filter((slice) => SliceRange.contains(range, Slice.make(slice)))
            assert.strictEqual(offsets.size, at === 0 ? 0 : own.length)
            const moves = own.map((slice): Move => ({
              slice: Slice.make(slice),
              from: offsets.get(Slice.make(slice)),
              to: Offset.make(at + 1, at + 1)
            }))
            yield* transact(key, moves, Effect.void)
          }
          at++
          yield* assertStored(key, Object.fromEntries(slices.map((slice) => [slice, [at, at]])))
        }
      }))
  })

  describe("moving", () => {
    it.effect("answers as the effect does", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const answer = yield* transact(key, [move(1, undefined, [1, 1])], Effect.succeed({ some: "answer" }))
        assert.deepStrictEqual(answer, { some: "answer" })
        const error = yield* Effect.flip(transact(key, [move(1, [1, 1], [2, 2])], Effect.fail("no")))
        assert.strictEqual(error, "no")
      }))

    it.effect("gives the effect a transaction to write in", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const dialect = yield* transact(
          key,
          [move(1, undefined, [1, 1])],
          Effect.map(Transaction, ({ dialect }) => dialect)
        )
        assert.isString(dialect)
      }))

    it.effect("moves nothing, and runs the effect in a transaction all the same, when there are no moves", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const type = fresh("offsets")
        yield* transact(key, [], append(type, "a", ["1"]))
        yield* Effect.flip(transact(key, [], Effect.andThen(append(type, "a", ["never"]), Effect.fail("no"))))
        assert.deepStrictEqual(yield* eventsOf(type, "a"), ["1"])
        yield* assertStored(key, {})
      }))

    const stored = { 1: [5, 50], 2: [6, 60] } as const
    const cases: ReadonlyArray<readonly [what: string, slice: number, from: Place | undefined, by: Fenced["by"]]> = [
      ["the position is another", 2, [5, 60], "worker"],
      ["the position is another, behind", 2, [7, 60], "database"],
      ["the timestamp is another", 2, [6, 61], "worker"],
      ["there is an offset where none was expected", 2, undefined, "worker"],
      ["there is none where one was expected", 3, [1, 10], "database"]
    ]
    for (const [what, slice, from, by] of cases) {
      it.effect(`is fenced when ${what}: nothing moves, and the effect does not run`, () =>
        Effect.gen(function*() {
          const key = freshKey("journal:fenced")
          yield* store(key, move(1, undefined, stored[1]), move(2, undefined, stored[2]))
          let runs = 0
          const moves = [move(1, stored[1], [100, 1000]), move(slice, from, [100, 1000]), move(900, undefined, [1, 1])]
          const error = yield* Effect.flip(transact(key, moves, Effect.sync(() => runs++)))
          assert.instanceOf(error, Fenced)
          assert.deepInclude(error, { ...key, slice: Slice.make(slice), by })
          assert.include(error.message, key.projection)
          assert.strictEqual(runs, 0)
          yield* assertStored(key, stored)
          // and whoever is right goes on
          yield* store(key, move(1, stored[1], [7, 70]))
          yield* assertStored(key, { ...stored, 1: [7, 70] })
        }))
    }

    it.effect("is told what comes next, which may come, or something else, or nothing", () =>
      Effect.gen(function*() {
        const key = freshKey()
        let told: Move | undefined
        const ahead: Ahead = { next: () => told === undefined ? undefined : [told], abandon: Effect.void }
        /** Moves, and tells what is to come next. */
        const go = (now: Move, next: Move | undefined, effect: Effect.Effect<void, string> = Effect.void) =>
          Effect.suspend(() => {
            told = next
            return transactAs(key, identity, [now], effect, ahead)
          })
        yield* go(move(1, undefined, [1, 1]), move(1, [1, 1], [2, 2]))
        // it has not come yet
        yield* assertStored(key, { 1: [1, 1] })
        yield* go(move(1, [1, 1], [2, 2]), move(1, [2, 2], [3, 3]))
        yield* assertStored(key, { 1: [2, 2] })
        // it goes further than it was told
        yield* go(move(1, [2, 2], [4, 4]), move(1, [4, 4], [5, 5]))
        yield* assertStored(key, { 1: [4, 4] })
        // and is undone
        assert.strictEqual(
          yield* Effect.flip(go(move(1, [4, 4], [5, 5]), move(1, [5, 5], [6, 6]), Effect.fail("no"))),
          "no"
        )
        yield* assertStored(key, { 1: [4, 4] })
        // what was told is based on an offset that there is not
        yield* go(move(1, [4, 4], [5, 5]), move(1, [7, 7], [8, 8]))
        assert.instanceOf(yield* Effect.flip(go(move(1, [7, 7], [8, 8]), undefined)), Fenced)
        yield* assertStored(key, { 1: [5, 5] })
        // it never comes, and keeps nobody from moving it
        yield* go(move(1, [5, 5], [6, 6]), move(1, [6, 6], [7, 7]))
        yield* ahead.abandon
        yield* store(key, move(1, [6, 6], [7, 7]))
        yield* assertStored(key, { 1: [7, 7] })
      }))

    it.effect("lets exactly one of those that move from the same offset at the same time", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const type = fresh("offsets")
        for (let round = 0; round < 5; round++) {
          const from = (slice: number): Place | undefined => round === 0 ? undefined : [round, slice]
          const results = yield* Effect.forEach(
            Array.from({ length: 8 }, (_, i) => i),
            (i) =>
              Effect.result(retryBusy(transact(
                key,
                [move(7, from(7), [round + 1, 7]), move(8, from(8), [round + 1, 8])],
                append(type, "a", [`${round} ${i}`])
              ))),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(results.filter(Result.isSuccess).length, 1)
          for (const result of results) if (Result.isFailure(result)) assert.instanceOf(result.failure, Fenced)
        }
        assert.strictEqual((yield* eventsOf(type, "a")).length, 5)
        yield* assertStored(key, { 7: [5, 7], 8: [5, 8] })
      }))
  })

  describe("the effect of a move", () => {
    it.effect("rolls the move back when it fails", () => leavesNothing(Effect.flip, Effect.fail("no")))

    it.effect("rolls the move back when it dies", () =>
      leavesNothing(
        (transaction) => Effect.map(Effect.exit(transaction), (exit) => assert.isTrue(Exit.hasDies(exit))),
        Effect.die(new Error("no"))
      ))

    it.effect("rolls the move back when it is interrupted", () =>
      leavesNothing(
        (transaction, started) =>
          Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(transaction)
            yield* Deferred.await(started)
            yield* Fiber.interrupt(fiber)
          }),
        Effect.never
      ))

    it.effect("rolls the move back with a transaction around it", () =>
      leavesNothing(
        (transaction) => Effect.flip(Journal.transaction(Effect.andThen(transaction, Effect.fail("no")))),
        Effect.void
      ))

    it.effect("rolls the move back alone when a transaction around it goes on", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const type = fresh("offsets")
        yield* store(key, move(4, undefined, [1, 1]))
        yield* Journal.transaction(Effect.gen(function*() {
          yield* append(type, "a", ["1"])
          const never = Effect.andThen(append(type, "a", ["never"]), Effect.fail("no"))
          yield* Effect.flip(transact(key, [move(4, [1, 1], [2, 2]), move(5, undefined, [1, 1])], never))
          yield* transact(key, [move(4, [1, 1], [3, 3])], append(type, "a", ["2"]))
        }))
        yield* assertStored(key, { 4: [3, 3] })
        assert.deepStrictEqual(yield* eventsOf(type, "a"), ["1", "2"])
      }))

    it.effect("may fail in a part of its own, and go on", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const type = fresh("offsets")
        yield* transact(
          key,
          [move(4, undefined, [1, 1])],
          Effect.gen(function*() {
            yield* append(type, "a", ["1"])
            yield* Effect.flip(append(type, "a", ["never"], "none"))
            yield* Effect.flip(Journal.transaction(Effect.andThen(append(type, "a", ["never"]), Effect.fail("no"))))
            yield* append(type, "a", ["2"])
          })
        )
        yield* assertStored(key, { 4: [1, 1] })
        assert.deepStrictEqual(yield* eventsOf(type, "a"), ["1", "2"])
      }))
  })
}
