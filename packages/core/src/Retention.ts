/**
 * Which snapshots of an entity are kept.
 *
 * @since 0.1.0
 */
import type { SequenceNumber } from "./SequenceNumber.ts"
import type { Timestamp } from "./Timestamp.ts"

/**
 * A snapshot that is there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Kept {
  readonly sequenceNumber: SequenceNumber
  readonly timestamp: Timestamp
}

/**
 * Given the snapshots of an entity, the newest first, gives the sequence numbers of those to be removed.
 *
 * @category models
 * @since 0.1.0
 */
export type Retention = (kept: ReadonlyArray<Kept>) => ReadonlyArray<number>

/**
 * Keeps the `n` newest. Throws a `RangeError` unless `n` is an integer from 1.
 *
 * **Example** (Of three, the oldest goes)
 *
 * ```ts
 * import { Retention, SequenceNumber, Timestamp } from "@sluice/core"
 *
 * const timestamp = Timestamp.make(0)
 * const kept = [30, 20, 10].map((n) => ({ sequenceNumber: SequenceNumber.make(n), timestamp }))
 * Retention.latest(2)(kept) // => [10]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const latest = (n: number): Retention => {
  if (!Number.isSafeInteger(n) || n < 1) throw new RangeError(`Keeps the latest ${n} snapshots: an integer from 1`)
  return (kept) => kept.slice(n).map(({ sequenceNumber }) => sequenceNumber)
}

/**
 * Keeps all.
 *
 * @category constructors
 * @since 0.1.0
 */
export const all: Retention = () => []
