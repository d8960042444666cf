import { assert, describe } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { EntityWay } from "../../EntityWay.ts"
import type { It } from "../kit.ts"
import { AfterPersisting, amountsIn, eventsIn, Insufficient, makeAccount, runningIn } from "./account.ts"

/** @internal */
export const commandTests = (it: It<Journal.Journal | SnapshotStore>, way: EntityWay): void => {
  const running = runningIn(way)

  describe("a command", () => {
    it.effect("persists events with their tags, and is answered from the state after them", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        assert.strictEqual(yield* accounts("a").Deposit({ amount: 60 }), 60)
        assert.strictEqual(yield* accounts("a").Deposit({ amount: 60 }), 120)
        assert.strictEqual(yield* accounts("b").Deposit({ amount: 1 }), 1)
        assert.strictEqual(yield* accounts("a").Withdraw({ amount: 40 }), 80)
        assert.deepStrictEqual(yield* accounts("a").Exchange({ amount: 30 }), { balance: 80 })
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [60, 60, -40, 30, -30])
        const tags = (yield* eventsIn(account, "a")).map(({ tags }) => tags)
        assert.deepStrictEqual(tags, [[], ["rich"], [], ["rich"], []])
      }))

    it.effect("that only reads appends nothing", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        assert.strictEqual(yield* accounts("a").Balance(), 0)
        yield* accounts("a").Deposit({ amount: 5 })
        assert.deepStrictEqual(yield* accounts("a").Balance.withReceipt(), { reply: 5, receipt: undefined })
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [5])
      }))

    it.effect("that is rejected appends nothing", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        yield* accounts("a").Deposit({ amount: 5 })
        const error = yield* Effect.flip(accounts("a").Withdraw({ amount: 6 }))
        assert.deepStrictEqual(error, new Insufficient({ balance: 5 }))
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [5])
      }))

    it.effect("says where its events stand", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        yield* accounts("a").Deposit({ amount: 5 })
        const { receipt, reply } = yield* accounts("a").Exchange.withReceipt({ amount: 3 })
        assert.deepStrictEqual(reply, { balance: 5 })
        const events = yield* eventsIn(account, "a")
        const { persistenceId, position, sequenceNumber, slice, timestamp } = events[2]!
        const { identity } = yield* Journal.Journal
        assert.deepStrictEqual(receipt, {
          journal: identity,
          log: "events",
          persistenceId,
          slice,
          sequenceNumber,
          position: position!,
          timestamp,
          count: 2
        })
      }))

    it.effect("runs effects after persisting once its events are there, and before it is answered", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const seen: Array<unknown> = []
        const accounts = yield* running(account).pipe(
          Effect.provideService(
            AfterPersisting,
            (state, receipt) =>
              Effect.sync(() =>
                seen.push(state.balance, (receipt as { readonly sequenceNumber: number }).sequenceNumber)
              )
          )
        )
        yield* accounts("a").Touch()
        yield* accounts("a").Touch()
        assert.deepStrictEqual(seen, [1, 1, 2, 2])
      }))

    it.effect("has succeeded also where an effect after persisting fails, dies or hangs", () =>
      Effect.gen(function*() {
        const faults: Array<Effect.Effect<void, unknown>> = [
          Effect.fail("no"),
          Effect.die("dead"),
          Effect.never,
          Effect.uninterruptible(Effect.never),
          Effect.interrupt
        ]
        const account = makeAccount({ decideWithin: "50 millis" })
        const accounts = yield* running(account).pipe(
          Effect.provideService(AfterPersisting, () => faults.shift() ?? Effect.sync(() => assert.fail("thrown")))
        )
        for (let i = 0; i < 6; i++) yield* accounts("a").Touch()
        assert.strictEqual((yield* amountsIn(account, "a")).length, 6)
        assert.strictEqual(yield* accounts("a").Balance(), 6)
      }))

    it.effect("whose caller is interrupted leaves all of its events or none, and nothing that is in the way of others", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        for (let i = 0; i < 60; i++) {
          const fiber = yield* Effect.forkChild(accounts("a").Exchange({ amount: i }))
          // at another step each time
          for (let turn = 0; turn < i; turn++) yield* Effect.yieldNow
          if (i % 3 === 0) yield* Effect.sleep(i / 20)
          yield* Fiber.interrupt(fiber)
        }
        yield* accounts("a").Deposit({ amount: 7 })
        assert.strictEqual(yield* accounts("a").Balance(), 7)
        const amounts = yield* amountsIn(account, "a")
        assert.strictEqual(amounts.pop(), 7)
        assert.strictEqual(amounts.length % 2, 0)
        for (let i = 0; i < amounts.length; i += 2) assert.strictEqual(amounts[i]! + amounts[i + 1]!, 0)
      }))
  })
}
