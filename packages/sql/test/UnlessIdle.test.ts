import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { unlessIdle } from "../src/internal/unlessIdle.ts"

class TooSlow {
  readonly limit: number
  constructor(limit: number) {
    this.limit = limit
  }
}

/** Idle for so many milliseconds whenever it is asked. */
const database = (...idle: ReadonlyArray<number>) => {
  const left = [...idle]
  return { idle: Effect.sync(() => left.length > 1 ? left.shift()! : left[0]!) }
}

const run = <A, E>(idle: ReadonlyArray<number>, effect: Effect.Effect<A, E>) =>
  unlessIdle(database(...idle), 10, effect, (limit) => new TooSlow(limit))

describe("an effect that must not leave its transaction idle", () => {
  it.live("gives what the effect gives, and fails as it does", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* run([0], Effect.succeed(1)), 1)
      assert.strictEqual(yield* run([0], Effect.as(Effect.yieldNow, 2)), 2)
      assert.strictEqual(yield* Effect.flip(run([0], Effect.fail("no"))), "no")
      assert.isTrue(Cause.hasDies(Exit.match(yield* Effect.exit(run([0], Effect.die("bug"))), {
        onFailure: (cause) => cause,
        onSuccess: () => Cause.empty
      })))
    }))

  it.live("is interrupted once it was idle for too long, and fails when it has ended", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const slow = Effect.onInterrupt(
        Effect.never,
        () => Effect.andThen(Effect.yieldNow, Effect.sync(() => seen.push("ended")))
      )
      // a statement has run meanwhile, the first two times
      const error = yield* Effect.flip(run([3, 8, 9], slow))
      seen.push("failed")
      assert.instanceOf(error, TooSlow)
      assert.strictEqual(error.limit, 9)
      assert.deepStrictEqual(seen, ["ended", "failed"])
    }))

  it.live("fails as too slow although the effect has an answer by then", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const interrupted = Effect.onInterrupt(Effect.never, () => Deferred.succeed(begun, undefined))
      const effect = Effect.catchCause(interrupted, () => Effect.succeed("answer"))
      assert.instanceOf(yield* Effect.flip(run([9], effect)), TooSlow)
      assert.isTrue(yield* Deferred.isDone(begun))
    }))

  it.live("ends before whoever is interrupted while it waits for it", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const begun = yield* Deferred.make<void>()
      const effect = Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
        Effect.onInterrupt(() => Effect.andThen(Effect.yieldNow, Effect.sync(() => seen.push("effect"))))
      )
      const fiber = yield* Effect.forkChild(
        Effect.onExit(run([0], effect), () => Effect.sync(() => seen.push("transaction")))
      )
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(seen, ["effect", "transaction"])
    }))
})
