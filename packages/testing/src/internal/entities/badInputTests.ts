import { assert, describe } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import { StorageError } from "@sluice/core/StorageError"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { EntityWay } from "../../EntityWay.ts"
import type { It } from "../kit.ts"
import { amountsIn, type Fault, makeAccount, runnerIn, runningIn } from "./account.ts"

/** What each fault is answered with, and a part of the sentence. */
const answers: ReadonlyArray<readonly [typeof Fault.Type, "DecisionFailed" | "InvalidDecision", string]> = [
  ["throws", "DecisionFailed", "throws: thrown"],
  ["throws in an effect", "DecisionFailed", "dies: thrown"],
  ["dies", "DecisionFailed", "dies: dead"],
  ["interrupts itself", "DecisionFailed", "interrupts itself"],
  ["hangs", "DecisionFailed", "takes longer than 50ms"],
  ["hangs and cannot be interrupted", "DecisionFailed", "takes longer than 50ms"],
  ["gives no decision", "DecisionFailed", "gives no decision"],
  ["gives no array of events", "InvalidDecision", "no array"],
  ["has too many events", "InvalidDecision", "it has 10000 events, more than `maxEvents`, which is 1000"],
  ["has an event of another type", "InvalidDecision", "cannot be encoded"],
  ["has tags that cannot be stored", "InvalidDecision", "tags"],
  ["has a reply that throws", "DecisionFailed", "`reply` throws"],
  ["has a reply of another type", "InvalidDecision", "the reply does not fit its schema"],
  ["reads a reply of another type", "InvalidDecision", "the reply does not fit its schema"],
  ["is rejected with what is not declared", "InvalidDecision", "the error does not fit its schema"],
  ["fails with what is not declared", "InvalidDecision", "the error does not fit its schema"],
  ["has an event that evolve throws at", "DecisionFailed", "`evolve` throws: 666"],
  ["has an event that tags throws at", "DecisionFailed", "`tags` throws: 667"]
]

const error = (reason: StorageError["reason"]) =>
  Effect.fail(new StorageError({ operation: "append", reason, cause: new Error("broken") }))

