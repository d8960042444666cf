/**
 * Which workers of a projection run in this process.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { OffsetKey } from "./OffsetStore.ts"
import type { SliceRange } from "./SliceRange.ts"

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
   * the workers run on, and it is asked again. Two processes may have the same worker for a while: where there is a {@link Placement.lease}, one of them
   * works, and the other waits; without, each of them finds that it is fenced, and nothing is handled twice exactly once.
   *
   * The stream is asked for its next set once the last one is taken up. So do not read ahead, as `Stream.buffer` does, and of several changes emit
   * the newest set only.
   *
   * It is run once for each projection and number of workers, and interrupted when the projection gets another number or ends. Before that it is run for
   * the new number: the old workers run on until that has emitted.
   */
  readonly assigned: (projection: string, workers: number) => Stream.Stream<ReadonlySet<number>>
  /**
   * Leases a range of slices to a worker, for as long as the scope: ends once no worker of another process has any of them, whatever its number of workers.
   * A worker begins with that, and the scope closes when it has ended what it had in hand. Whoever wraps a placement passes it on.
   *
   * **Details**
   *
   * It may be interrupted, and never fails. A process that has died has no leases soon after. Without it, workers of two processes
   * may meet in a slice when one takes it over from the other: at least once, events are repeated then, and at most once, those of an entity may be
   * handled out of order.
   */
  readonly lease?: ((key: OffsetKey, range: SliceRange) => Effect.Effect<RangeLease, never, Scope.Scope>) | undefined
}

/**
 * Slices that no worker of another process works on.
 *
 * @category models
 * @since 0.1.0
 */
export interface RangeLease {
  /** What workers of other processes still have in hand in these slices, as text for a person: they have not ended in time. */
  readonly overdue: ReadonlyArray<string>
  /** Others may have the slices from now on, although the worker still has this in hand, as text for a person. */
  readonly giveUp: (inHand: string) => Effect.Effect<void>
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
