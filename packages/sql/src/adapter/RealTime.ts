/**
 * The machine's own time, for connections to a server. The server knows nothing of a test's clock, and a driver's
 * callbacks run in no fiber. This module is the only place of an adapter that reads the machine's clock or sets its
 * timers.
 *
 * @since 0.1.0
 */
/* oxlint-disable eslint/no-restricted-globals */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/**
 * Calls the function after so many milliseconds, and returns a function that cancels this. The timer does not keep the
 * process alive.
 *
 * @category operations
 * @since 0.1.0
 */
export const after = (millis: number, f: () => void): () => void => {
  const timer = setTimeout(f, millis)
  timer.unref()
  return () => clearTimeout(timer)
}

/**
 * Resolves after so many milliseconds.
 *
 * @category operations
 * @since 0.1.0
 */
export const sleep = (millis: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, millis))

/**
 * Milliseconds by a monotonic clock.
 *
 * @category getters
 * @since 0.1.0
 */
export const now = (): number => performance.now()

/**
 * Runs the effect by the machine's clock, whatever clock the program has.
 *
 * @category combinators
 * @since 0.1.0
 */
export const provide: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = Effect.provideService(
  Clock.Clock,
  Clock.Clock.defaultValue()
)
