import { newest, type Offsets } from "../../Offset.ts"
import type { Timestamp } from "../../Timestamp.ts"

/** @internal The newest time of a source without positions, if the heads are of one. */
export const timeOf = (heads: Offsets): Timestamp | undefined => {
  for (const { position, timestamp } of heads.values()) return position === 0 ? timestamp : undefined
  return undefined
}

/**
 * @internal
 * Up to which time everything was handled, by the stored offsets of a range. Its slices are read in the order of time, so the newest of them
 * counts for all, except for events that wait.
 */
export const readUpTo = (offsets: Offsets, waitsFrom: Timestamp | undefined): number =>
  Math.min(newest(offsets.values()), waitsFrom === undefined ? Infinity : waitsFrom - 1)

/** @internal Whether everything up to a time was handled. Of several events at that very time some may be yet to come. */
export const hasReached = (offsets: Offsets, time: Timestamp, waitsFrom: Timestamp | undefined): boolean =>
  readUpTo(offsets, waitsFrom) >= time
