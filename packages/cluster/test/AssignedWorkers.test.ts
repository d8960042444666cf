import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { AssignedWorkers } from "../src/internal/AssignedWorkers.ts"

const start = Effect.forkChild({ startImmediately: true })
const isDone = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() !== undefined

/** The workers in the set that comes next. */
const reader = (workers: AssignedWorkers) =>
  Effect.map(Stream.toPull(workers.changes), (pull) => Effect.map(pull, ([set]) => [...set].toSorted((a, b) => a - b)))

const adjust = TestClock.adjust("10 millis")

describe("assigned workers", () => {
  it.effect("are not told before they are known", () =>
    Effect.gen(function*() {
      const workers = new AssignedWorkers()
      const next = yield* start(yield* reader(workers))
      yield* TestClock.adjust("1 hour")
      assert.isFalse(isDone(next))
      workers.known()
      yield* adjust
      assert.deepStrictEqual(yield* Fiber.join(next), [])
    }))

  it.effect("are told together, and only when they have changed", () =>
    Effect.gen(function*() {
      const workers = new AssignedWorkers()
      const pull = yield* reader(workers)
      const first = yield* start(pull)
      workers.add(1)
      workers.add(0)
      yield* adjust
      assert.deepStrictEqual(yield* Fiber.join(first), [0, 1])
      const second = yield* start(pull)
      yield* TestClock.adjust("1 hour")
      assert.isFalse(isDone(second))
      workers.remove(0)
      workers.add(2)
      yield* adjust
      assert.deepStrictEqual(yield* Fiber.join(second), [1, 2])
    }))

  it.effect("are told to who asks later", () =>
    Effect.gen(function*() {
      const workers = new AssignedWorkers()
      workers.add(3)
      for (let i = 0; i < 2; i++) {
        const next = yield* start(yield* reader(workers))
        yield* adjust
        assert.deepStrictEqual(yield* Fiber.join(next), [3])
      }
    }))
})
