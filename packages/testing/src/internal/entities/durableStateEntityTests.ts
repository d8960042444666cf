import { assert, describe } from "@effect/vitest"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import type * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Receipt from "@sluice/core/Receipt"
import * as StateType from "@sluice/core/StateType"
import * as StorageError from "@sluice/core/StorageError"
import * as Decision from "@sluice/entity/Decision"
import * as DurableState from "@sluice/entity/DurableState"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type { DurableStateWay } from "../../EntityWay.ts"
import { freshNameOf } from "../ids.ts"
import type { It } from "../kit.ts"
import { AfterPersisting, eventsIn, Fault, makeCounter, runnerIn, runningIn, State } from "./counter.ts"

const stored = (counter: ReturnType<typeof makeCounter>, id: string) =>
  Effect.map(
    DurableStateStore.get(counter.stateType, id),
    Option.match({
      onNone: () => undefined,
      onSome: ({ revision, state, tags }) => [revision as number, state.count, tags] as const
    })
  )

/** Its change events are of another type. */
const misdefined = () =>
  DurableState.make(StateType.make("one", { state: State }), {
    initial: { count: 0, note: "" },
    commands: [],
    decide: {},
    changeEvent: [EntityType.make("two" as string as "one", { codec: EventCodec.string }), () => "changed"]
  })

