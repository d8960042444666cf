/**
 * When the state of an entity is saved, so that its recovery need not begin at the first event, and how many snapshots are kept.
 *
 * @since 0.1.0
 */
import type { Retention } from "@sluice/core/Retention"
import * as Ret from "@sluice/core/Retention"

/**
 * When snapshots are saved, and which are kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface SnapshotPolicy<in State> {
  /** Whether the state is to be saved that an append has led to. */
  readonly isDue: (after: Appended<State>) => boolean
  readonly retention: Retention
}

/**
 * The state after an append, and what is known of the snapshots before.
 *
 * @category models
 * @since 0.1.0
 */
export interface Appended<out State> {
  readonly state: State
  /** The number of the last event. */
  readonly sequenceNumber: number
  /** How many events there are since the last snapshot, or since the beginning. */
  readonly since: number
}

/**
 * Which snapshots are kept: the two latest where nothing else is said.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly retention?: Retention | undefined
}

/**
 * A snapshot as soon as there are `events` of them since the last one. Throws a `RangeError` unless it is an integer from 1.
 *
 * **Example** (A snapshot every hundred events)
 *
 * ```ts
 * import { SnapshotPolicy } from "@sluice/entity"
 *
 * const policy = SnapshotPolicy.every(100)
 * policy.isDue({ state: {}, sequenceNumber: 250, since: 50 }) // => false
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const every = (events: number, options?: Options): SnapshotPolicy<unknown> => {
  if (!Number.isSafeInteger(events) || events < 1) {
    throw new RangeError(`A snapshot every ${events} events: an integer from 1`)
  }
  return when(({ since }) => since >= events, options)
}

/**
 * A snapshot whenever a predicate says so of an append, such as at the end of a month.
 *
 * @category constructors
 * @since 0.1.0
 */
export const when = <State>(
  isDue: (after: Appended<State>) => boolean,
  options?: Options
): SnapshotPolicy<State> => ({ isDue, retention: options?.retention ?? Ret.latest(2) })
