/**
 * The workers of projections that run in this process, by the name of their projection and their slices. Workers come and go.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Offsets } from "./Offset.ts"
import type { OffsetKey, OffsetsDeleted } from "./OffsetStore.ts"
import { ProjectionAlreadyRuns, type SourceFailed } from "./ProjectionError.ts"
import * as SliceRange from "./SliceRange.ts"
import type { StorageError } from "./StorageError.ts"
import type { WorkerFailure, WorkerStatus } from "./WorkerStatus.ts"

/**
 * A worker's status, with offsets that move on, for whoever reads it again and again.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkerReading {
  readonly status: WorkerStatus
  /** Differs once the offsets have moved. */
  readonly moves: number
  /** The revision of the offsets with which it has stored one last, or has found nothing to handle; undefined before. */
  readonly takenUp: number | undefined
  /** What it has failed with last, also if it goes on since, and when, in milliseconds of the monotonic clock. */
  readonly lastFailure: { readonly failure: WorkerFailure; readonly at: number } | undefined
}

/**
 * A worker as others see it.
 *
 * @category models
 * @since 0.1.0
 */
export interface RegisteredWorker {
  readonly key: OffsetKey
  /** The keys of all sources of its projection. */
  readonly sources: ReadonlyArray<string>
  readonly range: SliceRange.SliceRange
  readonly status: WorkerStatus
  readonly reading: WorkerReading
  /** Ends when the predicate holds for the status, or the worker has ended. */
  readonly until: (predicate: (status: WorkerStatus) => boolean) => Effect.Effect<WorkerStatus>
  /** Whether there is a command that the worker has not read yet, such as to resume. */
  readonly hasNewCommand: Effect.Effect<boolean, StorageError>
  /** Asks the source for its newest positions in the worker's range. */
  readonly heads: Effect.Effect<Offsets, SourceFailed>
  /** As `heads`, in any range. */
  readonly headsIn: (range: SliceRange.SliceRange) => Effect.Effect<Offsets, SourceFailed>
  /** Workers of one source for which this is the same are told the same heads. */
  readonly headsOf: object
  /** Asks the store for the offsets in the worker's range, and their revision. */
  readonly stored: Effect.Effect<
    Pick<WorkerStatus, "revision" | "offsets">,
    SourceFailed | OffsetsDeleted | StorageError
  >
}

/**
 * The workers of a process.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProjectionRegistry {
  /** The workers of a projection, or of one of its sources, in the order of the sources and their slices; none if it does not run. */
  readonly workers: (projection: string, source?: string) => ReadonlyArray<RegisteredWorker>
  /**
   * The sources of a projection that runs in this process with those workers that a placement gives it, or the one that is asked for: also while that
   * gives it none. Empty if it does not run so.
   */
  readonly placed: (projection: string, source?: string) => ReadonlyArray<string>
  /** Ends once each placement that was asked about the projection has said which workers run here, and they do; at once if none was asked. */
  readonly untilPlaced: (projection: string) => Effect.Effect<void>
  /**
   * Says of a projection that a placement was asked which of its workers run here, for as long as the scope. Returns what is to be run once it has said so, and the
   * projection runs with these.
   */
  readonly place: (
    projection: string,
    sources: ReadonlyArray<string>
  ) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
  /** The workers of all projections that read a source. */
  readonly readers: (source: string) => ReadonlyArray<RegisteredWorker>
  /**
   * Adds workers for as long as the scope, all at once. If another worker works on one of their slices in their source, or is of a projection of the
   * same name that does not read their source, it adds none of them, and dies with `ProjectionAlreadyRuns`.
   */
  readonly join: (workers: ReadonlyArray<RegisteredWorker>) => Effect.Effect<void, never, Scope.Scope>
  /** Removes workers and adds others at the same moment, until they are replaced. It adds and removes none where `join` would add none, and dies. */
  readonly replace: (
    workers: ReadonlyArray<RegisteredWorker>,
    others: ReadonlyArray<RegisteredWorker>
  ) => Effect.Effect<void>
}

/**
 * No workers yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): ProjectionRegistry => {
  let registered: ReadonlyArray<RegisteredWorker> = []
  const placements = new Set<{
    readonly projection: string
    readonly sources: ReadonlyArray<string>
    /** Opened once it has said which workers run here, or is asked no more. */
    readonly isKnown: Latch.Latch
  }>()

  const replaced = (
    workers: ReadonlyArray<RegisteredWorker>,
    others: ReadonlyArray<RegisteredWorker>
  ): void => {
    const added = registered.filter((worker) => !workers.includes(worker))
    for (const worker of others) {
      const other = added.find((other) => excludes(other, worker))
      if (other !== undefined) {
        throw new ProjectionAlreadyRuns({ projection: worker.key.projection, range: other.range })
      }
      added.push(worker)
    }
    registered = added.toSorted((a, b) => placeOf(a) - placeOf(b) || a.range.min - b.range.min)
  }
  const replace: ProjectionRegistry["replace"] = (workers, others) => Effect.sync(() => replaced(workers, others))

  return {
    workers: (projection, source) =>
      registered.filter(({ key }) => key.projection === projection && (source === undefined || key.source === source)),
    placed: (projection, source) =>
      Array.from(placements).flatMap(({ isKnown, ...one }) =>
        one.projection === projection && isKnown.isOpen()
          ? one.sources.filter((key) => source === undefined || key === source)
          : []
      ),
    untilPlaced: (projection) =>
      Effect.suspend(() =>
        Effect.forEach(
          Array.from(placements).filter((one) => one.projection === projection),
          ({ isKnown }) => isKnown.await,
          { discard: true }
        )
      ),
    place: (projection, sources) =>
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => {
            const one = { projection, sources, isKnown: Latch.makeUnsafe() }
            placements.add(one)
            return one
          }),
          (one) =>
            Effect.sync(() => {
              placements.delete(one)
              one.isKnown.openUnsafe()
            })
        ),
        ({ isKnown }) => Effect.asVoid(isKnown.open)
      ),
    readers: (source) => registered.filter(({ key }) => key.source === source),
    replace,
    join: (workers) => Effect.asVoid(Effect.acquireRelease(replace([], workers), () => replace(workers, [])))
  }
}

/** The place of its source in its projection. */
const placeOf = ({ key, sources }: RegisteredWorker): number => sources.indexOf(key.source)

/** Whether two workers must not run at the same time. */
const excludes = (a: RegisteredWorker, b: RegisteredWorker): boolean => {
  if (a.key.projection !== b.key.projection) return false
  if (a.key.source === b.key.source) return SliceRange.overlaps(a.range, b.range)
  return !a.sources.includes(b.key.source) || !b.sources.includes(a.key.source)
}

/**
 * The registry of this process. Provide others if projections of one name must not meet in it.
 *
 * @category references
 * @since 0.1.0
 */
export const ProjectionRegistry = Context.Reference<ProjectionRegistry>("@sluice/core/ProjectionRegistry", {
  defaultValue: make
})

/**
 * A registry of its own, such as for a test.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never> = Layer.sync(ProjectionRegistry, make)
