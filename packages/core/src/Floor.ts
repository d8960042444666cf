/**
 * The floor of a log, up to which its events were deleted, and what it means for readers.
 *
 * @since 0.1.0
 */
import { JournalForked, OffsetBelowFloor } from "./JournalError.ts"
import type { Offset, Offsets } from "./Offset.ts"
import type { Slice } from "./Slice.ts"
import * as SliceRange from "./SliceRange.ts"
import type { Timestamp } from "./Timestamp.ts"

const beginning = { position: 0, timestamp: 0 } as Offset

/**
 * Whether events that a reader at the offset has yet to see may have been deleted.
 *
 * **Example** (Before, at, and after the floor)
 *
 * ```ts
 * import { Floor, Offset } from "@sluice/core"
 *
 * const floor = Offset.make(7, 7000)
 * const isBelow = (offset: Offset.Offset) => Floor.isBelow(offset, floor)
 * const answers = [Offset.make(6, 6000), Offset.make(7, 7000), Offset.make(0, 0), Offset.make(0, 7001)].map(isBelow)
 * answers // => [true, false, true, false]
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const isBelow = (offset: Offset, floor: Offset): boolean =>
  offset.position > 0 ? offset.position < floor.position : offset.timestamp <= floor.timestamp

/**
 * The offsets, with those below a floor raised to it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const raise = (offsets: Offsets, floors: Offsets): Offsets => {
  const raised = new Map(offsets)
  for (const [slice, floor] of floors) {
    if (isBelow(raised.get(slice) ?? beginning, floor)) raised.set(slice, floor)
  }
  return raised
}

/**
 * The error of a reader that cannot begin at `start`, if there is one. `timestampAt` returns the timestamp of the event
 * at a position, or undefined if there is none.
 *
 * @category getters
 * @since 0.1.0
 */
export const check = (options: {
  readonly entityType: string
  readonly range: SliceRange.SliceRange
  readonly start: Offsets
  readonly floors: Offsets
  readonly timestampAt: (slice: Slice, position: number) => Timestamp | undefined
}): JournalForked | OffsetBelowFloor | undefined => {
  const { entityType, floors, range, start, timestampAt } = options
  for (const [slice, floor] of floors) {
    if (!SliceRange.contains(range, slice)) continue
    const offset = start.get(slice) ?? beginning
    if (isBelow(offset, floor)) return new OffsetBelowFloor({ entityType, slice, offset, floor })
  }
  for (const [slice, offset] of start) {
    if (!SliceRange.contains(range, slice) || offset.position === 0) continue
    const floor = floors.get(slice)
    const timestamp = floor?.position === offset.position ? floor.timestamp : timestampAt(slice, offset.position)
    if (timestamp !== offset.timestamp) return new JournalForked({ entityType, slice, offset })
  }
  return undefined
}
