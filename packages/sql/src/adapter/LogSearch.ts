/**
 * Finding a time in logs, by binary search: timestamps rise with positions.
 *
 * @since 0.1.0
 */
import type { Offset, Offsets } from "@sluice/core/Offset"
import type { Slice } from "@sluice/core/Slice"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"

/**
 * The last event of each log that is older than a time, as `Journal.before` has it. All logs are searched at once, each
 * query halving what is left of each. So the number of queries is the binary logarithm of the longest log's length.
 *
 * @category getters
 * @since 0.1.0
 */
export const before = Effect.fnUntraced(function*<E>({ floors, heads, time, timestamps }: {
  readonly heads: Offsets
  readonly floors: Offsets
  readonly time: Timestamp
  /** The timestamps of the events at the positions. Positions without an event are left out. */
  readonly timestamps: (
    positions: ReadonlyArray<readonly [Slice, number]>
  ) => Effect.Effect<ReadonlyMap<Slice, Timestamp>, E>
}): Effect.fn.Return<Offsets, E> {
  const found = new Map<Slice, Offset>()
  /** The last event that is known to be older, and the first position that is known not to be. */
  const open = new Map<Slice, { older: Offset; newer: number }>()
  for (const [slice, head] of heads) {
    const floor = floors.get(slice)
    if (head.timestamp < time) found.set(slice, head)
    else if (floor !== undefined && floor.timestamp >= time) {
      found.set(slice, { position: 0, timestamp: time } as Offset)
    } else open.set(slice, { older: floor ?? { position: 0, timestamp: 0 } as Offset, newer: head.position })
  }
  while (open.size > 0) {
    const middles: Array<readonly [Slice, number]> = []
    for (const [slice, { newer, older }] of open) {
      if (newer - older.position > 1) {
        middles.push([slice, older.position + Math.floor((newer - older.position) / 2)])
        continue
      }
      if (older.position > 0) found.set(slice, older)
      open.delete(slice)
    }
    if (middles.length === 0) break
    const known = yield* timestamps(middles)
    for (const [slice, position] of middles) {
      const timestamp = known.get(slice)
      const range = open.get(slice)!
      if (timestamp === undefined) {
        // it has been deleted just now
        found.set(slice, { position: 0, timestamp: time } as Offset)
        open.delete(slice)
      } else if (timestamp < time) range.older = { position, timestamp } as Offset
      else range.newer = position
    }
  }
  return found
})