/** @internal */
export const badInputTests = (it: It<Journal.Journal | SnapshotStore.SnapshotStore>, way: EntityWay): void => {
  const running = runningIn(way)

  /** The account, on a journal that is broken in some way. */
  const broken = (change: (journal: Journal.Journal["Service"]) => Partial<Journal.Journal["Service"]>) => {
    const account = makeAccount()
    return Effect.map(
      Effect.provideServiceEffect(
        running(account),
        Journal.Journal,
        Journal.Journal.useSync((journal) => ({ ...journal, ...change(journal) }))
      ),
      (accounts) => [account, accounts] as const
    )
  }

  describe("bad input, of which nothing is written, and after which the entity goes on:", () => {
    it.effect("a decision that is none", () =>
      Effect.gen(function*() {
        const account = makeAccount({ decideWithin: "50 millis" })
        const accounts = yield* running(account)
        yield* accounts("a").Deposit({ amount: 5 })
        for (const [fault, tag, text] of answers) {
          const error = yield* Effect.flip(accounts("a").Misbehave(fault))
          assert.deepInclude(error, { _tag: tag, id: "a", command: "Misbehave", isUnknown: false }, fault)
          assert.include(error.message, text, fault)
          assert.notInclude(error.message, "undefined", fault)
          assert.strictEqual(yield* accounts("a").Balance(), 5)
        }
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [5])
      }))

    it.effect("a reply that cannot be encoded, with a command id", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        const error = yield* Effect.flip(
          accounts("a").Misbehave("has a reply of another type", { commandId: "one" })
        )
        assert.deepInclude(error, { _tag: "InvalidDecision" })
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [])
      }))

    it.effect("a command that there is not", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const runner = yield* runnerIn(way)(account)
        for (const tag of ["Steal", "toString", "__proto__"]) {
          const error = yield* Effect.flip(runner.send("a", { tag, payload: undefined, commandId: undefined }))
          assert.deepInclude(error, { _tag: "InvalidCommand", command: tag })
        }
        const id = yield* Effect.flip(runner.send("a|b", { tag: "Balance", payload: undefined, commandId: undefined }))
        assert.deepInclude(id, { _tag: "InvalidCommand", id: "a|b" })
      }))

    it.effect("a payload that is not what the command declares", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        for (const payload of [{ amount: 1.5 }, { amount: "1" }, {}, undefined, null, 1]) {
          const error = yield* Effect.flip(accounts("a").Deposit(payload as never))
          assert.deepInclude(error, { _tag: "InvalidCommand", command: "Deposit" })
          assert.include(error.message, "payload")
        }
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [])
      }))

    it.effect("an id that is none", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* running(account)
        for (const id of ["", "a|b", "|", "a\0", "\ud800", "x".repeat(255), undefined as never, {} as never]) {
          const error = yield* Effect.flip(accounts(id).Deposit({ amount: 1 }))
          assert.deepInclude(error, { _tag: "InvalidCommand", isRetryable: false })
          assert.include(error.message, "the entity id")
        }
      }))

    it.effect("a state that cannot be encoded, of which there is no snapshot", () =>
      Effect.gen(function*() {
        const account = makeAccount({
          snapshots: SnapshotPolicy.every(1),
          evolve: ({ balance, count }, { amount }) => ({ balance: balance + amount, count: count + 0.25 })
        })
        const accounts = yield* running(account)
        assert.strictEqual(yield* accounts("a").Deposit({ amount: 1 }), 1)
        assert.strictEqual(yield* accounts("a").Deposit({ amount: 2 }), 3)
        assert.isTrue(Option.isNone(yield* Effect.orDie(SnapshotStore.load(account.stateType, "a"))))
      }))
  })

  describe("a journal that", () => {
    it.effect("takes no append says whether it may have been written", () =>
      Effect.gen(function*() {
        for (
          const [reason, isUnknown] of [
            ["Unavailable", true],
            ["Failed", true],
            ["Busy", false],
            ["Full", false],
            ["Closed", false]
          ] as const
        ) {
          const [account, accounts] = yield* broken(() => ({ append: () => error(reason) }))
          const failure = yield* Effect.flip(accounts("a").Deposit({ amount: 1 }))
          assert.deepInclude(failure, { _tag: "JournalUnavailable", isUnknown, isRetryable: true }, reason)
          assert.include(failure.message, isUnknown ? "the same command id" : "was not executed")
          assert.deepStrictEqual(yield* amountsIn(account, "a"), [])
        }
      }))

    it.effect("cannot be read is unavailable", () =>
      Effect.gen(function*() {
        const [, accounts] = yield* broken(() => ({ entity: () => error("Unavailable") }))
        const failure = yield* Effect.flip(accounts("a").Deposit({ amount: 1 }))
        assert.deepInclude(failure, { _tag: "JournalUnavailable", isUnknown: false })
      }))

    it.effect("loses the answer to an append: the command is repeated, and happens once", () =>
      Effect.gen(function*() {
        let isLost = true
        const [account, accounts] = yield* broken((journal) => ({
          append: (request) =>
            Effect.flatMap(journal.append(request), (receipt) => {
              if (!isLost) return Effect.succeed(receipt)
              isLost = false
              return error("Unavailable")
            })
        }))
        const send = accounts("a").Deposit({ amount: 5 }, { commandId: "one" })
        assert.deepInclude(yield* Effect.flip(send), { _tag: "JournalUnavailable", isUnknown: true })
        assert.strictEqual(yield* send, 5)
        assert.strictEqual(yield* accounts("a").Balance(), 5)
        assert.deepStrictEqual(yield* amountsIn(account, "a"), [5])
      }))

    it.effect("has a limit for the size of events refuses those that are larger, with their reply", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const accounts = yield* Effect.provideServiceEffect(
          running(account),
          Journal.Journal,
          Journal.Journal.useSync((journal) =>
            Journal.make({ ...journal, maxEventBytes: 150, append: (request) => Effect.orDie(journal.append(request)) })
          )
        )
        const commandId = "x".repeat(200)
        const failure = yield* Effect.flip(accounts("a").Deposit({ amount: 1 }, { commandId }))
        assert.deepInclude(failure, { _tag: "InvalidDecision" })
        assert.include(failure.message, "more than the limit")
        assert.strictEqual(yield* accounts("a").Deposit({ amount: 1 }), 1)
      }))
  })
}
