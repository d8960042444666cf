import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { Turns } from "../src/internal/Turns.ts"

const full = Effect.fail("full" as const)

describe("effects of one key", () => {
  it.effect("take turns in the order in which they come, and nothing is kept once all have ended", () =>
    Effect.gen(function*() {
      const turns = new Turns(1_000)
      const order: Array<number> = []
      let inside = 0
      yield* Effect.forEach(Array.from({ length: 500 }, (_, i) => i), (i) =>
        turns.run(
          "a",
          Effect.gen(function*() {
            assert.strictEqual(++inside, 1)
            if (i % 3 === 0) yield* Effect.yieldNow
            order.push(i)
            inside--
            // some of them fail
            if (i % 5 === 0) return yield* Effect.fail("no" as const)
          }),
          full
        ).pipe(Effect.exit), { concurrency: "unbounded" })
      assert.deepStrictEqual(order, Array.from({ length: 500 }, (_, i) => i))
      assert.strictEqual(turns.size, 0)
    }))

  it.effect("do not wait for those of others", () =>
    Effect.gen(function*() {
      const turns = new Turns(1)
      const goOn = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(turns.run("a", Deferred.await(goOn), full), { startImmediately: true })
      assert.strictEqual(yield* turns.run("b", Effect.succeed(2), full), 2)
      assert.strictEqual(turns.size, 1)
      yield* Deferred.succeed(goOn, undefined)
      yield* Fiber.join(fiber)
      assert.strictEqual(turns.size, 0)
    }))

  it.effect("are refused where as many wait as may, and those that are interrupted give up their places", () =>
    Effect.gen(function*() {
      const turns = new Turns(2)
      const goOn = yield* Deferred.make<void>()
      const take = (answer: number) =>
        Effect.forkChild(turns.run("a", Effect.as(Deferred.await(goOn), answer), full), { startImmediately: true })
      const [first, second, third] = [yield* take(1), yield* take(2), yield* take(3)]
      assert.strictEqual(yield* Effect.flip(turns.run("a", Effect.succeed(4), full)), "full")
      yield* Fiber.interrupt(second)
      const fourth = yield* take(4)
      assert.strictEqual(yield* Effect.flip(turns.run("a", Effect.succeed(5), full)), "full")
      // whoever has its turn passes it on
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(goOn, undefined)
      assert.deepStrictEqual(yield* Fiber.joinAll([third, fourth]), [3, 4])
      assert.strictEqual(turns.size, 0)
    }))

  it.effect("run at once where they are in a turn, or they would wait for themselves, or for one another", () =>
    Effect.gen(function*() {
      const turns = new Turns(1)
      const others = new Turns(1)
      const inner = turns.run("a", others.run("b", Effect.succeed(1), full), full)
      const cross = (mine: Turns, key: string) => mine.run(key, Effect.andThen(Effect.yieldNow, inner), full)
      assert.deepStrictEqual(
        yield* Effect.all([cross(turns, "a"), cross(others, "b"), cross(turns, "c")], { concurrency: "unbounded" }),
        [1, 1, 1]
      )
    }))

  it.effect("are in nobody's way after interruptions at any time", () =>
    Effect.gen(function*() {
      const turns = new Turns(1_000)
      let inside = 0
      const use = Effect.gen(function*() {
        assert.strictEqual(++inside, 1)
        yield* Effect.yieldNow
      }).pipe(Effect.ensuring(Effect.sync(() => inside--)))
      for (let n = 0; n < 300; n++) {
        const fibers = yield* Effect.forEach(
          Array.from({ length: 4 }),
          () => Effect.forkChild(turns.run("a", use, full))
        )
        for (const fiber of fibers) {
          yield* Effect.repeat(Effect.yieldNow, { times: yield* Random.nextIntBetween(0, 3) })
          if (yield* Random.nextBoolean) yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
        }
        const exits = yield* Effect.forEach(fibers, Fiber.await)
        assert.isTrue(exits.every((exit) => Exit.isSuccess(exit) || Exit.hasInterrupts(exit)))
      }
      assert.strictEqual(turns.size, 0)
    }))
})
