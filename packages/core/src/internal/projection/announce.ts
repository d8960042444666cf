import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { describe as describeDelivery } from "../../DeliveryGuarantee.ts"
import type { SourceProjection } from "../../ProjectionDefinition.ts"
import * as SliceRange from "../../SliceRange.ts"
import { describe } from "../../Source.ts"
import * as Timestamp from "../../Timestamp.ts"
import type { WorkerStatus } from "../../WorkerStatus.ts"

/**
 * @internal
 * Says in one line what runs, and where it begins, once its workers know that; and how many workers there are in all processes, if a placement spreads
 * so many.
 */
export const announce = (
  projection: SourceProjection<any, any>,
  statuses: ReadonlyArray<WorkerStatus>,
  placed?: number
): Effect.Effect<void> => {
  const { beginsAt, delivery, name, source } = projection
  const ranges = statuses.map(({ range }) => range)
  const slices = covered(ranges)
  const workers = placed === undefined
    ? `${count(statuses.length)} of slices ${slices}`
    : `${count(placed)}, ${share(ranges, placed)}`
  const begins = statuses.length === 0 ? "" : `, ${beginning(statuses)}`
  const since = beginsAt === undefined ? "" : `; its beginning is at ${format(beginsAt)}`
  return Effect.logInfo(
    `Runs projection '${name}': ${describe(source)}, ${describeDelivery(delivery)}, ${workers}${begins}${since}`
  ).pipe(
    Effect.annotateLogs({ projection: name, source: source.provider.key, slices })
  )
}

/** @internal A number of workers. */
export const count = (workers: number): string => workers === 1 ? "1 worker" : `${workers} workers`

/** @internal How many of the workers are here, and with which slices. */
export const share = (here: ReadonlyArray<SliceRange.SliceRange>, workers: number): string => {
  if (here.length === 0) return workers === 1 ? "not here" : "none of them here"
  const which = workers === 1 ? "here" : `${here.length === workers ? "all" : here.length} of them here`
  return `${which}, of slices ${covered(here)}`
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
  if (statuses.every(({ state }) => state === "Retired")) {
    return "retired, as another version has taken its place or it was cancelled"
  }
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
