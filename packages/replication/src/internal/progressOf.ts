import { ConsumerFilter } from "@sluice/core/ConsumerFilter"
import type { EventFilter } from "@sluice/core/EventFilter"
import type { HeartbeatStore } from "@sluice/core/HeartbeatStore"
import type { Offset } from "@sluice/core/Offset"
import { type Progress, ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import type { ReplicaProgress } from "@sluice/grpc/ReplicaProgress"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { projectionName } from "./projectionName.ts"

type Worker = ProjectionStatus.ReportedWorker

/** The projection's workers, in whatever process; none where it was never started. */
const workersOf = (name: string) =>
  Effect.map(
    Effect.catchTag(ProjectionStatus.everywhere(name), "UnknownProjection", () => Effect.succeed([])),
    withoutThoseBefore
  )

/** Without those of a process that was killed, whose sources have other names than those that are read now. */
const withoutThoseBefore = (workers: ReadonlyArray<Worker>): ReadonlyArray<Worker> => {
  const alive = new Set(workers.flatMap(({ source, state }) => state === "Unknown" ? [] : [source]))
  return alive.size === 0 ? workers : workers.filter(({ source }) => alive.has(source))
}

/** From what says least to what says most. */
const byMeaning: ReadonlyArray<Worker["state"]> = [
  "Stopped",
  "Unknown",
  "Retired",
  "Ended",
  "Paused",
  "Restarting",
  "Disrupted",
  "Fenced",
  "Starting",
  "CatchingUp",
  "Running"
]

/** @internal What the workers do, as the least of them. A slice that nobody has is of a worker that nobody knows. */
export const leastOf = (workers: ReadonlyArray<Pick<Worker, "range" | "state">>): Worker["state"] => {
  let least = byMeaning.length - 1
  for (const { state } of workers) least = Math.min(least, byMeaning.indexOf(state))
  const isTaken = (slice: Slice.Slice) => workers.some(({ range }) => SliceRange.contains(range, slice))
  const isWhole = SliceRange.slices(SliceRange.full).every(isTaken)
  return isWhole ? byMeaning[least]! : least === 0 ? "Stopped" : "Unknown"
}

/** Those that are read. Where a replica gets more or less by way of another one than before, it has read other sources before. */
const readNow = (all: ReadonlyArray<Progress>, workers: ReadonlyArray<Worker>): ReadonlyArray<Progress> => {
  const read = all.filter(({ source }) => workers.some((worker) => worker.source === source))
  return read.length > 0 ? read : all
}

/** @internal How far this replica has stored the events of another one, and how soon it will have all at its pace. */
export interface OwnProgress extends Omit<ReplicaProgress, "others" | "filter"> {
  /** The keys of the sources that are read. */
  readonly sources: ReadonlyArray<string>
  readonly eta: Duration.Duration | undefined
}

/** @internal As the database says, whichever process consumes the other one. */
export const progressOf = (
  entityType: string,
  self: string,
  remote: string
): Effect.Effect<OwnProgress, StorageError, ProjectionManagement | HeartbeatStore> =>
  Effect.gen(function*() {
    const projection = projectionName(entityType, self, remote)
    const { letterCounts, parked, progress } = yield* ProjectionManagement
    const workers = yield* workersOf(projection)
    const sources = readNow(yield* progress(projection, SliceRange.slices(SliceRange.full)), workers)
    // where it is not known which is read, all of them have to be as far
    const offsets = new Map<Slice.Slice, Offset>()
    const incomplete = new Set<Slice.Slice>()
    let waiting = 0
    for (const [slice, { offset, pastLag }] of sources[0]?.slices ?? []) {
      const all = sources.map(({ slices }) => slices.get(slice)?.offset)
      const least = all.reduce((a, b) => a && b && b.position < a.position ? b : a && b && a, offset)
      if (least !== undefined && least.position > 0) offsets.set(slice, least)
      if (pastLag > 0) incomplete.add(slice)
    }
    // after the offsets, as what is put aside is so before the offset goes past it
    for (const { source } of sources) {
      const key = { projection, source }
      const { failed, queued } = yield* letterCounts(key)
      waiting += failed + queued
      if (failed + queued === 0) continue
      for (const persistenceId of yield* parked(key, SliceRange.full)) {
        incomplete.add(Slice.ofPersistenceId(persistenceId))
      }
    }
    const journals = new Set(sources.map(({ journal }) => journal))
    const etas = workers.map(({ eta, lag }) => lag === 0 ? Duration.zero : eta)
    return {
      sources: sources.map(({ source }) => source),
      journal: journals.size === 1 ? sources[0]!.journal : undefined,
      offsets,
      incomplete,
      waiting,
      state: leastOf(workers),
      eta: etas.length === 0 || etas.includes(undefined)
        ? undefined
        : etas.reduce((a, b) => Duration.isGreaterThan(a!, b!) ? a : b)
    }
  })

/** @internal The filter that one of the sources has now, if any has one. */
export const filterOf = (
  sources: ReadonlyArray<string>
): Effect.Effect<EventFilter | undefined, StorageError, ConsumerFilter> =>
  Effect.gen(function*() {
    const { find } = yield* ConsumerFilter
    for (const source of sources) {
      const version = yield* find(source)
      if (version !== undefined) return version.filter
    }
    return undefined
  })

/** @internal The same, for other replicas to ask for, and which ones this one consumes. */
export const progressFor = (
  entityType: string,
  self: string,
  replicas: ReadonlyArray<string>,
  asking: string
): Effect.Effect<ReplicaProgress, StorageError, ProjectionManagement | HeartbeatStore | ConsumerFilter> =>
  Effect.gen(function*() {
    const { eta: _, sources, ...progress } = yield* progressOf(entityType, self, asking)
    const others = yield* Effect.filter(
      replicas.filter((id) => id !== self),
      (id) => Effect.map(workersOf(projectionName(entityType, self, id)), (workers) => workers.length > 0)
    )
    return { ...progress, others, filter: yield* filterOf(sources) }
  })
