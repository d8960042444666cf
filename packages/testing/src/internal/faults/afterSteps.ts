import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"

/** @internal Runs the effect, and interrupts it after so many of its steps, unless it has ended before. */
export const afterSteps = <R>(effect: Effect.Effect<void, unknown, R>, steps: number): Effect.Effect<void, never, R> =>
  Effect.gen(function*() {
    const scheduler = yield* Scheduler.Scheduler
    let first: Fiber.Fiber<unknown, unknown> | undefined
    let taken = 0
    const fiber = yield* Effect.forkChild(Effect.provideService(effect, Scheduler.Scheduler, {
      executionMode: scheduler.executionMode,
      makeDispatcher: () => scheduler.makeDispatcher(),
      // it is asked before each step
      shouldYield: (fiber) => {
        first ??= fiber
        if (++taken === steps) first.interruptUnsafe()
        return scheduler.shouldYield(fiber)
      }
    }))
    yield* Fiber.await(fiber)
  })