/** @internal */
export const durableStateEntityTests = (
  it: It<Journal.Journal | DurableStateStore.DurableStateStore>,
  way: DurableStateWay
): void => {
  const running = runningIn(way)

  describe("a durable state", () => {
    it.effect("is replaced by what a command decides, with its tags, a revision each time, and a change event", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const counters = yield* running(counter)
        assert.strictEqual(yield* counters("a").Count(), 0)
        assert.isUndefined(yield* stored(counter, "a"))
        assert.strictEqual(yield* counters("a").Add({ amount: 3 }), 3)
        const { receipt, reply } = yield* counters("a").AddSlowly.withReceipt({ amount: 9 })
        assert.strictEqual(reply, 12)
        assert.deepStrictEqual(receipt, Option.getOrThrow(yield* DurableStateStore.receipt(counter.stateType, "a")))
        assert.strictEqual(yield* counters("a").Count(), 12)
        assert.strictEqual(yield* counters("b").Count(), 0)
        assert.deepStrictEqual(yield* stored(counter, "a"), [2, 12, ["large"]])
        assert.deepStrictEqual(yield* eventsIn(counter, "a"), [[0, 3, "Add"], [3, 12, "AddSlowly"]])
      }))

    it.effect("is left as it is by a rejection, and by what only reads", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const counters = yield* running(counter)
        yield* counters("a").Add({ amount: 3 })
        const error = yield* Effect.flip(counters("a").Add({ amount: -4 }))
        assert.deepInclude(error, { _tag: "TooLow", count: 3 })
        const { receipt, reply } = yield* counters("a").Count.withReceipt()
        assert.deepStrictEqual([receipt, reply], [undefined, 3])
        assert.deepStrictEqual(yield* stored(counter, "a"), [1, 3, []])
        assert.deepStrictEqual(yield* eventsIn(counter, "a"), [[0, 3, "Add"]])
      }))

    it.effect("is as it was at first once it is removed, with the tags that it had, and its revisions count on", () =>
      Effect.gen(function*() {
        const counter = makeCounter({ initial: (id) => ({ count: id.length, note: "" }) })
        const counters = yield* running(counter)
        assert.strictEqual(yield* counters("abc").Add({ amount: 20 }), 23)
        assert.strictEqual(yield* counters("abc").Remove(), 23)
        assert.isUndefined(yield* stored(counter, "abc"))
        const store = yield* DurableStateStore.DurableStateStore
        const { revision, tags } = Option.getOrThrow(
          yield* store.get(PersistenceId.make(counter.name, "abc"))
        )
        assert.deepStrictEqual([revision as number, tags], [2, ["large"]])
        assert.strictEqual(yield* counters("abc").Count(), 3)
        // what is not there is not removed
        const { receipt, reply } = yield* counters("abc").Remove.withReceipt()
        assert.deepStrictEqual([receipt, reply], [undefined, 3])
        assert.strictEqual(yield* counters("abc").Add({ amount: 1 }), 4)
        assert.deepStrictEqual(yield* stored(counter, "abc"), [3, 4, []])
        assert.deepStrictEqual(yield* eventsIn(counter, "abc"), [
          [3, 23, "Add"],
          [23, undefined, "Remove"],
          [3, 4, "Add"]
        ])
      }))

    it.effect("runs what is for after persisting, with the state and the receipt, and succeeds if that fails", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const calls: Array<readonly [number, unknown]> = []
        yield* Effect.gen(function*() {
          const counters = yield* running(counter)
          yield* counters("a").Add({ amount: 3 })
          const { receipt } = yield* counters("a").Touch.withReceipt()
          assert.deepStrictEqual(calls, [[3, receipt]])
          yield* counters("a").Touch()
        }).pipe(
          Effect.provideService(
            AfterPersisting,
            ({ count }, receipt) =>
              Effect.suspend(() => calls.push([count, receipt]) === 1 ? Effect.void : Effect.fail("no"))
          )
        )
        assert.strictEqual(calls.length, 2)
        // no change event where there is none
        assert.deepStrictEqual(yield* eventsIn(counter, "a"), [[0, 3, "Add"]])
      }))

    it.effect("is read in its older version, and written in the newest", () =>
      Effect.gen(function*() {
        const name = freshNameOf("counter")
        const old = StateType.make(name, { state: Schema.Struct({ count: Schema.Int }) })
        yield* DurableStateStore.upsert(old, { id: "a", expected: 0, state: { count: 7 } })
        const counter = makeCounter({
          name,
          state: Schema.Struct({
            count: Schema.Int,
            note: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("")))
          })
        })
        const counters = yield* running(counter)
        assert.strictEqual(yield* counters("a").Add({ amount: 1 }), 8)
        assert.deepStrictEqual(yield* stored(makeCounter({ name }), "a"), [2, 8, []])
      }))
  })

  describe("a command of a durable state with an id", () => {
    it.effect("is executed once, and answered with the first reply and its receipt each time", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const counters = yield* running(counter)
        const first = yield* counters("a").Add.withReceipt({ amount: 5 }, { commandId: "one" })
        const add = counters("a").Add.withReceipt({ amount: 5 }, { commandId: "one" })
        assert.deepStrictEqual(yield* add, first)
        yield* counters("a").Add({ amount: 7 }, { commandId: "two" })
        yield* counters("a").Touch()
        assert.deepStrictEqual(yield* add, first)
        yield* counters("b").Add({ amount: 7 }, { commandId: "two" })
        assert.deepStrictEqual(yield* stored(counter, "a"), [3, 12, ["large"]])
        assert.deepStrictEqual(yield* stored(counter, "b"), [1, 7, []])
        assert.lengthOf(yield* eventsIn(counter, "a"), 2)
      }))

    it.effect("is known after a restart, and in another process", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const send = (amount: number, commandId: string) =>
          Effect.scoped(
            Effect.flatMap(running(counter), (_) => _("a").Add.withReceipt({ amount }, { commandId }))
          )
        const one = yield* send(5, "one")
        // as the newest one, whose place the row says
        assert.deepStrictEqual(yield* send(5, "one"), one)
        const two = yield* send(6, "two")
        assert.deepStrictEqual(yield* send(5, "one"), one)
        assert.deepStrictEqual(yield* send(6, "two"), two)
        assert.deepStrictEqual(yield* stored(counter, "a"), [2, 11, ["large"]])
      }))

    it.effect("is known after the state was removed, and made again", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const restarted = <A, E>(
          use: (counters: Effect.Success<ReturnType<typeof running>>) => Effect.Effect<A, E>
        ) => Effect.scoped(Effect.flatMap(running(counter), use))
        yield* restarted((_) => _("a").Add({ amount: 5 }, { commandId: "one" }))
        assert.strictEqual(yield* restarted((_) => _("a").Remove(undefined, { commandId: "two" })), 5)
        assert.strictEqual(yield* restarted((_) => _("a").Remove(undefined, { commandId: "two" })), 5)
        assert.strictEqual(yield* restarted((_) => _("a").Add({ amount: 5 }, { commandId: "one" })), 5)
        assert.strictEqual(yield* restarted((_) => _("a").Count()), 0)
        yield* restarted((_) => _("a").Add({ amount: 1 }))
        assert.strictEqual(yield* restarted((_) => _("a").Remove(undefined, { commandId: "two" })), 5)
        assert.strictEqual(yield* restarted((_) => _("a").Count()), 1)
      }))

    it.effect("is known after somebody else has changed the state, deleted it, and made it again", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const { stateType } = counter
        // a process that has not read it before
        const restarted = <A, E>(
          use: (counters: Effect.Success<ReturnType<typeof running>>) => Effect.Effect<A, E>
        ) => Effect.scoped(Effect.flatMap(running(counter), use))
        const add = restarted((_) => _("a").Add.withReceipt({ amount: 5 }, { commandId: "one" }))
        const first = yield* add
        const isKnown = Effect.gen(function*() {
          const { receipt, reply } = yield* add
          assert.strictEqual(reply, 5)
          // where it stood is not known any more, but whoever has come to the change after it has come there, too
          const newest = Option.getOrThrow(yield* DurableStateStore.receipt(stateType, "a"))
          assert.deepStrictEqual(
            [receipt!.sequenceNumber, receipt!.position, receipt!.timestamp],
            [first.receipt!.sequenceNumber, newest.position, newest.timestamp]
          )
          assert.isString(yield* Schema.encodeEffect(Receipt.Receipt)(receipt!))
        })
        const state = { count: 100, note: "" }
        yield* DurableStateStore.upsert(stateType, { id: "a", expected: 1, state, metadata: { by: "hand" } })
        yield* isKnown
        assert.strictEqual(yield* restarted((_) => _("a").Count()), 100)
        assert.strictEqual(Option.getOrThrow(yield* DurableStateStore.get(stateType, "a")).metadata["by"], "hand")
        yield* DurableStateStore.delete(stateType, { id: "a", expected: 2 })
        yield* isKnown
        yield* DurableStateStore.upsert(stateType, { id: "a", expected: 0, state })
        yield* isKnown
        assert.strictEqual(yield* restarted((_) => _("a").Add({ amount: 1 }, { commandId: "two" })), 101)
        const conflict = yield* Effect.flip(DurableStateStore.upsert(stateType, { id: "a", expected: 0, state }))
        assert.strictEqual(conflict._tag, "RevisionConflict")
        assert.include(conflict.message, "expected revision 0, but it is 5")
      }))

    it.effect("is executed once where it comes many times at once", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const counters = yield* running(counter)
        const replies = yield* Effect.forEach(
          Array.from({ length: 8 }),
          () => counters("a").AddSlowly({ amount: 5 }, { commandId: "one" }),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(replies, Array.from({ length: 8 }, () => 5))
        assert.deepStrictEqual(yield* stored(counter, "a"), [1, 5, []])
      }))

    it.effect("is refused where the id was that of another command, or of another payload", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const counters = yield* running(counter)
        yield* counters("a").Add({ amount: 5 }, { commandId: "one" })
        for (
          const wrong of [
            counters("a").Add({ amount: 6 }, { commandId: "one" }),
            counters("a").Remove(undefined, { commandId: "one" })
          ]
        ) {
          assert.deepInclude(yield* Effect.flip(wrong), { _tag: "InvalidCommand", isUnknown: false })
        }
        assert.deepStrictEqual(yield* stored(counter, "a"), [1, 5, []])
      }))

    it.effect("is remembered as long as it is one of the newest, and there is room", () =>
      Effect.gen(function*() {
        const counter = makeCounter({ remembered: 2 })
        const counters = yield* running(counter)
        for (const commandId of ["one", "two", "three", "two"]) {
          yield* counters("a").Add({ amount: 1 }, { commandId })
        }
        assert.strictEqual(yield* counters("a").Count(), 3)
        assert.strictEqual(yield* counters("a").Add({ amount: 1 }, { commandId: "one" }), 4)
        const long = yield* running(makeCounter({ remembered: 1_000 }))
        for (let i = 0; i < 120; i++) {
          yield* long("a").Add({ amount: 1 }, { commandId: `${i}`.padStart(200, "x") })
        }
        // 16 KiB, whatever their number
        assert.strictEqual(yield* long("a").Add({ amount: 1 }, { commandId: "119".padStart(200, "x") }), 120)
        assert.strictEqual(yield* long("a").Add({ amount: 1 }, { commandId: "0".padStart(200, "x") }), 121)
      }))
  })

  describe("a durable state that is told what is wrong", () => {
    it.effect("fails with a typed error, and nothing is written", () =>
      Effect.gen(function*() {
        const counter = makeCounter({ decideWithin: "50 millis" })
        const counters = yield* running(counter)
        yield* counters("a").Add({ amount: 3 })
        const failures: Record<string, string> = {}
        for (const fault of Fault.literals) {
          const error = yield* Effect.flip(counters("a").Misbehave(fault))
          failures[fault] = error._tag
          assert.deepInclude(error, { entityType: counter.name, id: "a", command: "Misbehave", isUnknown: false })
        }
        assert.deepStrictEqual(failures, {
          throws: "DecisionFailed",
          dies: "DecisionFailed",
          hangs: "DecisionFailed",
          "hangs and cannot be interrupted": "DecisionFailed",
          "gives no decision": "DecisionFailed",
          "has an event": "InvalidDecision",
          "changes twice": "InvalidDecision",
          "has a state of another type": "InvalidDecision",
          "has a state that is too large": "InvalidDecision",
          "has tags that throw": "DecisionFailed",
          "has tags that cannot be stored": "InvalidDecision",
          "has a reply of another type": "InvalidDecision",
          "changes nothing, and has a reply of another type": "InvalidDecision",
          "is rejected with what is not declared": "InvalidDecision",
          "has a change event that throws": "DecisionFailed",
          "has a change event of another type": "InvalidDecision",
          "has a change event that is too large": "InvalidDecision"
        })
        assert.deepStrictEqual(yield* stored(counter, "a"), [1, 3, []])
        assert.deepStrictEqual(yield* eventsIn(counter, "a"), [[0, 3, "Add"]])
        assert.strictEqual(yield* counters("a").Add({ amount: 1 }), 4)
      }))

    it.effect("refuses ids that are none, commands that there are not, and payloads of another type", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const counters = yield* running(counter)
        for (const id of ["", "a|b", "a\0", "a\ud800", "x".repeat(300)]) {
          assert.deepInclude(yield* Effect.flip(counters(id).Count()), { _tag: "InvalidCommand" })
        }
        assert.deepInclude(yield* Effect.flip(counters("a").Add({ amount: 0.5 })), { _tag: "InvalidCommand" })
        const { send } = yield* runnerIn(way)(counter)
        for (const tag of ["Subtract", "constructor", ""]) {
          const error = yield* Effect.flip(send("a", { tag, payload: undefined, commandId: undefined }))
          assert.deepInclude(error, { _tag: "InvalidCommand", command: tag })
        }
      }))

    it.effect("says where its state cannot be read, and writes nothing over it", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const other = StateType.make(counter.name, { codec: EventCodec.string })
        yield* DurableStateStore.upsert(other, { id: "a", expected: 0, state: "?" })
        const counters = yield* running(counter)
        const error = yield* Effect.flip(counters("a").Add({ amount: 1 }))
        assert.deepInclude(error, { _tag: "RecoveryFailed", id: "a", isUnknown: false })
        assert.include(error.message, "ser.akka.io/20")
        assert.strictEqual(yield* counters("b").Add({ amount: 1 }), 1)
        const kept = Option.getOrThrow(yield* DurableStateStore.get(other, "a"))
        assert.deepStrictEqual([kept.revision as number, kept.state], [1, "?"])
        const broken = yield* running(makeCounter({
          initial: () => {
            throw new Error("thrown")
          }
        }))
        assert.deepInclude(yield* Effect.flip(broken("a").Count()), { _tag: "RecoveryFailed" })
      }))
  })

  describe("a durable state whose database fails", () => {
    it.effect("says whether the command may have been executed", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const store = yield* DurableStateStore.DurableStateStore
        const fails = (operation: "get" | "change", reason: StorageError.Reason) =>
          Effect.gen(function*() {
            const counters = yield* running(counter)
            const error = yield* Effect.flip(counters("a").Add({ amount: 1 }))
            assert.deepInclude(error, { _tag: "JournalUnavailable", id: "a" })
            return "isUnknown" in error && error.isUnknown
          }).pipe(
            Effect.scoped,
            Effect.provideService(DurableStateStore.DurableStateStore, {
              ...store,
              [operation]: () =>
                Effect.fail(new StorageError.StorageError({ operation, reason, cause: new Error("gone") }))
            })
          )
        assert.isFalse(yield* fails("get", "Unavailable"))
        assert.isTrue(yield* fails("change", "Unavailable"))
        assert.isFalse(yield* fails("change", "Busy"))
        assert.isUndefined(yield* stored(counter, "a"))
      }))

    for (const when of ["before", "never", "later"] as const) {
      const title = {
        before: "answers a repetition with an id as it would have the first time, where only the answer was lost",
        never: "executes a repetition with an id, where the first was lost",
        later: "executes a repetition with an id, where the first is executed later: then it is not"
      }[when]
      it.effect(title, () =>
        Effect.gen(function*() {
          const counter = makeCounter()
          const store = yield* DurableStateStore.DurableStateStore
          let losses = 1
          let late: Effect.Effect<unknown, unknown> | undefined
          const lossy = DurableStateStore.DurableStateStore.of({
            ...store,
            change: (request) =>
              Effect.suspend(() => {
                if (losses-- <= 0) return store.change(request)
                late = store.change(request)
                return Effect.andThen(
                  when === "before" ? store.change(request) : Effect.void,
                  Effect.fail(
                    new StorageError.StorageError({
                      operation: "change",
                      reason: "Unavailable",
                      cause: new Error("gone")
                    })
                  )
                )
              })
          })
          yield* Effect.gen(function*() {
            const { Add, Count } = (yield* running(counter))("a")
            const add = Add.withReceipt({ amount: 5 }, { commandId: "one" })
            const error = yield* Effect.flip(add)
            assert.deepInclude(error, { _tag: "JournalUnavailable", id: "a", isUnknown: true, isRetryable: true })
            const { receipt, reply } = yield* add
            assert.strictEqual(reply, 5)
            assert.deepStrictEqual(
              receipt,
              Option.getOrThrow(yield* DurableStateStore.receipt(counter.stateType, "a"))
            )
            if (when === "later") {
              assert.deepInclude(yield* Effect.flip(late!), { _tag: "RevisionConflict", expected: 0, actual: 1 })
            }
            assert.deepStrictEqual(yield* add, { receipt, reply })
            assert.strictEqual(yield* Count(), 5)
          }).pipe(Effect.provideService(DurableStateStore.DurableStateStore, lossy))
          assert.deepStrictEqual(yield* stored(counter, "a"), [1, 5, []])
          assert.lengthOf(yield* eventsIn(counter, "a"), 1)
          const again = yield* running(counter)
          assert.strictEqual(yield* again("a").Add({ amount: 5 }, { commandId: "one" }), 5)
        }))
    }

    it.effect("has changed all, or nothing, where the caller is interrupted", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const counters = yield* running(counter)
        for (let yields = 0; yields < 40; yields++) {
          const fiber = yield* Effect.forkChild(counters("a").AddSlowly({ amount: 1 }, { commandId: `${yields}` }))
          yield* Effect.repeat(Effect.yieldNow, { times: yields })
          yield* Fiber.interrupt(fiber)
        }
        // of those that have begun, some may go on
        const last = yield* counters("a").Add({ amount: 0 })
        assert.deepStrictEqual((yield* stored(counter, "a"))?.[1], last)
        const events = yield* eventsIn(counter, "a")
        assert.deepStrictEqual(events.map(([before]) => before), Array.from({ length: last + 1 }, (_, n) => n))
      }))
  })

  describe("a durable state that many send commands to at once", () => {
    it.effect("executes each of them, and none of them fails with a conflict", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const counters = yield* running(counter)
        const replies = yield* Effect.forEach(
          Array.from({ length: 64 }),
          () => Effect.replicateEffect(counters("a").AddSlowly({ amount: 1 }), 3),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          replies.flat().toSorted((a, b) => a - b),
          Array.from({ length: 192 }, (_, n) => n + 1)
        )
        assert.deepStrictEqual((yield* stored(counter, "a"))?.slice(0, 2), [192, 192])
      }))
  })

  describe("durable states of several writers", () => {
    it.effect("lose no command, and execute none twice", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const writers = [yield* running(counter), yield* running(counter)]
        const acknowledged: Record<string, number> = {}
        yield* Effect.forEach(Array.from({ length: 60 }, (_, i) => i), (i) =>
          Effect.gen(function*() {
            const id = i % 2 === 0 ? "a" : "b"
            const counters = writers[yield* Random.nextIntBetween(0, 1)]!
            const result = yield* Effect.result(counters(id).AddSlowly({ amount: 1 }, { commandId: `${i % 20}` }))
            // others may have been first each time
            if (Result.isFailure(result)) return assert.strictEqual(result.failure._tag, "EntityConflict")
            acknowledged[`${id} ${i % 20}`] = 1
          }), { concurrency: 6, discard: true })
        for (const id of ["a", "b"]) {
          const own = Object.keys(acknowledged).filter((key) => key.startsWith(id)).length
          assert.isAbove(own, 0)
          const events = yield* eventsIn(counter, id)
          assert.deepStrictEqual(events, Array.from({ length: own }, (_, n) => [n, n + 1, "AddSlowly"]))
          assert.deepStrictEqual((yield* stored(counter, id))?.slice(0, 2), [own, own])
        }
      }))

    it.effect("reject nothing that is valid by what another has written, and no repetition of what that has executed", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const [one, other] = [yield* running(counter), yield* running(counter)]
        yield* other("a").Add({ amount: 1 })
        yield* one("a").Add({ amount: 10 })
        assert.strictEqual(yield* one("a").Add({ amount: -11 }, { commandId: "one" }), 0)
        assert.strictEqual(yield* other("a").Add({ amount: -11 }, { commandId: "one" }), 0)
        yield* one("a").Add({ amount: 50 })
        assert.strictEqual(yield* other("a").Add({ amount: -50 }), 0)
        yield* one("a").Add({ amount: 7 })
        assert.deepInclude(yield* Effect.flip(other("a").Add({ amount: -8 })), { count: 7 })
        yield* one("a").Remove()
        assert.deepInclude(yield* Effect.flip(other("a").Add({ amount: -8 })), { count: 0 })
      }))

    it.effect("take no state that is out of date for a bug of the entity", () =>
      Effect.gen(function*() {
        const counter = makeCounter({ state: State.check(Schema.makeFilter(({ count }) => count !== 3)) })
        const [one, other] = [yield* running(counter), yield* running(counter)]
        yield* one("a").Add({ amount: 2 })
        assert.strictEqual(yield* other("a").Count(), 2)
        // a state of 3 does not fit its schema
        assert.deepInclude(yield* Effect.flip(other("a").Add({ amount: 1 })), { _tag: "InvalidDecision" })
        yield* one("a").Add({ amount: 3 })
        assert.strictEqual(yield* one("a").Add({ amount: 1 }, { commandId: "one" }), 6)
        assert.strictEqual(yield* other("a").Add({ amount: 1 }, { commandId: "one" }), 6)
      }))

    it.effect("see what another has made and removed meanwhile", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const name = counter.name
        const decides = yield* Deferred.make<void>()
        const goOn = yield* Deferred.make<void>()
        let isFirst = true
        // the same entity type, in another program
        const waits = DurableState.make(StateType.make(name, { state: State }), {
          initial: { count: 0, note: "" },
          commands: [Rpc.make("Add", { payload: { amount: Schema.Int }, success: Schema.Int })],
          decide: {
            Add: Effect.fnUntraced(function*({ payload: { amount }, revision, state }) {
              if (isFirst) {
                isFirst = false
                yield* Deferred.succeed(decides, undefined)
                yield* Deferred.await(goOn)
              }
              return Decision.update({ ...state, count: state.count + amount }, revision)
            })
          }
        })
        const add = Effect.scoped(Effect.gen(function*() {
          // it runs as long as it is used
          const slow = yield* Effect.provideContext(DurableState.client(waits), yield* Layer.build(way(waits)))
          return yield* slow("a").Add({ amount: 1 })
        }))
        const fiber = yield* Effect.forkChild(add)
        yield* Deferred.await(decides)
        const counters = yield* running(counter)
        yield* counters("a").Add({ amount: 5 }, { commandId: "one" })
        yield* counters("a").Remove()
        yield* Deferred.succeed(goOn, undefined)
        // it was decided again, on what there is now
        assert.strictEqual(yield* Fiber.join(fiber), 2)
        assert.deepStrictEqual(yield* stored(counter, "a"), [3, 1, []])
        // what was remembered is not forgotten
        const again = yield* running(counter)
        assert.strictEqual(yield* again("a").Add({ amount: 5 }, { commandId: "one" }), 5)
      }))
  })

  describe("a definition of a durable state", () => {
    it.effect("is refused where its change events are of another type", () =>
      Effect.sync(() => {
        assert.throws(misdefined, TypeError, "The change events of 'one' are of 'two'")
      }))

    it.effect("is refused where it is to remember no number of commands", () =>
      Effect.sync(() => {
        for (const remembered of [NaN, -1, 1.5, "2" as unknown as number]) {
          assert.throws(() => makeCounter({ remembered }), RangeError, "`remembered` is")
        }
      }))
  })
}
