/**
 * How the workers of projections are doing, in this process.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import * as Metric from "effect/Metric"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { projectionLag } from "./Metrics.ts"
import * as Offset from "./Offset.ts"
import type { OffsetsDeleted } from "./OffsetStore.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"
import type { SliceRange } from "./SliceRange.ts"
import type { StorageError } from "./StorageError.ts"

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
  /** The revision as of which the offsets were set that it has begun from last; undefined before the first time. */
  readonly revision: number | undefined
  /** The offsets as it has stored them last. */
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
  /** Ends when the status is such, and fails when the projection has ended before. */
  readonly until: (
    predicate: (status: WorkerStatus) => boolean
  ) => Effect.Effect<WorkerStatus, ProjectionNotRunning>
  /** Whether the projection was told something that the worker has yet to heed, such as to go on. */
  readonly isTold: Effect.Effect<boolean, StorageError>
  /** Asks the source for its newest positions in the worker's range. */
  readonly heads: Effect.Effect<Offset.Offsets, SourceFailed>
  /** Asks the store for the offsets in the worker's range, and the revision as of which they were set. */
  readonly stored: Effect.Effect<
    Pick<WorkerStatus, "revision" | "offsets">,
    SourceFailed | OffsetsDeleted | StorageError
  >
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
 * The source of a projection could not be asked how far it is.
 *
 * @category errors
 * @since 0.1.0
 */
export class SourceFailed extends Schema.TaggedError<SourceFailed>("@sluice/core/SourceFailed")("SourceFailed", {
  projection: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `The source of projection '${this.projection}' cannot be asked how far it is: ${textOf(this.cause)}`
  }
}

/**
 * A worker of the projection has stopped, and waits for a person. The event is the one that it has stopped at, if it was one; the cause is why.
 *
 * @category errors
 * @since 0.1.0
 */
export class WorkerStopped extends Schema.TaggedError<WorkerStopped>("@sluice/core/WorkerStopped")("WorkerStopped", {
  projection: Schema.String,
  range: Schema.Struct({ min: Schema.Int, max: Schema.Int }),
  event: Schema.UndefinedOr(Schema.Struct({ persistenceId: Schema.String, sequenceNumber: Schema.Int })),
  cause: Schema.Defect()
}) {
  override get message(): string {
    const at = this.event === undefined ? "" : ` at event ${this.event.sequenceNumber} of '${this.event.persistenceId}'`
    return `The worker of projection '${this.projection}' for the slices ${this.range.min}-${this.range.max} has stopped${at}: ` +
      textOf(this.cause)
  }
}

const textOf = (cause: unknown): string =>
  typeof cause === "string"
    ? cause
    : Predicate.hasProperty(cause, "message")
    ? String(cause.message)
    : Formatter.format(cause)

/**
 * A projection of this name runs in this process already. Stop that one first, or give one of the two another name; where the two are of
 * different storages, give each a {@link Registry} of its own. A defect, as it is a mistake of the program.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProjectionAlreadyRuns
  extends Schema.TaggedError<ProjectionAlreadyRuns>("@sluice/core/ProjectionAlreadyRuns")("ProjectionAlreadyRuns", {
    projection: Schema.String
  })
{
  override get message(): string {
    return `A projection '${this.projection}' runs in this process already: the two would have the same offsets. Give each a name of its own`
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
 * How many events a projection of this process is behind its source, exactly: what lies between the offsets that are stored now, also right
 * after a rewind, and the newest positions of the source.
 *
 * @category getters
 * @since 0.1.0
 */
export const lag = (
  projection: string
): Effect.Effect<number, ProjectionNotRunning | SourceFailed | OffsetsDeleted | StorageError> =>
  Effect.flatMap(running(projection), (workers) =>
    Effect.map(
      Effect.forEach(workers, (worker) =>
        // the source after the store, or events between the two would not be counted
        Effect.flatMap(
          worker.stored,
          ({ offsets }) => Effect.map(worker.heads, (heads) => Offset.lag(heads, offsets))
        )),
      (lags) => lags.reduce((sum, lag) => sum + lag, 0)
    )).pipe(
      Effect.tap((lag) => Metric.update(Metric.withAttributes(projectionLag, { projection }), lag))
    )

/**
 * Waits until a projection of this process has processed, and stored, every event that its source has now; after a rewind, from where it
 * was rewound to. Fails when a worker stops before, and with `ProjectionNotRunning` when the projection ends before.
 *
 * **When to use**
 *
 * In tests, instead of waiting for time to pass.
 *
 * @category running
 * @since 0.1.0
 */
export const caughtUp = (
  projection: string
): Effect.Effect<void, ProjectionNotRunning | SourceFailed | WorkerStopped | OffsetsDeleted | StorageError> =>
  Effect.flatMap(
    running(projection),
    (workers) => Effect.forEach(workers, workerCaughtUp, { discard: true, concurrency: "unbounded" })
  )

const workerCaughtUp = Effect.fnUntraced(function*(
  worker: Worker
): Effect.fn.Return<void, ProjectionNotRunning | SourceFailed | WorkerStopped | OffsetsDeleted | StorageError> {
  const heads = yield* worker.heads
  const orStopped = Effect.fnUntraced(function*(
    predicate: (status: WorkerStatus) => boolean
  ): Effect.fn.Return<WorkerStatus, ProjectionNotRunning | WorkerStopped | StorageError> {
    while (true) {
      const status = yield* worker.until((status) => status.state === "Stopped" || predicate(status))
      if (status.state !== "Stopped") return status
      const isTold = yield* worker.isTold
      const goesOn = ({ failure, state }: WorkerStatus) => state !== "Stopped" || failure !== status.failure
      if (!isTold && !goesOn(worker.status)) return yield* stoppedAs(status)
      yield* worker.until(goesOn)
    }
  })
  while (true) {
    const { revision } = yield* orStopped(({ offsets, revision, state }) =>
      revision !== undefined && state !== "Starting" && Offset.lag(heads, offsets) === 0
    )
    // it may have been rewound, and not know it yet
    if ((yield* worker.stored).revision === revision) return
    yield* orStopped((status) => status.revision !== revision)
  }
})

const stoppedAs = ({ failure, projection, range }: WorkerStatus): WorkerStopped =>
  new WorkerStopped({ projection, range, event: failure!.event, cause: Cause.squash(failure!.cause) })
