/**
 * How the projections of this process are doing.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { projectionLag } from "./Metrics.ts"
import * as Offset from "./Offset.ts"
import type { OffsetsDeleted } from "./OffsetStore.ts"
import { ProjectionNotRunning, type SourceFailed, WorkerStopped } from "./ProjectionError.ts"
import { nameOf, type ProjectionRef } from "./ProjectionRef.ts"
import { ProjectionRegistry, type RegisteredWorker } from "./ProjectionRegistry.ts"
import * as SliceRange from "./SliceRange.ts"
import type { StorageError } from "./StorageError.ts"
import type { WorkerStatus } from "./WorkerStatus.ts"

export { ProjectionAlreadyRuns, ProjectionNotRunning, SourceFailed, WorkerStopped } from "./ProjectionError.ts"
export type { WorkerFailure, WorkerState, WorkerStatus } from "./WorkerStatus.ts"

/**
 * The workers of a projection in this process, in the order of their slices; none if it does not run here. The
 * projection is given by its name, as itself, or as a row of `ProjectionManagement.list`, here as everywhere.
 *
 * @category getters
 * @since 0.1.0
 */
export const status = (projection: ProjectionRef): Effect.Effect<ReadonlyArray<WorkerStatus>> =>
  Effect.map(ProjectionRegistry, (registry) => registry.workers(nameOf(projection)).map((worker) => worker.status))

const running = (projection: string): Effect.Effect<ReadonlyArray<RegisteredWorker>, ProjectionNotRunning> =>
  Effect.flatMap(ProjectionRegistry, (registry) => {
    const workers = registry.workers(projection)
    return workers.length === 0 ? Effect.fail(new ProjectionNotRunning({ projection })) : Effect.succeed(workers)
  })

/**
 * How many events a projection is behind its source, exactly, in the slices that workers of this process have. It
 * counts the positions between the offsets that are stored now and the newest ones of the source, also right after a
 * rewind.
 *
 * @category getters
 * @since 0.1.0
 */
export const lag = (
  projection: ProjectionRef
): Effect.Effect<number, ProjectionNotRunning | SourceFailed | OffsetsDeleted | StorageError> =>
  Effect.flatMap(running(nameOf(projection)), (workers) =>
    Effect.map(
      Effect.forEach(workers, (worker) =>
        // the store is asked first, or events that come between the two answers would not be counted
        Effect.flatMap(
          worker.stored,
          ({ offsets }) => Effect.map(worker.heads, (heads) => Offset.lag(heads, offsets))
        )),
      (lags) => lags.reduce((sum, lag) => sum + lag, 0)
    )).pipe(
      Effect.tap((lag) => Metric.update(Metric.withAttributes(projectionLag, { projection: nameOf(projection) }), lag))
    )

/**
 * Waits until a projection has processed and stored every event that its source has now, in the slices that workers of
 * this process have. After a rewind these are the events from where it was rewound to. Fails when a worker stops
 * before. Fails with `ProjectionNotRunning` when a worker ends before, and no other has its slices. It also waits for
 * workers that are started meanwhile.
 *
 * **When to use**
 *
 * In tests, instead of waiting for time to pass.
 *
 * @category running
 * @since 0.1.0
 */
export const caughtUp = Effect.fnUntraced(function*(
  ref: ProjectionRef
): Effect.fn.Return<void, ProjectionNotRunning | SourceFailed | WorkerStopped | OffsetsDeleted | StorageError> {
  const projection = nameOf(ref)
  const registry = yield* ProjectionRegistry
  const done = new Set<RegisteredWorker>()
  let waiting = yield* running(projection)
  while (waiting.length > 0) {
    const outcomes = yield* Effect.forEach(waiting, workerCaughtUp, { concurrency: "unbounded" })
    waiting.forEach((worker, i) => outcomes[i] === "caught up" && done.add(worker))
    const workers = registry.workers(projection)
    const isLost = ({ range }: RegisteredWorker) =>
      SliceRange.slices(range).some((slice) => !workers.some((worker) => SliceRange.contains(worker.range, slice)))
    if (waiting.some((worker, i) => outcomes[i] === "ended" && isLost(worker))) {
      return yield* new ProjectionNotRunning({ projection })
    }
    waiting = workers.filter((worker) => !done.has(worker))
  }
})

/** As a lag of 0, which is looked for after each commit: so it ends at the first log that is not read to its head. */
const hasReached = (offsets: Offset.Offsets, heads: Offset.Offsets): boolean => {
  for (const [slice, { position }] of heads) if (position > (offsets.get(slice)?.position ?? 0)) return false
  return true
}

const workerCaughtUp = Effect.fnUntraced(function*(
  worker: RegisteredWorker
): Effect.fn.Return<"caught up" | "ended", SourceFailed | WorkerStopped | OffsetsDeleted | StorageError> {
  const heads = yield* worker.heads
  while (true) {
    const { revision, state } = yield* unlessStopped(
      worker,
      ({ offsets, revision, state }) => revision !== undefined && state !== "Starting" && hasReached(offsets, heads)
    )
    if (state === "Ended") return "ended"
    // it may have been rewound without knowing yet
    if ((yield* worker.stored).revision === revision) return "caught up"
    yield* unlessStopped(worker, (status) => status.revision !== revision)
  }
})

/**
 * The worker's status once the predicate holds, or once the worker has ended. Fails when the worker stops without a
 * command to resume.
 */
const unlessStopped = Effect.fnUntraced(function*(
  worker: RegisteredWorker,
  predicate: (status: WorkerStatus) => boolean
): Effect.fn.Return<WorkerStatus, WorkerStopped | StorageError> {
  while (true) {
    const status = yield* worker.until((status) => status.state === "Stopped" || predicate(status))
    if (status.state !== "Stopped") return status
    const goesOn = ({ failure, state }: WorkerStatus) => state !== "Stopped" || failure !== status.failure
    if (!(yield* worker.hasNewCommand) && !goesOn(worker.status)) return yield* stoppedAs(status)
    yield* worker.until(goesOn)
  }
})

const stoppedAs = ({ failure, projection, range }: WorkerStatus): WorkerStopped =>
  new WorkerStopped({ projection, range, event: failure!.event, cause: Cause.squash(failure!.cause) })
