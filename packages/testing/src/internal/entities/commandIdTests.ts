import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import * as Decision from "@sluice/entity/Decision"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { EntityWay } from "../../EntityWay.ts"
import * as Wait from "../../Wait.ts"
import { freshNameOf } from "../ids.ts"
import type { It } from "../kit.ts"
import { amountsIn, Deposited, makeAccount, runningIn } from "./account.ts"

/** @internal */
export const commandIdTests = (it: It<Journal.Journal | SnapshotStore.SnapshotStore>, way: EntityWay): void => {
  const running = runningIn(way)

  describe("a command with an id", () => {
    it.effect("is executed once, and answered with the first reply and its receipt each time", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        const first = yield* accounts("a").Exchange.withReceipt({ amount: 5 }, { commandId: "one" })
        yield* accounts("a").Deposit({ amount: 7 }, { commandId: "two" })
        assert.deepStrictEqual(
          yield* accounts("a").Exchange.withReceipt({ amount: 5 }, { commandId: "one" }),
          first
        )
        assert.strictEqual(first.receipt?.count, 2)
        // an id is of one entity
        yield* accounts("b").Deposit({ amount: 7 }, { commandId: "two" })
        // a reply that is nothing
        yield* accounts("a").Touch(undefined, { commandId: "three" })
        assert.isUndefined(yield* accounts("a").Touch(undefined, { commandId: "three" }))
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [5, -5, 7, 1])
        assert.deepStrictEqual(yield* amountsIn(account, "b"), [7])
      }))

    it.effect("is known after a restart, and in another process", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const send = (amount: number, commandId: string) =>
          Effect.scoped(Effect.flatMap(running(account), (_) => _("a").Deposit({ amount }, { commandId })))
        assert.strictEqual(yield* send(5, "one"), 5)
        assert.strictEqual(yield* send(6, "two"), 11)
        assert.strictEqual(yield* send(5, "one"), 5)
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [5, 6])
      }))

    it.effect("is known where a snapshot includes it, and its events are deleted", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.every(2) })
        yield* Effect.scoped(Effect.gen(function*() {
          const accounts = yield* running(account)
          yield* accounts("a").Deposit({ amount: 5 }, { commandId: "one" })
          yield* accounts("a").Deposit({ amount: 6 }, { commandId: "two" })
          yield* Wait.until(
            "the snapshot",
            Effect.map(SnapshotStore.load(account.stateType, "a"), Option.isSome)
          )
        }))
        yield* Journal.deleteEvents(account.entityType, "a")
        yield* Effect.scoped(Effect.gen(function*() {
          const accounts = yield* running(account)
          assert.strictEqual(yield* accounts("a").Deposit({ amount: 5 }, { commandId: "one" }), 5)
          assert.strictEqual(yield* accounts("a").Deposit({ amount: 6 }, { commandId: "two" }), 11)
          assert.strictEqual(yield* accounts("a").Balance(), 11)
        }))
      }))

    it.effect("may be forgotten where somebody else has saved a snapshot, and the entity knows that", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.every(1_000) })
        const forgottenAt = Effect.scoped(
          Effect.flatMap(
            account.behaviour,
            (behaviour) => Effect.map(behaviour.recover("a"), (held) => behaviour.forgottenAt(held))
          )
        )
        const { receipt } = yield* Effect.scoped(Effect.gen(function*() {
          const accounts = yield* running(account)
          yield* accounts("a").Deposit({ amount: 5 }, { commandId: "one" })
          return yield* accounts("a").Deposit.withReceipt({ amount: 6 }, { commandId: "two" })
        }))
        assert.strictEqual(yield* forgottenAt, -Infinity)
        const state = { balance: 11, count: 2 }
        yield* SnapshotStore.save(account.stateType, { id: "a", sequenceNumber: 2, state })
        assert.strictEqual(yield* forgottenAt, receipt?.timestamp)
      }))

    it.effect("is executed once where it comes many times at once", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        const replies = yield* Effect.forEach(
          Array.from({ length: 8 }),
          () => accounts("a").Deposit({ amount: 5 }, { commandId: "one" }),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(replies, Array.from({ length: 8 }, () => 5))
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [5])
      }))

    it.effect("is refused where the id was that of another command, or of another payload", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        yield* accounts("a").Deposit({ amount: 5 }, { commandId: "one" })
        for (
          const wrong of [
            accounts("a").Deposit({ amount: 6 }, { commandId: "one" }),
            accounts("a").Touch(undefined, { commandId: "one" }),
            accounts("a").Balance(undefined, { commandId: "one" })
          ]
        ) {
          const error = yield* Effect.flip(wrong)
          assert.deepInclude(error, { _tag: "InvalidCommand", isUnknown: false })
          assert.include(error.message, "command id was used")
        }
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [5])
      }))

    it.effect("is decided anew where it was rejected, or had no events", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        yield* Effect.flip(accounts("a").Withdraw({ amount: 5 }, { commandId: "one" }))
        assert.strictEqual(yield* accounts("a").Balance(undefined, { commandId: "read" }), 0)
        yield* accounts("a").Deposit({ amount: 5 })
        assert.strictEqual(yield* accounts("a").Balance(undefined, { commandId: "read" }), 5)
        assert.strictEqual(yield* accounts("a").Withdraw({ amount: 5 }, { commandId: "one" }), 0)
      }))

    it.effect("is remembered as long as it is one of the newest", () =>
      Effect.gen(function*() {
        const account = makeAccount({ remembered: 2 })
        const accounts = yield* running(account)
        for (const commandId of ["one", "two", "three", "two"]) {
          yield* accounts("a").Deposit({ amount: 1 }, { commandId })
        }
        assert.strictEqual((yield* amountsIn(account, "a")).length, 3)
        assert.strictEqual(yield* accounts("a").Deposit({ amount: 1 }, { commandId: "one" }), 4)
      }))

    it.effect("was executed, as it says, where its first reply cannot be read any more", () =>
      Effect.gen(function*() {
        const name = freshNameOf("account")
        const type = EntityType.make(name, { event: Deposited })
        const version = <A>(success: Schema.Codec<A, any>, reply: A) =>
          EventSourced.make(type, {
            state: Schema.Int,
            initial: 0,
            commands: [Rpc.make("Deposit", { payload: { amount: Schema.Int }, success })],
            decide: { Deposit: ({ payload }) => Decision.persist([new Deposited(payload)], reply) },
            evolve: (balance: number, { amount }) => balance + amount
          })
        const deposit = <A>(entity: ReturnType<typeof version<A>>) =>
          Effect.flatMap(Layer.build(Layer.fresh(way(entity))), (context) =>
            Effect.flatMap(
              Effect.provideContext(EventSourced.client(entity), context),
              (accounts) => accounts("a").Deposit({ amount: 5 }, { commandId: "one" })
            ))
        assert.strictEqual(yield* deposit(version(Schema.Int, 5)), 5)
        const error = yield* Effect.flip(deposit(version(Schema.Literal("done"), "done")))
        assert.deepInclude(error, { _tag: "InvalidDecision", isUnknown: true, isRetryable: false, wasExecuted: true })
        assert.include(error.message, `${name} "a" has executed "Deposit" before, and cannot give its reply any more`)
        assert.strictEqual(yield* deposit(version(Schema.Int, 5)), 5)
        assert.lengthOf(yield* Stream.runCollect(Journal.read(type, "a")), 1)
      }))

    it.effect("has an id of 1 to 200 bytes of text", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        for (const commandId of ["", "a\0", "a\ud800", "x".repeat(201), "é".repeat(101), 17 as never]) {
          const error = yield* Effect.flip(accounts("a").Deposit({ amount: 1 }, { commandId }))
          assert.deepInclude(error, { _tag: "InvalidCommand" })
          assert.include(error.message, "the command id")
        }
        const longest = "é".repeat(100)
        yield* accounts("a").Deposit({ amount: 1 }, { commandId: longest })
        yield* accounts("a").Deposit({ amount: 1 }, { commandId: longest })
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [1])
      }))
  })
}
