/**
 * One worker of a projection: it handles the events of a range of slices, and moves their offsets. Of several sources there is one for each.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Running from "./internal/projection/running.ts"
import type { Projection } from "./ProjectionDefinition.ts"
import type { SliceRange } from "./SliceRange.ts"

/**
 * A description of a worker. Nothing runs until {@link run} or {@link start}.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProjectionWorker<out E, out R> {
  readonly projection: Projection<E, R>
  readonly range: SliceRange
}

/**
 * The worker of a projection for a range of slices.
 *
 * **When to use**
 *
 * If something else than `Projection.layer` decides which slices this process works on. Workers of one projection may
 * run in many processes, if their slices do not overlap. They may come and go while others run. Of a projection of several sources it stands for one
 * worker of each. Commands to scale their projection are nothing to them.
 *
 * **Example** (The lower half of the slices)
 *
 * ```ts
 * import {
 *   EntityType,
 *   EventCodec,
 *   MemoryStorage,
 *   Projection,
 *   ProjectionStatus,
 *   ProjectionWorker,
 *   SliceRange,
 *   Source
 * } from "@sluice/core"
 * import { Effect } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Notes = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))
 *
 * const program = Effect.gen(function*() {
 *   yield* ProjectionWorker.start(ProjectionWorker.make(Notes, SliceRange.make(0, 511)))
 *   yield* ProjectionStatus.caughtUp("notes")
 *   return (yield* ProjectionStatus.status("notes")).map(({ range }) => SliceRange.format(range))
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer))) // => ["0-511"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <E, R>(projection: Projection<E, R>, range: SliceRange): ProjectionWorker<E, R> => ({
  projection,
  range
})

/**
 * Runs workers for as long as the scope. One that stops does so alone, and goes on when its projection is
 * resumed (`ProjectionManagement.resume`). Dies with `ProjectionAlreadyRuns` if another worker of this process works on one of their slices; none of them
 * has begun then.
 *
 * @category running
 * @since 0.1.0
 */
export const start = <E, R>(
  ...workers: ReadonlyArray<ProjectionWorker<E, R>>
): Effect.Effect<void, never, R | Scope.Scope> => Running.start(workers)

/**
 * Runs workers until one of them stops, and fails as that did. Dies as {@link start} does.
 *
 * @category running
 * @since 0.1.0
 */
export const run = <E, R>(...workers: ReadonlyArray<ProjectionWorker<E, R>>): Effect.Effect<never, E, R> =>
  Running.run(workers)
