import * as Offset from "@sluice/core/Offset"
import type { ReplicaProgress } from "@sluice/grpc/ReplicaProgress"

/** @internal Whether everything of another replica's journal up to there is stored here; and how many events are passed, and how many there are. */
export const filledOf = (
  heads: Offset.Offsets,
  { incomplete, offsets }: Pick<ReplicaProgress, "incomplete" | "offsets">
) => {
  let isFilled = true
  let [passed, all] = [0, 0]
  for (const [slice, { position, timestamp }] of heads) {
    const stored = offsets.get(slice) ?? Offset.beginning
    all += position
    passed += Math.min(position, stored.position)
    // a plain Akka producer tells times, and no positions
    const isPast = position === 0 ? stored.timestamp >= timestamp : stored.position >= position
    isFilled &&= isPast && !incomplete.has(slice)
  }
  return { isFilled, passed, all }
}
