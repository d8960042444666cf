import { assert, describe, it } from "@effect/vitest"
import { Placement } from "@sluice/core"
import { Effect, Fiber, Stream } from "effect"

describe("Placement", () => {
  it.effect("has all workers in this process by default, and for good", () =>
    Effect.gen(function*() {
      const { assigned } = yield* Placement.Placement
      const seen: Array<ReadonlySet<number>> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(assigned("lengths", 3), (workers) => Effect.sync(() => seen.push(workers))),
        { startImmediately: true }
      )
      yield* Effect.yieldNow
      assert.deepStrictEqual(seen, [new Set([0, 1, 2])])
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
    }))
})
