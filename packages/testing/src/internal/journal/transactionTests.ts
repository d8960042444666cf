import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as Position from "@sluice/core/Position"
import * as SliceRange from "@sluice/core/SliceRange"
import { StorageError } from "@sluice/core/StorageError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type { It } from "../kit.ts"
import { append, assertComplete, drain, eventsOf, fresh, idsOfSlice, number, readAll, textOf, texts } from "../kit.ts"

/** @internal After a deadlock, or a lock that was not free in time, the transaction is run again. */
export const retryBusy = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.retry(effect, { while: (error) => error instanceof StorageError && error.isRetryable })

/** Runs a transaction that ends in one way or another, and checks that it left nothing behind. */
const leavesNothing = <E, R>(
  end: (
    transaction: Effect.Effect<unknown, unknown, Journal.Journal>,
    appended: Deferred.Deferred<void>
  ) => Effect.Effect<unknown, E, R>,
  last: Effect.Effect<unknown, unknown>
) =>
  Effect.gen(function*() {
    const one = fresh("tx")
    const two = fresh("tx")
    const [a, b] = idsOfSlice(one, 99, 2) as [string, string]
    yield* append(one, a, ["before"])
    const appended = yield* Deferred.make<void>()
    yield* end(
      Journal.transaction(Effect.gen(function*() {
        yield* append(one, a, ["never", "never"])
        yield* append(one, b, ["never"])
        yield* append(two, b, ["never"])
        yield* Deferred.succeed(appended, undefined)
        return yield* last
      })),
      appended
    )
    assert.deepStrictEqual(yield* eventsOf(one, a), ["before"])
    assert.deepStrictEqual(yield* eventsOf(one, b), [])
    assert.deepStrictEqual(yield* readAll(two), [])
    // and no hole
    const written = yield* append(one, b, ["after"], "none")
    assert.strictEqual(written.position, 2)
    assert.strictEqual((yield* append(two, b, ["after"])).position, 1)
    assertComplete(yield* readAll(one))
  })

