import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/**
 * @internal
 * How an effect of the user's has ended, or undefined where it has not within the time. Then it is interrupted, and nobody waits for it, as it may not let
 * itself be.
 */
export const inTime = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.Duration
): Effect.Effect<Exit.Exit<A, E> | undefined, never, R> =>
  Effect.flatMap(Effect.forkChild(effect, { startImmediately: true }), (fiber) => {
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return Effect.succeed(exit)
    const given = Effect.sync(() => {
      fiber.interruptUnsafe()
      return undefined
    })
    return Effect.timeoutOrElse(Fiber.await(fiber), { duration, orElse: () => given }).pipe(
      Effect.onInterrupt(() => given)
    )
  })
