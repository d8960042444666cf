import { assert, describe } from "@effect/vitest"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as Journal from "@sluice/core/Journal"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { DurableStateWay } from "../../EntityWay.ts"
import type { It } from "../kit.ts"
import { AfterPersisting, eventsIn, makeCounter, runningIn } from "./counter.ts"

/** @internal */
export const durableStateInTransactionTests = (
  it: It<Journal.Journal | DurableStateStore.DurableStateStore>,
  way: DurableStateWay
): void => {
  const running = runningIn(way)

  describe("commands of durable states in a transaction", () => {
    it.effect("are part of it: all happen, or none, and what is for after persisting runs after the commit", () =>
      Effect.gen(function*() {
        const counter = makeCounter()
        const after: Array<number> = []
        yield* Effect.gen(function*() {
          const counters = yield* running(counter)
          yield* counters("a").Add({ amount: 1 })
          const both = Effect.gen(function*() {
            yield* counters("a").Add({ amount: 2 }, { commandId: "one" })
            // it sees what was done before it
            assert.strictEqual(yield* counters("a").Count(), 3)
            yield* counters("b").Add({ amount: 3 })
            yield* counters("b").Touch()
            assert.deepStrictEqual(after, [])
          })
          const undone = yield* Effect.flip(Journal.transaction(Effect.andThen(both, Effect.fail("no"))))
          assert.strictEqual(undone, "no")
          assert.strictEqual(yield* counters("a").Count(), 1)
          assert.isTrue(Option.isNone(yield* DurableStateStore.get(counter.stateType, "b")))
          assert.deepStrictEqual(yield* eventsIn(counter, "b"), [])
          yield* Journal.transaction(both)
          assert.deepStrictEqual(after, [3])
          yield* Journal.transaction(counters("a").Add({ amount: 2 }, { commandId: "one" }))
          assert.strictEqual(yield* counters("a").Count(), 3)
          assert.strictEqual(yield* counters("b").Count(), 3)
        }).pipe(Effect.provideService(AfterPersisting, ({ count }) => Effect.sync(() => void after.push(count))))
      }))

    it.effect("wait for none that is sent outside, which may wait for the transaction", () =>
      Effect.gen(function*() {
        const counters = yield* running(makeCounter())
        yield* counters("a").Add({ amount: 1 })
        const hasWritten = yield* Deferred.make<void>()
        const outside = yield* Effect.forkChild(
          Effect.andThen(Deferred.await(hasWritten), counters("a").Add({ amount: 100 }))
        )
        const inside = yield* Journal.transaction(Effect.gen(function*() {
          yield* counters("a").Add({ amount: 10 })
          yield* Deferred.succeed(hasWritten, undefined)
          yield* Effect.repeat(Effect.yieldNow, { times: 20 })
          return yield* counters("a").Add({ amount: 10 })
        }))
        assert.strictEqual(inside, 21)
        assert.strictEqual(yield* Fiber.join(outside), 121)
      }))
  })
}
