/**
 * The workers of projections that run in this process, by the name of their projection and their slices. Workers come and go.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { Offsets } from "./Offset.ts"
import type { OffsetKey, OffsetsDeleted } from "./OffsetStore.ts"
import { ProjectionAlreadyRuns, type SourceFailed } from "./ProjectionError.ts"
import * as SliceRange from "./SliceRange.ts"
import type { StorageError } from "./StorageError.ts"
import type { WorkerStatus } from "./WorkerStatus.ts"

/**
 * A worker as others see it.
 *
 * @category models
 * @since 0.1.0
 */
export interface RegisteredWorker {
  readonly key: OffsetKey
  readonly range: SliceRange.SliceRange
  readonly status: WorkerStatus
  /** Ends when the status is such, or the worker has ended. */
  readonly until: (predicate: (status: WorkerStatus) => boolean) => Effect.Effect<WorkerStatus>
  /** Whether there is a command that the worker has yet to read, such as to go on. */
  readonly hasNewCommand: Effect.Effect<boolean, StorageError>
  /** Asks the source for its newest positions in the worker's range. */
  readonly heads: Effect.Effect<Offsets, SourceFailed>
  /** Asks the store for the offsets in the worker's range, and the revision as of which they were set. */
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
  /** The workers of a projection, in the order of their slices; none if it does not run. */
  readonly workers: (projection: string) => ReadonlyArray<RegisteredWorker>
  /**
   * Adds a worker for as long as the scope, and returns what the workers of its projection share: the first one makes it, and it is released with
   * the last. Dies with `ProjectionAlreadyRuns` if another worker works on one of the slices.
   */
  readonly join: <A, R>(
    worker: RegisteredWorker,
    shared: Effect.Effect<A, never, R>
  ) => Effect.Effect<A, never, R | Scope.Scope>
}

interface Running {
  readonly source: string
  readonly workers: ReadonlyArray<RegisteredWorker>
  readonly scope: Scope.Closeable
  readonly shared: Effect.Effect<any, never, any>
}

/**
 * No workers yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): ProjectionRegistry => {
  const running = new Map<string, Running>()

  /** The projection with one more worker; `added` says what its workers share if it is the first. */
  const add = (worker: RegisteredWorker, added: Pick<Running, "scope" | "shared">): Running => {
    const { projection, source } = worker.key
    const { workers, ...found } = running.get(projection) ?? { source, workers: [], ...added }
    const other = workers.find(({ range }) => found.source !== source || SliceRange.overlaps(range, worker.range))
    if (other !== undefined) throw new ProjectionAlreadyRuns({ projection, range: other.range })
    const joined = { ...found, workers: [...workers, worker].toSorted((a, b) => a.range.min - b.range.min) }
    running.set(projection, joined)
    return joined
  }

  const remove = (worker: RegisteredWorker): Effect.Effect<void> =>
    Effect.suspend(() => {
      const { projection } = worker.key
      const found = running.get(projection)!
      const workers = found.workers.filter((other) => other !== worker)
      if (workers.length > 0) {
        running.set(projection, { ...found, workers })
        return Effect.void
      }
      running.delete(projection)
      return Scope.close(found.scope, Exit.void)
    })

  return {
    workers: (projection) => running.get(projection)?.workers ?? [],
    join: (worker, shared) =>
      Effect.gen(function*() {
        const scope = Scope.makeUnsafe()
        // whole, as others wait for it, too
        const once = yield* Effect.cached(Effect.uninterruptible(Scope.provide(shared, scope)))
        const joined = yield* Effect.acquireRelease(
          Effect.sync(() => add(worker, { scope, shared: once })),
          () => remove(worker)
        )
        return yield* joined.shared
      })
  }
}

/**
 * The registry of this process. Provide another one where several projections of a name must not meet.
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
