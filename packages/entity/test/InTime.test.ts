import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { makeInTime } from "../src/internal/inTime.ts"

const second = Duration.seconds(1)

describe("effects that have so much time", () => {
  it.effect("answer how they have ended, at once where they do at once", () =>
    Effect.gen(function*() {
      const inTime = yield* makeInTime
      assert.deepStrictEqual(yield* inTime(Effect.succeed(1), second), Exit.succeed(1))
      assert.deepStrictEqual(yield* inTime(Effect.andThen(Effect.yieldNow, Effect.fail("no")), second), Exit.fail("no"))
    }))

  it.effect("are interrupted at their time, each by its own, and those that have ended keep no other one waiting", () =>
    Effect.gen(function*() {
      const inTime = yield* makeInTime
      const stopped: Array<string> = []
      const hangs = (name: string) =>
        inTime(Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped.push(name))), second)
      yield* inTime(Effect.yieldNow, second)
      const first = yield* Effect.forkChild(hangs("first"), { startImmediately: true })
      yield* TestClock.adjust("600 millis")
      const last = yield* Effect.forkChild(hangs("last"), { startImmediately: true })
      yield* TestClock.adjust("399 millis")
      assert.deepStrictEqual(stopped, [])
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* Fiber.join(first), undefined)
      assert.deepStrictEqual(stopped, ["first"])
      yield* TestClock.adjust("600 millis")
      assert.strictEqual(yield* Fiber.join(last), undefined)
      assert.deepStrictEqual(stopped, ["first", "last"])
    }))

  it.effect("are not waited for where they do not let themselves be stopped", () =>
    Effect.gen(function*() {
      const inTime = yield* makeInTime
      const fiber = yield* Effect.forkChild(inTime(Effect.uninterruptible(Effect.never), second), {
        startImmediately: true
      })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), undefined)
    }))

  it.effect("are interrupted with whoever waits for them", () =>
    Effect.gen(function*() {
      const inTime = yield* makeInTime
      let isStopped = false
      const hangs = Effect.onInterrupt(Effect.never, () => Effect.sync(() => isStopped = true))
      const fiber = yield* Effect.forkChild(inTime(hangs, second), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      assert.isTrue(isStopped)
    }))

  it.effect("leave no timer behind", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const inTime = yield* Effect.provideService(makeInTime, Scope.Scope, scope)
      const hangs = yield* Effect.forkChild(inTime(Effect.never, Duration.days(1)), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("2 days")
      assert.strictEqual(hangs.pollUnsafe(), undefined)
      yield* Fiber.interrupt(hangs)
    }))
})
