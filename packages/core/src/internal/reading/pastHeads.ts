import type { Offsets } from "../../Offset.ts"

/**
 * @internal
 * Offsets to read after in the order of time. In a log without an event as young as the time to begin at, reading begins after the
 * newest event. Whatever is committed from now on is new, however old its timestamp.
 */
export const pastHeads = (offsets: Offsets, heads: Offsets): Offsets => {
  const known = new Map(offsets)
  for (const [slice, { position, timestamp }] of offsets) {
    if (position > 0 || timestamp === 0) continue
    const head = heads.get(slice)
    if (head === undefined) known.delete(slice)
    else if (head.timestamp < timestamp) known.set(slice, head)
  }
  return known
}
