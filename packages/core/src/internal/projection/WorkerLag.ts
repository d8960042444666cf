import * as Offset from "../../Offset.ts"
import type { WorkerReading } from "../../ProjectionRegistry.ts"
import type { SliceRange } from "../../SliceRange.ts"
import * as inTime from "./inTime.ts"

/** @internal How far a worker is behind its source: in events, and for how many milliseconds at most, where each is known. */
export interface Lag {
  readonly events: number | undefined
  readonly millis: number | undefined
}

/** @internal */
export const unknownLag: Lag = { events: undefined, millis: undefined }

/** @internal Whether a worker knows where it stands: not before it has begun, nor while another worker moves its offsets. */
export const knowsPlace = ({ revision, state }: WorkerReading["status"]): boolean =>
  revision !== undefined && state !== "Starting" && state !== "Fenced"

/** @internal The lag of a worker by the heads of its source, if it knows where it stands. */
export const lagBehind = (
  heads: Offset.Offsets,
  range: SliceRange,
  status: WorkerReading["status"]
): Lag => {
  if (!knowsPlace(status)) return unknownLag
  const { offsets, waitsFrom } = status
  const newest = inTime.timeOf(heads)
  if (newest !== undefined) return { events: undefined, millis: between(inTime.readUpTo(offsets, waitsFrom), newest) }
  let events = 0
  let head = 0
  for (const [slice, { position, timestamp }] of heads) {
    if (slice < range.min || slice > range.max) continue
    events += Math.max(0, position - (offsets.get(slice)?.position ?? 0))
    head = Math.max(head, timestamp)
  }
  return { events, millis: events === 0 ? 0 : between(Offset.newest(offsets.values()), head) }
}

/** Before anything is stored it would be a time since the epoch. */
const between = (from: number, to: number): number | undefined =>
  from === 0 ? undefined : Math.max(0, Math.round((to - from) / 1000))
