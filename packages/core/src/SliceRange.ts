/**
 * A run of neighbouring slices: what one worker of a projection, or one stream, is responsible for.
 *
 * @since 0.1.0
 */
import * as Slice from "./Slice.ts"

/**
 * The slices from `min` to `max`, both included.
 *
 * @category models
 * @since 0.1.0
 */
export interface SliceRange {
  readonly min: Slice.Slice
  readonly max: Slice.Slice
}

/**
 * The range from `min` to `max`. Throws a `RangeError` when a bound is no slice, or `min` is above `max`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (min: number, max: number): SliceRange => {
  if (min > max) throw new RangeError(`${min}-${max} is no range of slices: its first is above its last`)
  return { min: Slice.make(min), max: Slice.make(max) }
}

/**
 * All slices.
 *
 * @category constants
 * @since 0.1.0
 */
export const full: SliceRange = make(0, Slice.count - 1)

/**
 * Divides all slices into `n` ranges of equal size, or sizes that differ by one where `n` does not divide 1024. Throws
 * a `RangeError` unless `n` is an integer from 1 to 1024.
 *
 * **Example** (The ranges of four workers)
 *
 * ```ts
 * import { SliceRange } from "@sluice/core"
 *
 * SliceRange.split(4).map(SliceRange.format) // => ["0-255", "256-511", "512-767", "768-1023"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const split = (n: number): ReadonlyArray<SliceRange> => {
  if (!Number.isInteger(n) || n < 1 || n > Slice.count) {
    throw new RangeError(`1024 slices cannot be divided among ${n}: an integer from 1 to 1024`)
  }
  return Array.from(
    { length: n },
    (_, i) => make(Math.floor(i * Slice.count / n), Math.floor((i + 1) * Slice.count / n) - 1)
  )
}

/**
 * Whether a slice is in the range.
 *
 * @category predicates
 * @since 0.1.0
 */
export const contains = (self: SliceRange, slice: Slice.Slice): boolean => slice >= self.min && slice <= self.max

/**
 * Whether a slice is in both ranges.
 *
 * @category predicates
 * @since 0.1.0
 */
export const overlaps = (self: SliceRange, that: SliceRange): boolean => self.min <= that.max && that.min <= self.max

/**
 * The number of slices in the range.
 *
 * @category getters
 * @since 0.1.0
 */
export const size = (self: SliceRange): number => self.max - self.min + 1

/**
 * `min-max`, as in logs and in the keys of projections.
 *
 * @category getters
 * @since 0.1.0
 */
export const format = (self: SliceRange): string => `${self.min}-${self.max}`

/**
 * The slices of the range, in order.
 *
 * @category getters
 * @since 0.1.0
 */
export const slices = (self: SliceRange): ReadonlyArray<Slice.Slice> =>
  Array.from({ length: size(self) }, (_, i) => self.min + i as Slice.Slice)
