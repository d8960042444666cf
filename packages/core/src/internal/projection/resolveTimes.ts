import * as Effect from "effect/Effect"
import type { Offset, Offsets } from "../../Offset.ts"
import type { Slice } from "../../Slice.ts"
import type { SliceRange } from "../../SliceRange.ts"
import type { Provider } from "../../Source.ts"
import type { Timestamp } from "../../Timestamp.ts"

const isTime = ({ position, timestamp }: Offset): boolean => position === 0 && timestamp > 0

/**
 * @internal
 * Asks the source for the positions of offsets that are only a time, so that the events after them can be counted.
 * Other offsets stay as they are.
 */
export const resolveTimes = <E, R>(
  provider: Provider<any, E, R>,
  range: SliceRange,
  offsets: Offsets
): Effect.Effect<Offsets, E, R> => {
  const times = new Set<Timestamp>()
  for (const offset of offsets.values()) if (isTime(offset)) times.add(offset.timestamp)
  if (times.size === 0) return Effect.succeed(offsets)
  return Effect.map(
    Effect.forEach(times, (time) => Effect.map(provider.before(range, time), (before) => [time, before] as const)),
    (found) => {
      const before = new Map(found)
      const resolved = new Map<Slice, Offset>()
      for (const [slice, offset] of offsets) {
        const place = isTime(offset) ? before.get(offset.timestamp)!.get(slice) : offset
        if (place !== undefined) resolved.set(slice, place)
      }
      return resolved
    }
  )
}
