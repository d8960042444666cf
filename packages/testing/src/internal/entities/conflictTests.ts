import { assert, describe } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type { EntityWay } from "../../EntityWay.ts"
import type { It } from "../kit.ts"
import { amountsIn, Deposited, eventsIn, makeAccount, runningIn } from "./account.ts"

/** @internal */
export const conflictTests = (it: It<Journal.Journal | SnapshotStore>, way: EntityWay): void => {
  const running = runningIn(way)

  describe("many that write to one entity at once", () => {
    it.effect("are all executed, and none of them fails with a conflict", () =>
      Effect.gen(function*() {
        const account = makeAccount({ deposit: Effect.yieldNow })
        const accounts = yield* running(account)
        const replies = yield* Effect.forEach(
          Array.from({ length: 64 }),
          () => Effect.replicateEffect(accounts("a").Deposit({ amount: 1 }), 3),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          replies.flat().toSorted((a, b) => a - b),
          Array.from({ length: 192 }, (_, n) => n + 1)
        )
        assert.lengthOf(yield* eventsIn(account, "a"), 192)
      }))
  })

  describe("two that write to one entity", () => {
    it.effect("decide again where the other came first", () =>
      Effect.gen(function*() {
        let others = 2
        const account = makeAccount({
          deposit: Effect.suspend(() =>
            others-- > 0
              ? Effect.orDie(Effect.asVoid(Journal.append(account.entityType, {
                id: "a",
                events: [new Deposited({ amount: 10 })]
              }))).pipe(Effect.provideService(Journal.Journal, journal))
              : Effect.void
          )
        })
        const journal = yield* Journal.Journal
        const accounts = yield* running(account)
        assert.strictEqual(yield* accounts("a").Deposit({ amount: 1 }), 21)
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [10, 10, 1])
      }))

    it.effect("give up where others come first each time, and nothing was written", () =>
      Effect.gen(function*() {
        const account = makeAccount({
          deposit: Effect.suspend(() =>
            Effect.orDie(Effect.asVoid(Journal.append(account.entityType, {
              id: "a",
              events: [new Deposited({ amount: 10 })]
            }))).pipe(Effect.provideService(Journal.Journal, journal))
          )
        })
        const journal = yield* Journal.Journal
        const accounts = yield* running(account)
        const error = yield* Effect.flip(accounts("a").Deposit({ amount: 1 }))
        assert.strictEqual(error._tag, "EntityConflict")
        const amounts = yield* amountsIn(account, "a")
        if (error._tag === "EntityConflict") assert.strictEqual(amounts.length, error.attempts)
        assert.isTrue(amounts.every((amount) => amount === 10))
      }))

    it.effect("reject nothing that is valid by what the other has written, and no repetition of what it has executed", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const [one, other] = [yield* running(account), yield* running(account)]
        yield* other("a").Deposit({ amount: 1 })
        yield* one("a").Deposit({ amount: 10 })
        const send = { amount: 11 }
        assert.strictEqual(yield* one("a").Withdraw(send, { commandId: "one" }), 0)
        assert.strictEqual(yield* other("a").Withdraw(send, { commandId: "one" }), 0)
        yield* one("a").Deposit({ amount: 50 })
        assert.strictEqual(yield* other("a").Withdraw({ amount: 50 }), 0)
        yield* one("a").Deposit({ amount: 7 })
        assert.deepInclude(yield* Effect.flip(other("a").Withdraw({ amount: 8 })), { balance: 7 })
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [1, 10, -11, 50, -50, 7])
      }))

    it.effect("take no state that is out of date for a bug of the entity", () =>
      Effect.gen(function*() {
        const account = makeAccount({
          // whoever deposits 7 has seen that there is something
          evolve: ({ balance, count }, { amount }) => {
            if (amount === 7 && balance === 0) throw new Error("there is nothing")
            return { balance: balance + amount, count: count + 1 }
          }
        })
        const [one, other] = [yield* running(account), yield* running(account)]
        assert.strictEqual(yield* other("a").Balance(), 0)
        // that would be one, if it had stayed so
        assert.deepInclude(yield* Effect.flip(other("a").Deposit({ amount: 7 })), { _tag: "DecisionFailed" })
        yield* one("a").Deposit({ amount: 1 })
        assert.strictEqual(yield* one("a").Deposit({ amount: 7 }, { commandId: "one" }), 8)
        assert.strictEqual(yield* other("a").Deposit({ amount: 7 }, { commandId: "one" }), 8)
        assert.strictEqual(yield* other("b").Balance(), 0)
        yield* one("b").Deposit({ amount: 1 })
        assert.strictEqual(yield* other("b").Deposit({ amount: 7 }), 8)
      }))

    it.effect("lose no command that was acknowledged, and execute none twice", () =>
      Effect.gen(function*() {
        for (let round = 0; round < 4; round++) {
          // others come in between where one decides
          const deposit = Effect.flatMap(Random.nextIntBetween(0, 5), (times) =>
            Effect.repeat(Effect.yieldNow, { times }))
          const account = makeAccount({ snapshots: SnapshotPolicy.every(5), deposit: Effect.asVoid(deposit) })
          const instances = [yield* running(account), yield* running(account)]
          const acknowledged = new Map<string, number>()
          // each of them sends commands of its own, and repeats some of its own and of the other's, in an order of its own
          yield* Effect.forEach(instances, (accounts, i) =>
            Effect.forEach(Array.from({ length: 3 }), () =>
              Effect.gen(function*() {
                for (let n = 0; n < 6; n++) {
                  const amount = yield* Random.nextIntBetween(1, 5)
                  const id = ["a", "b"][yield* Random.nextIntBetween(0, 1)]!
                  // with a few ids, so that they often meet
                  const commandId = `${id}-${amount}-${(yield* Random.nextIntBetween(0, 3)) + (i === 0 ? 0 : 2)}`
                  if ((yield* Random.next) < 0.3) {
                    yield* Effect.sleep(1)
                  }
                  const exit = yield* Effect.exit(accounts(id).Deposit({ amount }, { commandId }))
                  if (Exit.isSuccess(exit)) {
                    const before = acknowledged.get(commandId) ?? exit.value
                    assert.strictEqual(exit.value, before, "a repetition has the first reply")
                    acknowledged.set(commandId, exit.value)
                  } else assert.include(JSON.stringify(exit.cause), "EntityConflict")
                }
              }), { concurrency: "unbounded" }), { concurrency: "unbounded" })
          let found = 0
          for (const id of ["a", "b"]) {
            let balance = 0
            const seen = new Set<string>()
            for (const { event, metadata } of yield* eventsIn(account, id)) {
              balance += event.amount
              const [commandId] = JSON.parse(metadata["sluice.command"]!) as [string]
              assert.isFalse(seen.has(commandId), "no command is executed twice")
              seen.add(commandId)
              assert.strictEqual(acknowledged.get(commandId), balance, "the reply is that of the state after it")
              found++
            }
            // a writer may not know of the other until it writes itself
            for (const accounts of [...instances, yield* running(account)]) {
              assert.strictEqual(yield* accounts(id).Deposit({ amount: 1 }), ++balance)
            }
          }
          assert.strictEqual(found, acknowledged.size, "no command that was acknowledged is lost")
        }
      }))
  })
}
