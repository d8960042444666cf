/**
 * Which workers of a projection run in this process.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Stream from "effect/Stream"

/**
 * Spreads the workers of projections over processes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Placement {
  /**
   * Which of a projection's `workers`, 0 to `workers - 1`, run in this process: emitted at once and whenever that changes. Worker `i` has the range
   * `SliceRange.split(workers)[i]`.
   *
   * **Details**
   *
   * It never ends, and never fails: what goes wrong is the placement's to mend, while the last set stands. If it ends or dies nevertheless, that is logged,
   * the workers run on, and it is asked again. Two processes may have the same worker for a while: each of them then finds
   * that it is fenced, and nothing is handled twice exactly once.
   *
   * The stream is asked for its next set once the last one is done: the workers that are not in it have ended what they had in hand and stored their
   * offsets, or have had 2 seconds for that. Where other processes get these workers only then, nothing is repeated for it, unless a handler takes
   * longer. So do not read ahead, as `Stream.buffer` does, and of several changes emit the newest set only.
   *
   * It is run once for each projection and number of workers, and interrupted when the projection gets another number or ends. Before that it is run for
   * the new number: the old workers run on until that has emitted.
   */
  readonly assigned: (projection: string, workers: number) => Stream.Stream<ReadonlySet<number>>
}

/**
 * Where `Projection.layer` and `Projection.run` have workers run: all of them in this process, unless another placement is provided, such as
 * that of `@sluice/cluster`.
 *
 * **Example** (Every second worker)
 *
 * ```ts
 * import { EntityType, EventCodec, MemoryStorage, Placement, Projection, ProjectionStatus, SliceRange, Source } from "@sluice/core"
 * import { Effect, Layer, Stream } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Notes = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void), Projection.workers(4))
 *
 * const Even = Layer.succeed(Placement.Placement, {
 *   assigned: (_, workers) =>
 *     Stream.concat(
 *       Stream.succeed(new Set(Array.from({ length: workers }, (_, i) => i).filter((i) => i % 2 === 0))),
 *       Stream.never
 *     )
 * })
 * const program = Effect.gen(function*() {
 *   yield* Layer.build(Projection.layer(Notes))
 *   yield* ProjectionStatus.caughtUp("notes")
 *   return (yield* ProjectionStatus.status("notes")).map(({ range }) => SliceRange.format(range))
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide([MemoryStorage.layer, Even])))
 * // => ["0-255", "512-767"]
 * ```
 *
 * @category references
 * @since 0.1.0
 */
export const Placement = Context.Reference<Placement>("@sluice/core/Placement", {
  defaultValue: (): Placement => ({
    assigned: (_, workers) =>
      Stream.concat(Stream.succeed(new Set(Array.from({ length: workers }, (_, i) => i))), Stream.never)
  })
})
