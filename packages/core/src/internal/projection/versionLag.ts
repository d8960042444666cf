import type { Offset, Offsets } from "../../Offset.ts"
import type { Progress } from "../../ProjectionManagement.ts"
import type { Timestamp } from "../../Timestamp.ts"
import * as inTime from "./inTime.ts"

/** @internal Where a source of a projection is. */
export interface Ends {
  readonly source: string
  readonly heads: Offsets
}

/**
 * @internal
 * How many events a version is behind its sources, by what is stored of it and of what waits in its workers of this process now; infinite if that is not
 * known, or it must not take any place now.
 */
export const versionLag = (
  ends: ReadonlyArray<Ends>,
  progress: ReadonlyArray<Progress>,
  waitsFrom: (source: string) => Timestamp | undefined
): number =>
  ends.reduce((sum, { heads, source }) => {
    const found = progress.find((one) => one.source === source)
    if (found === undefined || found.isPaused || found.hasDeadLetters) return Infinity
    for (const { pastLag } of found.slices.values()) if (pastLag > 0) return Infinity
    const offsets = new Map(Array.from(found.slices, ([slice, { offset }]) => [slice, offset]))
    const time = inTime.timeOf(heads)
    if (time !== undefined) return inTime.hasReached(offsets, time, waitsFrom(source)) ? sum : Infinity
    for (const [slice, head] of heads) sum += behind(head, offsets.get(slice))
    return sum
  }, 0)

/** An offset may be a time alone, to which a projection was rewound. */
const behind = (head: Offset, offset: Offset | undefined): number =>
  offset === undefined
    ? head.position
    : offset.position === 0 && offset.timestamp > head.timestamp
    ? 0
    : Math.max(0, head.position - offset.position)
