/**
 * What a projection does about an event that its handler fails on.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"

/**
 * How often the handler is tried again, after what delay, and what then happens to the event, which by then is called
 * poison. The worker stops at it, visibly, skips it, or puts it aside as a dead letter. Failures for which the event is
 * not to blame, such as of a database that cannot be reached, do not count: then the worker restarts with backoff for
 * as long as it takes.
 *
 * @category models
 * @since 0.1.0
 */
export interface RecoveryStrategy {
  readonly retries: number
  readonly delay: Duration.Duration
  readonly poison: "stop" | "skip" | "putAside"
}

/**
 * How often to try again, and how long after.
 *
 * @category models
 * @since 0.1.0
 */
export interface RetryOptions {
  readonly retries: number
  readonly delay: Duration.Input
}

const make = ({ delay, retries }: RetryOptions, poison: RecoveryStrategy["poison"]): RecoveryStrategy => {
  if (!Number.isSafeInteger(retries) || retries < 0) throw new RangeError(`retries is ${retries}: an integer from 0`)
  return { retries, delay: Duration.fromInputUnsafe(delay), poison }
}

/**
 * Stops at once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fail: RecoveryStrategy = make({ retries: 0, delay: 0 }, "stop")

/**
 * Skips at once, with a log line that names the event.
 *
 * @category constructors
 * @since 0.1.0
 */
export const skip: RecoveryStrategy = make({ retries: 0, delay: 0 }, "skip")

/**
 * Tries again, then stops.
 *
 * @category constructors
 * @since 0.1.0
 */
export const retryAndFail = (options: RetryOptions): RecoveryStrategy => make(options, "stop")

/**
 * Tries again, then skips.
 *
 * @category constructors
 * @since 0.1.0
 */
export const retryAndSkip = (options: RetryOptions): RecoveryStrategy => make(options, "skip")

/**
 * Puts aside at once: the event and its failure are kept as a dead letter, to be handled later by `Projection.handleDeadLetters`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const deadLetter: RecoveryStrategy = make({ retries: 0, delay: 0 }, "putAside")

/**
 * Tries again, then puts aside.
 *
 * @category constructors
 * @since 0.1.0
 */
export const retryAndDeadLetter = (options: RetryOptions): RecoveryStrategy => make(options, "putAside")
