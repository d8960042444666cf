import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/** How long an effect that was interrupted has to end. */
const grace = "1 second"

/**
 * @internal
 * How an effect of the user's has ended, or undefined where it has not within the time. Then it is interrupted, and where it does not let itself be, nobody
 * waits for it.
 */
export const inTime = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.Duration
): Effect.Effect<Exit.Exit<A, E> | undefined, never, R> =>
  // not a child, as the end of a fiber waits for its children
  Effect.flatMap(Effect.forkDetach(effect, { startImmediately: true }), (fiber) => {
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return Effect.succeed(exit)
    const given = Effect.suspend(() => {
      fiber.interruptUnsafe()
      return Effect.timeoutOrElse(Effect.asVoid(Fiber.await(fiber)), { duration: grace, orElse: () => Effect.void })
    })
    return Effect.timeoutOrElse(Fiber.await(fiber), { duration, orElse: () => Effect.as(given, undefined) }).pipe(
      Effect.onInterrupt(() => given)
    )
  })