/** @internal */
export const transactionTests = (it: It<Journal.Journal>): void => {
  describe("a transaction", () => {
    it.effect("runs what is for after its commit once it has committed, and never if it is undone", () =>
      Effect.gen(function*() {
        const type = fresh("tx")
        const told: Array<string> = []
        const tell = (what: string) =>
          Journal.afterCommit(
            Effect.map(Effect.orDie(eventsOf(type, "a")), (events) => void told.push(what, ...events))
          )
        yield* Journal.transaction(Effect.gen(function*() {
          yield* tell("first")
          yield* append(type, "a", ["1"])
          yield* Effect.exit(Journal.transaction(Effect.andThen(tell("never"), Effect.fail("undone"))))
          yield* Journal.transaction(tell("second"))
          assert.deepStrictEqual(told, [])
        }))
        assert.deepStrictEqual(told, ["first", "1", "second", "1"])
        yield* Effect.exit(Journal.transaction(Effect.andThen(tell("never"), Effect.fail("undone"))))
        yield* tell("at once")
        assert.deepStrictEqual(told, ["first", "1", "second", "1", "at once", "1"])
      }))

    it.effect("is known to whoever is in it, and to nobody else", () =>
      Effect.gen(function*() {
        const { inTransaction } = yield* Journal.Journal
        const seen = yield* Journal.transaction(Effect.gen(function*() {
          const other = yield* Journal.transaction(inTransaction)
          return [yield* inTransaction, other]
        }))
        assert.deepStrictEqual([yield* inTransaction, ...seen, yield* inTransaction], [false, true, true, false])
      }))

    it.effect("is none any more to a fiber that has outlived it, which reads what came of it", () =>
      Effect.gen(function*() {
        const type = fresh("tx")
        const { inTransaction } = yield* Journal.Journal
        const outcomes: Array<readonly [Effect.Effect<void, string>, ReadonlyArray<string>]> = [
          [Effect.void, ["1"]],
          [Effect.fail("undone"), ["1"]]
        ]
        for (const [outcome, events] of outcomes) {
          const isOver = yield* Deferred.make<void>()
          const started = yield* Deferred.make<
            Fiber.Fiber<readonly [boolean, boolean, ReadonlyArray<string>], unknown>
          >()
          yield* Effect.exit(Journal.transaction(Effect.gen(function*() {
            yield* append(type, "a", ["1"])
            const outlives = Effect.gen(function*() {
              const before = yield* inTransaction
              yield* Deferred.await(isOver)
              return [before, yield* inTransaction, yield* eventsOf(type, "a")] as const
            })
            const fiber = yield* Effect.forkDetach(outlives, { startImmediately: true })
            yield* Deferred.succeed(started, fiber)
            yield* outcome
          })))
          yield* Deferred.succeed(isOver, undefined)
          assert.deepStrictEqual(yield* Fiber.join(yield* Deferred.await(started)), [true, false, events])
        }
      }))

    it.effect("is over for what is for after its commit, too", () =>
      Effect.gen(function*() {
        const isOver = yield* Deferred.make<void>()
        const fiber = yield* Journal.transaction(
          Effect.forkDetach(Effect.andThen(Deferred.await(isOver), Journal.afterCommit(Effect.void)))
        )
        yield* Deferred.succeed(isOver, undefined)
        assert.isTrue(Exit.hasDies(yield* Fiber.await(fiber)))
      }))

    it.effect("appends to several entities of several types, all of it together", () =>
      Effect.gen(function*() {
        const one = fresh("tx")
        const two = fresh("tx")
        // in slices of the same number, but logs of their own
        const [a, b] = idsOfSlice(one, 33, 2) as [string, string]
        const [c] = idsOfSlice(two, 33, 1) as [string]
        yield* append(one, a, ["before"])
        const result = yield* Journal.transaction(Effect.gen(function*() {
          yield* append(one, a, ["1", "2"], number(1))
          yield* append(two, c, ["3"], "none")
          yield* append(one, b, ["4"])
          const written = yield* append(one, a, ["5"])
          assert.deepInclude(written, { sequenceNumber: number(4), position: Position.make(5) })
          return "done"
        }))
        assert.strictEqual(result, "done")
        assert.deepStrictEqual(yield* eventsOf(one, a), ["before", "1", "2", "5"])
        assert.deepStrictEqual(yield* eventsOf(one, b), ["4"])
        assert.deepStrictEqual(yield* eventsOf(two, c), ["3"])
        assertComplete(yield* readAll(one))
        assertComplete(yield* readAll(two))
      }))

    it.effect("that fails leaves nothing, and fails as its effect did", () =>
      leavesNothing(
        (transaction) => Effect.map(Effect.flip(transaction), (error) => assert.strictEqual(error, "no")),
        Effect.fail("no")
      ))

    it.effect("that dies leaves nothing", () =>
      leavesNothing(
        (transaction) =>
          Effect.map(Effect.exit(transaction), (exit) => {
            assert.isTrue(Exit.hasDies(exit))
          }),
        Effect.die(new Error("no"))
      ))

    it.effect("that is interrupted leaves nothing", () =>
      leavesNothing(
        (transaction, appended) =>
          Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(transaction)
            yield* Deferred.await(appended)
            yield* Fiber.interrupt(fiber)
          }),
        Effect.never
      ))

    it.effect("is seen by nobody before it is committed, and then whole", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("tx")
        const [a, b] = idsOfSlice(type, 512, 2) as [string, string]
        yield* append(type, a, ["before"])
        const open = yield* journal.reader(type.name, SliceRange.full, Offset.none)
        assert.deepStrictEqual((yield* drain(open)).map(textOf), ["before"])
        const heads = yield* journal.heads(type.name, SliceRange.full)

        const appended = yield* Deferred.make<void>()
        const commit = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(Journal.transaction(Effect.gen(function*() {
          yield* append(type, a, ["1"])
          yield* append(type, b, ["2"])
          yield* Deferred.succeed(appended, undefined)
          yield* Deferred.await(commit)
        })))
        yield* Deferred.await(appended)
        assert.deepStrictEqual(yield* eventsOf(type, a), ["before"])
        assert.deepStrictEqual(yield* eventsOf(type, b), [])
        assert.deepStrictEqual((yield* readAll(type)).map(textOf), ["before"])
        assert.deepStrictEqual(yield* drain(open), [])
        assert.deepStrictEqual(yield* journal.heads(type.name, SliceRange.full), heads)

        yield* Deferred.succeed(commit, undefined)
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(yield* eventsOf(type, a), ["before", "1"])
        assert.deepStrictEqual((yield* drain(open)).map(textOf), ["1", "2"])
        assert.deepStrictEqual((yield* readAll(type)).map(textOf), ["before", "1", "2"])
      }))

    it.effect("sees its own appends", () =>
      Effect.gen(function*() {
        const type = fresh("tx")
        yield* append(type, "a", ["before"])
        yield* Journal.transaction(Effect.gen(function*() {
          yield* append(type, "a", ["1"])
          yield* append(type, "b", texts(3))
          assert.deepStrictEqual(yield* eventsOf(type, "a"), ["before", "1"])
          assert.deepStrictEqual(yield* eventsOf(type, "b"), ["e1", "e2", "e3"])
          yield* append(type, "a", ["2"], number(2))
          assert.deepStrictEqual(yield* eventsOf(type, "a"), ["before", "1", "2"])
        }))
        assert.deepStrictEqual(yield* eventsOf(type, "a"), ["before", "1", "2"])
      }))

    it.effect("goes on after a conflict in it, and after an event too large", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("tx")
        yield* append(type, "a", ["before"])
        yield* Journal.transaction(Effect.gen(function*() {
          yield* append(type, "a", ["1"])
          const conflict = yield* Effect.flip(append(type, "a", ["never"], number(1)))
          assert.instanceOf(conflict, Journal.SequenceConflict)
          assert.strictEqual(conflict.actual, 2)
          yield* append(type, "a", ["2"])
          const large = yield* Effect.flip(append(type, "a", ["x".repeat(journal.maxEventBytes)]))
          assert.instanceOf(large, Journal.EventTooLarge)
          yield* append(type, "a", ["3"])
        }))
        assert.deepStrictEqual(yield* eventsOf(type, "a"), ["before", "1", "2", "3"])
        assertComplete(yield* readAll(type))
      }))

    it.effect("may append from several fibers", () =>
      Effect.gen(function*() {
        const type = fresh("tx")
        yield* Journal.transaction(
          Effect.forEach(
            Array.from({ length: 20 }, (_, i) => i),
            (i) => append(type, `${i % 5}`, [`${i}a`, `${i}b`]),
            { concurrency: "unbounded" }
          )
        )
        const stored = yield* readAll(type)
        assert.strictEqual(stored.length, 40)
        assertComplete(stored)
      }))

    it.effect("that is over takes no more appends, which would be part of nothing", () =>
      Effect.gen(function*() {
        const type = fresh("tx")
        const over = yield* Latch.make(false)
        const late = Effect.andThen(over.await, append(type, "a", ["late"]))
        const fiber = yield* Journal.transaction(Effect.forkDetach(late))
        yield* over.open
        assert.isTrue(Exit.hasDies(yield* Fiber.await(fiber)))
        assert.deepStrictEqual(yield* readAll(type), [])
      }))

    it.effect("within another rolls back alone", () =>
      Effect.gen(function*() {
        const type = fresh("tx")
        yield* Journal.transaction(Effect.gen(function*() {
          yield* append(type, "a", ["1"])
          const error = yield* Effect.flip(Journal.transaction(Effect.gen(function*() {
            yield* append(type, "a", ["never"])
            yield* append(type, "b", ["never"])
            yield* Journal.transaction(append(type, "c", ["never"]))
            assert.deepStrictEqual(yield* eventsOf(type, "a"), ["1", "never"])
            return yield* Effect.fail("no")
          })))
          assert.strictEqual(error, "no")
          assert.deepStrictEqual(yield* eventsOf(type, "a"), ["1"])
          yield* append(type, "a", ["2"], number(1))
          yield* Journal.transaction(Effect.andThen(append(type, "a", ["3"]), append(type, "d", ["1"])))
          yield* append(type, "a", ["4"])
        }))
        assert.deepStrictEqual(yield* eventsOf(type, "a"), ["1", "2", "3", "4"])
        assert.deepStrictEqual(yield* eventsOf(type, "b"), [])
        assert.deepStrictEqual(yield* eventsOf(type, "c"), [])
        assert.deepStrictEqual(yield* eventsOf(type, "d"), ["1"])
        assertComplete(yield* readAll(type))
      }))

    it.effect("within another rolls back nothing of those that other fibers have within it", () =>
      Effect.gen(function*() {
        const type = fresh("tx")
        const kept = texts(10)
        yield* Journal.transaction(Effect.forEach(
          kept,
          (text, i) =>
            Effect.andThen(
              Effect.ignore(Journal.transaction(Effect.gen(function*() {
                yield* append(type, `failing ${i}`, ["never"])
                for (let turns = 0; turns < 5; turns++) yield* Effect.yieldNow
                return yield* Effect.fail("no")
              }))),
              Journal.transaction(append(type, "kept", [text]))
            ),
          { concurrency: "unbounded" }
        ))
        assert.sameMembers(yield* eventsOf(type, "kept"), [...kept])
        assert.strictEqual((yield* readAll(type)).length, kept.length)
      }))

    it.effect("within another rolls back nothing of what other fibers write beside it", () =>
      Effect.gen(function*() {
        const type = fresh("tx")
        const kept = texts(10)
        yield* Journal.transaction(Effect.gen(function*() {
          yield* append(type, "kept", ["before"])
          const isOpen = yield* Deferred.make<void>()
          const seen = yield* Effect.all([
            Effect.flip(Journal.transaction(Effect.gen(function*() {
              yield* append(type, "never", ["1"])
              yield* Deferred.succeed(isOpen, undefined)
              for (let turns = 0; turns < 20; turns++) yield* Effect.yieldNow
              // also what a fiber of its own writes meanwhile
              const fiber = yield* Effect.forkChild(append(type, "never", ["2"]))
              yield* Journal.transaction(append(type, "never, too", ["3"]))
              yield* Fiber.join(fiber)
              assert.lengthOf(yield* eventsOf(type, "never"), 2)
              return yield* Effect.fail("no")
            }))),
            ...kept.map((text) => Effect.andThen(Deferred.await(isOpen), append(type, "kept", [text]))),
            Effect.andThen(Deferred.await(isOpen), eventsOf(type, "never"))
          ], { concurrency: "unbounded" })
          assert.deepStrictEqual([seen[0], seen.at(-1)], ["no", []])
        }))
        assert.sameMembers(yield* eventsOf(type, "kept"), ["before", ...kept])
        assert.strictEqual((yield* readAll(type)).length, 1 + kept.length)
        assert.strictEqual((yield* append(type, "kept", ["after"])).sequenceNumber, 2 + kept.length)
        assertComplete(yield* readAll(type))
      }))

    it.effect("within another is rolled back with it", () =>
      Effect.gen(function*() {
        const type = fresh("tx")
        yield* Effect.flip(Journal.transaction(Effect.gen(function*() {
          yield* append(type, "a", ["never"])
          yield* Journal.transaction(append(type, "b", ["never"]))
          return yield* Effect.fail("no")
        })))
        assert.deepStrictEqual(yield* readAll(type), [])
        assert.strictEqual((yield* append(type, "b", ["1"])).sequenceNumber, 1)
      }))

    it.effect("comes to an end, also where others take the same logs in another order", () =>
      Effect.gen(function*() {
        const one = fresh("tx")
        const two = fresh("tx")
        const logs = [[one, "a"], [one, "b"], [two, "a"]] as const
        yield* Effect.forEach(
          [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]],
          (order, i) =>
            retryBusy(Journal.transaction(
              Effect.forEach(
                order,
                (log) => Effect.andThen(append(logs[log]![0], logs[log]![1], [`${i}`]), Effect.yieldNow)
              )
            )),
          { concurrency: "unbounded" }
        )
        for (const [type, id] of logs) {
          assert.deepStrictEqual((yield* eventsOf(type, id)).toSorted(), ["0", "1", "2", "3"])
          assertComplete(yield* readAll(type))
        }
        // all three logs have the transactions in one order, as the second waits until the first has committed
        assert.deepStrictEqual(yield* eventsOf(one, "a"), yield* eventsOf(two, "a"))
      }))

    it.effect("belongs to its own entity types only: the same id in another type is another entity", () =>
      Effect.gen(function*() {
        const one = fresh("tx")
        const two = EntityType.make(`${one.name}x`, one)
        yield* Journal.transaction(Effect.andThen(append(one, "a", ["1"], "none"), append(two, "a", ["2"], "none")))
        assert.deepStrictEqual((yield* readAll(one)).map(textOf), ["1"])
        assert.deepStrictEqual((yield* readAll(two)).map(textOf), ["2"])
      }))
  })
}
