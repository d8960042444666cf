/**
 * The machine's own time, which connections to a server go by: the server knows nothing of a test's clock, and what a driver calls runs in no
 * fiber. Nothing else in an adapter reads it.
 *
 * @since 0.1.0
 */
/* oxlint-disable eslint/no-restricted-globals */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/**
 * Calls the function after so many milliseconds, and returns what calls that off. A process does not stay alive for it.
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
 * Milliseconds since some moment, by a clock that nobody sets.
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
