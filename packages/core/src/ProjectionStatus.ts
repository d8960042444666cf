/**
 * How the workers of projections are doing, in this process.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import { projectionLag } from "./Metrics.ts"
import * as Offset from "./Offset.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"
import type { SliceRange } from "./SliceRange.ts"

/**
 * `Restarting` waits before it opens its source again, or is cut off from it; `Stopped` has met a poison event, or a journal that its offsets
 * do not belong to, and needs a person, and then to be told to go on.
 *
 * @category models
 * @since 0.1.0
 */
export type WorkerState = "Starting" | "Running" | "Paused" | "Restarting" | "Stopped"

/**
 * Why a worker is restarting or stopped, and at which event, where it was one.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkerFailure {
  readonly cause: Cause.Cause<unknown>
  readonly event: { readonly persistenceId: PersistenceId; readonly sequenceNumber: SequenceNumber } | undefined
}

/**
 * How a worker is doing, and how far it has come.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkerStatus {
  readonly projection: string
  readonly range: SliceRange
  readonly state: WorkerState
  readonly failure: WorkerFailure | undefined
  /** Envelopes that the handler was done with, since the process began. */
  readonly handled: number
  readonly skipped: number
  /** How often the worker has restarted since the process began. */
  readonly restarts: number
  /** The offsets as stored last. */
  readonly offsets: Offset.Offsets
}

/**
 * A worker as the registry knows it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Worker {
  readonly status: WorkerStatus
  /** Ends when the status is such. */
  readonly until: (predicate: (status: WorkerStatus) => boolean) => Effect.Effect<WorkerStatus>
  /** Asks the source for its newest positions in the worker's range. */
  readonly heads: Effect.Effect<Offset.Offsets, unknown>
}

/**
 * The workers of this process by the name of their projection. Provide another one where several must not meet.
 *
 * @category references
 * @since 0.1.0
 */
export const Registry = Context.Reference<Map<string, ReadonlyArray<Worker>>>(
  "@sluice/core/ProjectionStatus/Registry",
  {
    defaultValue: () => new Map()
  }
)

/**
 * No projection of this name runs in this process.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProjectionNotRunning
  extends Schema.TaggedError<ProjectionNotRunning>("@sluice/core/ProjectionNotRunning")("ProjectionNotRunning", {
    projection: Schema.String
  })
{
  override get message(): string {
    return `No projection '${this.projection}' runs in this process`
  }
}

/**
 * The workers of a projection that runs in this process, in the order of their slices; none if it does not.
 *
 * @category getters
 * @since 0.1.0
 */
export const status = (projection: string): Effect.Effect<ReadonlyArray<WorkerStatus>> =>
  Effect.map(Registry, (registry) => (registry.get(projection) ?? []).map((worker) => worker.status))

const running = (projection: string): Effect.Effect<ReadonlyArray<Worker>, ProjectionNotRunning> =>
  Effect.flatMap(Registry, (registry) => {
    const workers = registry.get(projection)
    return workers === undefined ? Effect.fail(new ProjectionNotRunning({ projection })) : Effect.succeed(workers)
  })

/**
 * How many events a projection of this process is behind its source, exactly. Fails as the source does when it cannot
 * be asked.
 *
 * @category getters
 * @since 0.1.0
 */
export const lag = (projection: string): Effect.Effect<number, unknown> =>
  Effect.flatMap(running(projection), (workers) =>
    Effect.map(
      Effect.forEach(workers, (worker) =>
        // before it has started nobody knows how far it is
        Effect.flatMap(
          worker.until(({ state }) => state !== "Starting"),
          () => Effect.map(worker.heads, (heads) => Offset.lag(heads, worker.status.offsets))
        )),
      (lags) => lags.reduce((sum, lag) => sum + lag, 0)
    )).pipe(
      Effect.tap((lag) => Metric.update(Metric.withAttributes(projectionLag, { projection }), lag))
    )

/**
 * Waits until a projection of this process has processed, and stored, every event that its source has now. Fails as a worker
 * does that stops before.
 *
 * **When to use**
 *
 * In tests, instead of waiting for time to pass.
 *
 * @category running
 * @since 0.1.0
 */
export const caughtUp = (projection: string): Effect.Effect<void, unknown> =>
  Effect.flatMap(
    running(projection),
    (workers) =>
      Effect.forEach(workers, (worker) =>
        Effect.flatMap(worker.heads, (heads) =>
          worker.until((status) =>
            status.state === "Stopped" || status.state !== "Starting" && Offset.lag(heads, status.offsets) === 0
          ).pipe(
            Effect.flatMap((status) =>
              status.state === "Stopped" ? Effect.failCause(status.failure!.cause) : Effect.void
            )
          )), { discard: true, concurrency: "unbounded" })
  )
