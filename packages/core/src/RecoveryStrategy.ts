/**
 * What a projection does about an event that its handler fails on.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as ExpectedError from "./ExpectedError.ts"
import { PersistenceId } from "./PersistenceId.ts"

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
  readonly queue: Queue
}

/**
 * The events that wait behind those that were put aside. An entity of which an event was put aside is parked: its later events become letters as
 * well, which wait for it, so that none is handled before it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Queue {
  /** How many events of a projection in one source wait at most. Workers that queue at the same moment may go beyond it by a few. */
  readonly capacity: number
  /**
   * What happens to an event that finds no room: the worker stops at it with {@link DeadLetterQueueFull}; or it holds it back, and tries again with backoff until there is
   * room; or it discards it, with a log line, and counts it as skipped. A worker that holds back parks no more entities than `capacity` either.
   */
  readonly overflow: "stop" | "holdBack" | "discard"
}

/**
 * The queue unless a strategy says otherwise: 10,000 events, and workers that stop when it is full.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultQueue: Queue = { capacity: 10_000, overflow: "stop" }

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

/**
 * How often to try again, and how long after; and how many events may wait behind those that were put aside ({@link defaultQueue}).
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetterOptions extends RetryOptions {
  readonly queue?: Partial<Queue> | undefined
}

const make = (
  { delay, queue, retries }: DeadLetterOptions,
  poison: RecoveryStrategy["poison"]
): RecoveryStrategy => {
  if (!Number.isSafeInteger(retries) || retries < 0) throw new RangeError(`retries is ${retries}: an integer from 0`)
  const { capacity, overflow } = { ...defaultQueue, ...queue }
  if (!Number.isSafeInteger(capacity) || capacity < 0) {
    throw new RangeError(`capacity is ${capacity}: an integer from 0`)
  }
  return { retries, delay: Duration.fromInputUnsafe(delay), poison, queue: { capacity, overflow } }
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
 * Puts aside at once: the event and its failure are kept as a dead letter, to be handled later by `Projection.handleDeadLetters`. Later events of its
 * entity wait behind it, and other entities go on.
 *
 * @category constructors
 * @since 0.1.0
 */
export const deadLetter: RecoveryStrategy = make({ retries: 0, delay: 0 }, "putAside")

/**
 * Tries again, then puts aside.
 *
 * **Example** (Room for a million events, of which those that come then are discarded)
 *
 * ```ts
 * import { RecoveryStrategy } from "@sluice/core"
 *
 * const strategy = RecoveryStrategy.retryAndDeadLetter({
 *   retries: 3,
 *   delay: "1 second",
 *   queue: { capacity: 1_000_000, overflow: "discard" }
 * })
 * strategy.queue // => { capacity: 1_000_000, overflow: "discard" }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const retryAndDeadLetter = (options: DeadLetterOptions): RecoveryStrategy => make(options, "putAside")

/**
 * An event of an entity of which another one was put aside finds no room behind it: as many events of the projection wait as may. The worker stops
 * at it, or holds it back. Handle the dead letters, or discard some, and then resume the projection, if it has stopped; or let more events wait.
 *
 * @category errors
 * @since 0.1.0
 */
export class DeadLetterQueueFull
  extends ExpectedError.TaggedError<DeadLetterQueueFull>("@sluice/core/DeadLetterQueueFull")("DeadLetterQueueFull", {
    projection: Schema.String,
    source: Schema.String,
    persistenceId: PersistenceId,
    capacity: Schema.Finite
  })
{
  /** The event is not at fault. */
  readonly isRetryable = true
  override get message(): string {
    return `An event of '${this.persistenceId}' cannot wait with those that projection '${this.projection}' has put aside, as there is room for ` +
      `${this.capacity} events of '${this.source}' only: handle the dead letters with Projection.handleDeadLetters, or discard some with ` +
      "ProjectionManagement.discardLetters, and then resume the projection, if it has stopped; or raise the queue's capacity in RecoveryStrategy.retryAndDeadLetter"
  }
}
