/**
 * When a value was written, and where: which of two writes is the last one, the same for every replica.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The time and the replica of a write. The greater time is the later one; of two at one time, that of the **smaller** replica id is.
 *
 * @category models
 * @since 0.1.0
 */
export interface LwwTime {
  /** A safe integer in whatever unit all replicas have in common, such as the microseconds of a `Timestamp`. */
  readonly time: number
  readonly replica: string
}

/**
 * The time of a write as a schema.
 *
 * @category schemas
 * @since 0.1.0
 */
export const schema = Schema.Struct({ time: Schema.Natural, replica: Schema.String })

/**
 * Before every write.
 *
 * @category constants
 * @since 0.1.0
 */
export const first: LwwTime = { time: 0, replica: "" }

/**
 * The time of a replica's next write: its clock's, or just after the previous one if the clock is not past that. Throws a `RangeError` for a time that
 * is no safe integer from 0, and where none is left.
 *
 * **Example** (A clock that is behind)
 *
 * ```ts
 * import { LwwTime } from "@sluice/replication"
 *
 * const theirs = LwwTime.increase(LwwTime.first, "us", 1_000)
 * const ours = LwwTime.increase(theirs, "eu", 990)
 * ours // => { time: 1_001, replica: "eu" }
 * LwwTime.isAfter(ours, theirs) // => true
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const increase = (self: LwwTime, replica: string, time: number): LwwTime => {
  if (!Number.isSafeInteger(time) || time < 0) throw new RangeError(`${time} is no time: a safe integer from 0`)
  const next = Math.max(time, self.time + 1)
  if (!Number.isSafeInteger(next)) {
    throw new RangeError(`Nothing comes after the time ${self.time}, which replica '${self.replica}' has written`)
  }
  return { time: next, replica }
}

/**
 * Whether the first is later than the second.
 *
 * @category comparisons
 * @since 0.1.0
 */
export const isAfter = (self: LwwTime, that: LwwTime): boolean =>
  self.time === that.time ? self.replica < that.replica : self.time > that.time
