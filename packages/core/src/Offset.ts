/**
 * How far a reader has come in a journal, slice by slice.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as Position from "./Position.ts"
import type * as Slice from "./Slice.ts"
import * as SliceRange from "./SliceRange.ts"
import * as Timestamp from "./Timestamp.ts"

/**
 * A place in the log of one slice: the position of the last event read, and that event's timestamp. The position says
 * where to go on. Both together show whether it is still the same log. Position 0 is before the first event that is not
 * older than the timestamp.
 *
 * @category models
 * @since 0.1.0
 */
export interface Offset {
  readonly position: Position.Position
  readonly timestamp: Timestamp.Timestamp
}

/**
 * A place in the log of one slice, as a schema.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Offset: Schema.Codec<Offset, { readonly position: number; readonly timestamp: number }> = Schema.Struct({
  position: Position.Position,
  timestamp: Timestamp.Timestamp
})

/**
 * An offset per slice. Of a slice that is missing, nothing was read.
 *
 * @category models
 * @since 0.1.0
 */
export type Offsets = ReadonlyMap<Slice.Slice, Offset>

/**
 * Before the first event of any log.
 *
 * @category constants
 * @since 0.1.0
 */
export const none: Offsets = new Map()

/**
 * Before the first event of a log.
 *
 * @category constants
 * @since 0.1.0
 */
export const beginning: Offset = { position: Position.make(0), timestamp: Timestamp.make(0) }

/**
 * The newest timestamp of any log; 0 where there is none.
 *
 * @category getters
 * @since 0.1.0
 */
export const newest = (offsets: Iterable<Offset>): number => {
  let newest = 0
  for (const { timestamp } of offsets) if (timestamp > newest) newest = timestamp
  return newest
}

/**
 * An offset from plain numbers. Throws a `RangeError` for what is no safe integer from 0.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (position: number, timestamp: number): Offset => ({
  position: Position.make(position),
  timestamp: Timestamp.make(timestamp)
})

/**
 * Before the first events that are not older than a time, in each slice of the range; of all slices by default.
 *
 * @category constructors
 * @since 0.1.0
 */
export const since = (timestamp: Timestamp.Timestamp, range: SliceRange.SliceRange = SliceRange.full): Offsets => {
  const offset = make(0, timestamp)
  return new Map(Array.from(SliceRange.slices(range), (slice) => [slice, offset]))
}

/**
 * How many events lie between the offsets and the heads of the same logs: the exact lag of a reader.
 *
 * **Example** (Two slices, one of them not read at all)
 *
 * ```ts
 * import { Offset, Slice } from "@sluice/core"
 *
 * const heads = new Map([[Slice.make(1), Offset.make(10, 5000)], [Slice.make(2), Offset.make(4, 5001)]])
 * const offsets = new Map([[Slice.make(1), Offset.make(7, 4000)]])
 * Offset.lag(heads, offsets) // => 7
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const lag = (heads: Offsets, offsets: Offsets): number => {
  let events = 0
  for (const [slice, head] of heads) events += Math.max(0, head.position - (offsets.get(slice)?.position ?? 0))
  return events
}
