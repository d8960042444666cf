import { assert, describe } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { EntityWay } from "../../EntityWay.ts"
import * as Wait from "../../Wait.ts"
import type { It } from "../kit.ts"
import { AfterPersisting, amountsIn, makeAccount, runningIn } from "./account.ts"

/** @internal */
export const inTransactionTests = (it: It<Journal.Journal | SnapshotStore.SnapshotStore>, way: EntityWay): void => {
  const running = runningIn(way)

  describe("commands in a transaction", () => {
    it.effect("wait for none that is sent outside, which may wait for the transaction", () =>
      Effect.gen(function*() {
        const accounts = yield* running(makeAccount())
        yield* accounts("a").Deposit({ amount: 1 })
        const hasWritten = yield* Deferred.make<void>()
        const outside = yield* Effect.forkChild(
          Effect.andThen(Deferred.await(hasWritten), accounts("a").Deposit({ amount: 100 }))
        )
        const inside = yield* Journal.transaction(Effect.gen(function*() {
          yield* accounts("a").Deposit({ amount: 10 })
          yield* Deferred.succeed(hasWritten, undefined)
          yield* Effect.repeat(Effect.yieldNow, { times: 20 })
          return yield* accounts("a").Deposit({ amount: 10 })
        }))
        assert.strictEqual(inside, 21)
        assert.strictEqual(yield* Fiber.join(outside), 121)
      }))

    it.effect("are all of it or nothing, and each sees what those before have done", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        yield* accounts("a").Deposit({ amount: 10 })
        const transfer = (amount: number) =>
          Journal.transaction(Effect.gen(function*() {
            yield* accounts("b").Deposit({ amount })
            assert.strictEqual(yield* accounts("b").Balance(), amount)
            yield* accounts("a").Withdraw({ amount: amount / 2 })
            return yield* accounts("a").Withdraw({ amount: amount / 2 })
          }))
        assert.deepInclude(yield* Effect.flip(transfer(12)), { _tag: "Insufficient", balance: 4 })
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [10])
        assert.deepStrictEqual(yield* amountsIn(account, "b"), [])
        assert.strictEqual(yield* transfer(4), 6)
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [10, -2, -2])
        assert.deepStrictEqual(yield* amountsIn(account, "b"), [4])
      }))

    it.effect("of several transactions at once are decided one after the other", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        const twice = Journal.transaction(Effect.gen(function*() {
          const before = yield* accounts("a").Balance()
          const first = yield* accounts("a").Deposit({ amount: 1 })
          const second = yield* accounts("a").Deposit({ amount: 1 })
          assert.isAtLeast(first, before + 1)
          assert.strictEqual(second, first + 1, "nobody else comes between")
        })).pipe(
          // after a deadlock, or a lock that was not free in time, the transaction is run again
          Effect.retry({ while: (error) => error.isRetryable })
        )
        yield* Effect.forEach(Array.from({ length: 4 }), () => twice, { concurrency: "unbounded" })
        assert.strictEqual(yield* accounts("a").Balance(), 8)
        assert.strictEqual((yield* amountsIn(account, "a")).length, 8)
      }))

    it.effect("that is rolled back have no effects, no snapshot, and no command id", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.every(1) })
        const ran: Array<number> = []
        const accounts = yield* running(account).pipe(
          Effect.provideService(AfterPersisting, ({ balance }) => Effect.sync(() => ran.push(balance)))
        )
        const touches = Effect.andThen(
          accounts("a").Touch(undefined, { commandId: "one" }),
          accounts("a").Touch(undefined, { commandId: "two" })
        )
        yield* Effect.flip(Journal.transaction(Effect.andThen(touches, Effect.fail("undone"))))
        assert.deepStrictEqual(ran, [])
        // it would be there by now, as that of another entity is
        yield* accounts("b").Deposit({ amount: 1 })
        const has = (id: string) => Effect.map(SnapshotStore.load(account.stateType, id), Option.isSome)
        yield* Wait.until("a snapshot of another entity", has("b"))
        assert.isFalse(yield* has("a"))
        yield* Journal.transaction(Effect.andThen(
          touches,
          Effect.sync(() => assert.deepStrictEqual(ran, [], "not before the commit"))
        ))
        assert.deepStrictEqual(ran, [1, 2])
        yield* Wait.until("its snapshot", has("a"))
        assert.strictEqual(yield* accounts("a").Balance(), 2)
      }))
  })
}
