/**
 * What Sluice counts and measures, as metrics of `effect`: whatever exports those exports these. Each has the attribute that its
 * description names in brackets; `source` is the key of a projection's source.
 *
 * **Example** (How many events a projection has handled)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage, Metrics, Projection, ProjectionStatus, Source } from "@sluice/core"
 * import { Effect, Layer, Metric } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Notes = Source.journal(Note).pipe(Projection.atLeastOnce("metered", () => Effect.void))
 *
 * const of = { projection: "metered", source: "journal:note" }
 * const program = Effect.gen(function*() {
 *   yield* Layer.build(Projection.layer(Notes))
 *   yield* Journal.append(Note, { id: "n-1", events: ["one", "two"] })
 *   yield* ProjectionStatus.caughtUp("metered")
 *   const { count } = yield* Metric.value(Metric.withAttributes(Metrics.projectionHandled, of))
 *   return count
 * }).pipe(Effect.scoped, Effect.provide(MemoryStorage.layer))
 *
 * await Effect.runPromise(program) // => 2
 * ```
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"

const sizes = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
const seconds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]

/**
 * Events that this process has appended (entity_type).
 *
 * @category journal
 * @since 0.1.0
 */
export const journalAppended = Metric.counter("sluice_journal_appended_total", {
  description: "Events that this process has appended",
  incremental: true
})

/**
 * Events that readers of the journal were given from memory, right after their commit (entity_type). Compared with
 * {@link journalRead} it shows how many readers are up to date.
 *
 * @category journal
 * @since 0.1.0
 */
export const journalLive = Metric.counter("sluice_journal_live_total", {
  description: "Events that followers were given from memory",
  incremental: true
})

/**
 * Events that readers of the journal have read from the database (entity_type).
 *
 * @category journal
 * @since 0.1.0
 */
export const journalRead = Metric.counter("sluice_journal_read_total", {
  description: "Events that followers have read from the database",
  incremental: true
})

/**
 * Pages that were read from the database, by readers and by the tail that they share (entity_type).
 *
 * @category journal
 * @since 0.1.0
 */
export const journalPages = Metric.counter("sluice_journal_pages_total", {
  description: "Pages that were read from the database",
  incremental: true
})

/**
 * Events that were handled (projection, source).
 *
 * @category projections
 * @since 0.1.0
 */
export const projectionHandled = Metric.counter("sluice_projection_handled_total", {
  description: "Events that were handled",
  incremental: true
})

/**
 * Events that were skipped or put aside (projection, source).
 *
 * @category projections
 * @since 0.1.0
 */
export const projectionSkipped = Metric.counter("sluice_projection_skipped_total", {
  description: "Events that were skipped or put aside",
  incremental: true
})

/**
 * Those of them that wait as dead letters behind an earlier event of their entity, or were discarded as no more may wait (projection, source).
 *
 * @category projections
 * @since 0.1.0
 */
export const projectionQueued = Metric.counter("sluice_projection_queued_total", {
  description: "Events that wait behind an earlier one of their entity that was put aside",
  incremental: true
})

/**
 * The entities that workers of this process know to be parked, as an event of them was put aside (projection, source). One whose letters were handled since counts until
 * its next event.
 *
 * @category projections
 * @since 0.1.0
 */
export const projectionParked = Metric.counter("sluice_projection_parked", {
  description: "Entities of which an event was put aside"
})

/**
 * How often a worker has started again after a failure (projection, source).
 *
 * @category projections
 * @since 0.1.0
 */
export const projectionRestarts = Metric.counter("sluice_projection_restarts_total", {
  description: "Restarts of workers",
  incremental: true
})

/**
 * How often a worker that is not exactly-once has begun to hand over nothing, as the storage took more than half a second to say whether its filter is the
 * newest (projection, source).
 *
 * @category projections
 * @since 0.1.0
 */
export const projectionFilterWaits = Metric.counter("sluice_projection_filter_waits_total", {
  description: "Waits of workers that cannot tell whether their filter is the newest",
  incremental: true
})

/**
 * How many events a handler was given at a time (projection, source).
 *
 * @category projections
 * @since 0.1.0
 */
export const projectionGroup = Metric.histogram("sluice_projection_group_events", {
  description: "Events that a handler was given at a time",
  boundaries: sizes
})

/**
 * How long it took to store offsets, in seconds; in an exactly-once projection, together with the handler (projection, source).
 *
 * @category projections
 * @since 0.1.0
 */
export const projectionCommit = Metric.histogram("sluice_projection_commit_seconds", {
  description: "Transactions that store offsets, in seconds",
  boundaries: seconds
})

/**
 * How old the last event was when it had been handled, in seconds, by the clocks of the journal and of this process
 * (projection, source).
 *
 * @category projections
 * @since 0.1.0
 */
export const projectionDelay = Metric.gauge("sluice_projection_delay_seconds", {
  description: "Age of the last event when it was handled, in seconds"
})

/**
 * How many events a projection is behind its source, in the slices that workers of this process have, when `ProjectionStatus.lag` was asked last
 * (projection, source).
 *
 * @category projections
 * @since 0.1.0
 */
export const projectionLag = Metric.gauge("sluice_projection_lag_events", {
  description: "Events behind the source, as asked last"
})

/**
 * For how long a projection of a source without positions is behind it, in seconds, in the slices that workers of this process have, when
 * `ProjectionStatus.timeLag` was asked last (projection, source). Infinite while nothing is stored.
 *
 * @category projections
 * @since 0.1.0
 */
export const projectionTimeLag = Metric.gauge("sluice_projection_lag_seconds", {
  description: "Time behind a source without positions, in seconds, as asked last"
})
