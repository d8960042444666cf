import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { describe as describeDelivery } from "../../DeliveryGuarantee.ts"
import type { SourceProjection } from "../../ProjectionDefinition.ts"
import * as SliceRange from "../../SliceRange.ts"
import { describe } from "../../Source.ts"
import * as Timestamp from "../../Timestamp.ts"
import type { WorkerStatus } from "../../WorkerStatus.ts"

/** @internal Says in one line what runs, and where it begins, once its workers know that. */
export const announce = (
  projection: SourceProjection<any, any>,
  statuses: ReadonlyArray<WorkerStatus>
): Effect.Effect<void> => {
  const { delivery, name, source } = projection
  const workers = statuses.length === 1 ? "1 worker" : `${statuses.length} workers`
  const slices = covered(statuses.map(({ range }) => range))
  return Effect.logInfo(
    `Runs projection '${name}': ${describe(source)}, ${describeDelivery(delivery)}, ${workers} of slices ${slices}, ${
      beginning(statuses)
    }`
  ).pipe(
    Effect.annotateLogs({ projection: name, source: source.provider.key, slices })
  )
}

/** @internal The ranges, those that adjoin as one. */
export const covered = (ranges: ReadonlyArray<SliceRange.SliceRange>): string => {
  const merged: Array<SliceRange.SliceRange> = []
  for (const range of ranges.toSorted((a, b) => a.min - b.min)) {
    const last = merged.at(-1)
    if (last?.max === range.min - 1) merged[merged.length - 1] = { min: last.min, max: range.max }
    else merged.push(range)
  }
  return merged.map(SliceRange.format).join(", ")
}

const beginning = (statuses: ReadonlyArray<WorkerStatus>): string => {
  if (statuses.every(({ state }) => state === "Paused")) return "paused"
  let positions = 0
  /** Of a source without positions, or where it was told to begin at a time. */
  const times: Array<Timestamp.Timestamp> = []
  for (const { offsets } of statuses) {
    for (const { position, timestamp } of offsets.values()) {
      positions += position
      if (timestamp > 0) times.push(timestamp)
    }
  }
  if (positions > 0) return `from its stored offsets, ${positions} ${positions === 1 ? "position" : "positions"} in`
  if (times.length === 0) return "from the beginning"
  times.sort((a, b) => a - b)
  const [first, last] = [times[0]!, times.at(-1)!].map(format)
  return `from its stored offsets, at ${first === last ? first : `${first} to ${last}`}`
}

const format = (time: Timestamp.Timestamp): string => DateTime.formatIso(DateTime.makeUnsafe(Timestamp.toMillis(time)))
