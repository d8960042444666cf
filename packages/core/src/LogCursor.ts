/**
 * Where one reader stands in the logs of a slice range. Positions are dense, and timestamps rise with them. So the
 * cursor can tell of every event whether it comes next, was already delivered, leaves a gap, or is of another history.
 *
 * @since 0.1.0
 */
import type { EncodedEnvelope } from "./Envelope.ts"
import type * as Offset from "./Offset.ts"
import type * as Slice from "./Slice.ts"
import * as SliceRange from "./SliceRange.ts"

/**
 * What an event is to a reader:
 *
 * - `next`: it follows what was read in its log.
 * - `alreadyDelivered`: it was read before, or is older than the time from which its log is read.
 * - `gap`: positions before it have not been read. Where positions are sparse, as those of durable states, it follows all the same.
 * - `fork`: its position and timestamp contradict those of the last event read, so the log has lost events that were acknowledged.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict = "next" | "alreadyDelivered" | "gap" | "fork"

/**
 * The next position of a log that is read from a time on, while nothing is known of the log: any position may come
 * next.
 */
const anywhere = 0

/**
 * A reader's place in each log of a slice range. It reads nothing itself, and allocates nothing per event.
 *
 * It remembers only the last event of each log. So it detects another history at an earlier position only if the
 * timestamp there is not older than the last one.
 *
 * **Example** (Three events of a log that is read from position 7 on)
 *
 * ```ts
 * import { LogCursor, Offset, Slice, SliceRange } from "@sluice/core"
 *
 * const slice = Slice.make(5)
 * const cursor = new LogCursor.LogCursor(SliceRange.full, new Map([[slice, Offset.make(7, 7000)]]))
 * const verdicts = [cursor.take(slice, 8, 8000), cursor.take(slice, 8, 8000), cursor.take(slice, 10, 9500)]
 * verdicts // => ["next", "alreadyDelivered", "gap"]
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export class LogCursor {
  /** The slices whose logs are read. All methods throw a `RangeError` for others. */
  readonly range: SliceRange.SliceRange
  readonly #min: number
  /** The last place of each log that is known by position and timestamp; 0 if there is none. */
  readonly #positions: Float64Array
  readonly #timestamps: Float64Array
  /**
   * The position that comes next in each log. It is further on than the last place if a range without a timestamp was
   * skipped.
   */
  readonly #next: Float64Array
  /** The time from which each log is read; 0 if it is read from a position on. */
  readonly #since: Float64Array

  /** The offsets of slices outside the range are left out. */
  constructor(range: SliceRange.SliceRange, start: Offset.Offsets) {
    const size = SliceRange.size(range)
    this.range = range
    this.#min = range.min
    this.#positions = new Float64Array(size)
    this.#timestamps = new Float64Array(size)
    this.#next = new Float64Array(size).fill(1)
    this.#since = new Float64Array(size)
    for (const [slice, { position, timestamp }] of start) {
      if (!SliceRange.contains(range, slice)) continue
      if (position > 0) this.moveTo(slice, position, timestamp)
      else if (timestamp > 0) {
        this.#next[slice - this.#min] = anywhere
        this.#since[slice - this.#min] = timestamp
      }
    }
  }

  /**
   * The verdict on an event, or on a skipped range from the position `from` to `position`. The timestamp is that of
   * `position`, or undefined if it is not known.
   */
  verdict(slice: Slice.Slice, position: number, timestamp: number | undefined, from: number = position): Verdict {
    const log = this.#log(slice)
    const next = this.#next[log]!
    if (timestamp !== undefined) {
      const last = this.#positions[log]!
      if (last > 0) {
        const time = this.#timestamps[log]!
        if (position > last ? timestamp <= time : position < last ? timestamp >= time : timestamp !== time) {
          return "fork"
        }
      }
      if (timestamp < this.#since[log]!) return "alreadyDelivered"
    }
    if (next === anywhere || position >= next && from <= next) return "next"
    return position < next ? "alreadyDelivered" : "gap"
  }

  /**
   * As `verdict`. If the event or range is next, or is older than the time from which the log is read, the cursor moves
   * behind it.
   */
  take(slice: Slice.Slice, position: number, timestamp: number | undefined, from: number = position): Verdict {
    const log = slice - this.#min
    // nearly all events are the next of their logs, and newer than the last
    if (
      position === this.#next[log] && from <= position && position > this.#positions[log]! &&
      timestamp !== undefined && timestamp > this.#timestamps[log]! && timestamp >= this.#since[log]!
    ) {
      this.#next[log] = position + 1
      this.#positions[log] = position
      this.#timestamps[log] = timestamp
      return "next"
    }
    const verdict = this.verdict(slice, position, timestamp, from)
    if (verdict === "next" || verdict === "alreadyDelivered" && position >= this.#next[slice - this.#min]!) {
      this.moveTo(slice, position, timestamp)
    }
    return verdict
  }

  /** Takes the events in order, and returns the first one that is not next in its log, before which it stops. */
  takeAll(events: ReadonlyArray<EncodedEnvelope>): EncodedEnvelope | undefined {
    for (const event of events) {
      if (this.take(event.slice, event.position!, event.timestamp) !== "next") return event
    }
    return undefined
  }

  /** Moves behind a position, over gaps as well. Without a timestamp the offset stays where it is. */
  moveTo(slice: Slice.Slice, position: number, timestamp: number | undefined): void {
    const log = this.#log(slice)
    this.#next[log] = position + 1
    if (timestamp === undefined) return
    this.#positions[log] = position
    this.#timestamps[log] = timestamp
  }

  /**
   * The position that comes next in the log. Undefined if any may, as the log is read from a time on and nothing is
   * known of it.
   */
  next(slice: Slice.Slice): number | undefined {
    const next = this.#next[this.#log(slice)]!
    return next === anywhere ? undefined : next
  }

  /** Sets what comes next in the log, to what {@link LogCursor.next} has returned before or elsewhere. The offset stays where it is. */
  setNext(slice: Slice.Slice, next: number | undefined): void {
    this.#next[this.#log(slice)] = next ?? anywhere
  }

  /**
   * The last position of the log that is known with its timestamp: it was read, or is older than the time to read from.
   * 0 if there is none.
   */
  position(slice: Slice.Slice): number {
    return this.#positions[this.#log(slice)]!
  }

  /** The timestamp at `position`; 0 if that is 0. */
  timestamp(slice: Slice.Slice): number {
    return this.#timestamps[this.#log(slice)]!
  }

  /** The time from which the log is read; 0 if it is read from a position on. */
  since(slice: Slice.Slice): number {
    return this.#since[this.#log(slice)]!
  }

  /** The offset to open another reader of the log at. */
  offset(slice: Slice.Slice): Offset.Offset {
    const log = this.#log(slice)
    const since = this.#since[log]!
    const timestamp = this.#timestamps[log]!
    return timestamp < since
      ? { position: 0, timestamp: since } as Offset.Offset
      : { position: this.#positions[log]!, timestamp } as Offset.Offset
  }

  /** The offsets to open another reader of the logs at, for each log that is not read from its beginning. */
  offsets(): Offset.Offsets {
    const offsets = new Map<Slice.Slice, Offset.Offset>()
    for (const slice of SliceRange.slices(this.range)) {
      const offset = this.offset(slice)
      if (offset.position > 0 || offset.timestamp > 0) offsets.set(slice, offset)
    }
    return offsets
  }

  /**
   * Goes back to the offsets, after which another reader goes on. Ranges that were skipped without a timestamp come
   * again.
   */
  reopen(): void {
    for (let log = 0; log < this.#next.length; log++) {
      const position = this.#positions[log]!
      this.#next[log] = position === 0 && this.#since[log]! > 0 ? anywhere : position + 1
    }
  }

  /** Moves to where another cursor of the same range stands. */
  set(other: LogCursor): void {
    this.#positions.set(other.#positions)
    this.#timestamps.set(other.#timestamps)
    this.#next.set(other.#next)
    this.#since.set(other.#since)
  }

  #log(slice: Slice.Slice): number {
    const log = slice - this.#min
    if (log >= 0 && log < this.#next.length) return log
    throw new RangeError(`slice ${slice} is not in ${SliceRange.format(this.range)}`)
  }
}
