import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"

/** Runs the effect, and says before each step of it, and of the fibers that it forks, which fiber takes it. */
const watched = <A, E, R>(effect: Effect.Effect<A, E, R>, onStep: (fiber: Fiber.Fiber<unknown, unknown>) => void) =>
  Effect.flatMap(Scheduler.Scheduler, (scheduler) =>
    Effect.provideService(effect, Scheduler.Scheduler, {
      executionMode: scheduler.executionMode,
      makeDispatcher: () => scheduler.makeDispatcher(),
      // it is asked before each step
      shouldYield: (fiber) => {
        onStep(fiber)
        return scheduler.shouldYield(fiber)
      }
    }))

/** @internal Runs the effect, and interrupts it after so many of its steps, unless it has ended before. */
export const afterSteps = <R>(effect: Effect.Effect<void, unknown, R>, steps: number): Effect.Effect<void, never, R> =>
  Effect.gen(function*() {
    let first: Fiber.Fiber<unknown, unknown> | undefined
    let taken = 0
    const fiber = yield* Effect.forkChild(watched(effect, (fiber) => {
      first ??= fiber
      if (++taken === steps) first.interruptUnsafe()
    }))
    yield* Fiber.await(fiber)
  })

/** @internal Runs the effect, and says how many steps it has taken once it has succeeded. */
export const countingSteps = <E, R>(
  effect: Effect.Effect<void, E, R>,
  counted: (steps: number) => void
): Effect.Effect<void, E, R> =>
  Effect.suspend(() => {
    let taken = 0
    return Effect.andThen(watched(effect, () => void taken++), Effect.sync(() => counted(taken)))
  })
