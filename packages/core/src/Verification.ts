/**
 * Compares what projections have processed with the journals that they read, and repairs what differs.
 *
 * What is compared is what Sluice keeps, the offsets and the last sequence number of each entity, and not the tables that a handler has written.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import { verify as verifyAs } from "./internal/projection/verify.ts"
import type { InvalidInput } from "./InvalidInput.ts"
import type { OffsetsDeleted } from "./OffsetStore.ts"
import type { Projection } from "./ProjectionDefinition.ts"
import type { CommandOptions, UnknownProjection } from "./ProjectionManagement.ts"
import type { SliceRange } from "./SliceRange.ts"
import type { SourceTimeout } from "./Source.ts"
import type { StorageError } from "./StorageError.ts"
import type { Report, VerificationDisturbed, VerificationUnsupported } from "./VerificationReport.ts"

export { VerificationDisturbed, VerificationUnsupported } from "./VerificationReport.ts"
export type { Ahead, Counts, Difference, Missing, Report, SliceReport, Unshown } from "./VerificationReport.ts"

/**
 * What is compared, and what becomes of differences.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends CommandOptions {
  /** The key of one of its sources; all of them if undefined. */
  readonly source?: string | undefined
  /** All slices if undefined. */
  readonly range?: SliceRange | undefined
  /**
   * Whether the projection is to look once more through the parts of slices that have something {@link Missing}, by `by`, for a `reason`. The missing events
   * are handled, whether the handler's tables have them or not.
   */
  readonly repair?: boolean | undefined
  /** How many differences of a source are listed: 1,000 if undefined. All are counted, and repaired. */
  readonly limit?: number | undefined
}

/**
 * What goes wrong when a projection is verified, beside what its sources fail with.
 *
 * @category errors
 * @since 0.1.0
 */
export type VerificationError =
  | UnknownProjection
  | VerificationUnsupported
  | VerificationDisturbed
  | SourceTimeout
  | OffsetsDeleted
  | InvalidInput
  | StorageError

/**
 * Compares a projection with the journals of its sources, slice by slice, up to its stored offsets, and returns a report of each source. The projection
 * may run meanwhile, here or elsewhere, and events may be appended: what was stored when it began is judged.
 *
 * **Details**
 *
 * - A slice that is {@link Ahead}: its offset is not in the journal.
 * - Events that are {@link Missing}, where a filter leaves events out. Then a sequence number is stored of each entity, and the events are compared with
 *   that; and positions that are {@link Unshown}, as the source says nothing of them. Elsewhere the offset is what there is: it is moved by compare-and-set from each event to the next one, which proves that none was passed by.
 *
 * It reads the source from where each slice has left out something first, without payloads where the source is a Sluice producer, and keeps a page of it in memory.
 * The report says of how many events it does not know what has become of them, and why: {@link Counts}.
 *
 * With `repair` the workers look through each slice once more from its first missing event on, beside what is new. What the number of an entity says is
 * handled is not handled again, and what it does not vouch for comes in order. What a change of the filter with the
 * history `"nextEvent"` has included since comes with them. `ProjectionStatus.caughtUp` waits for it.
 *
 * **Gotchas**
 *
 * If the numbers of entities are lost, and the handler's tables are not, a repair has the events handled a second time, also exactly once. So verify without
 * `repair` first, and see what the tables have of the entities that are missing.
 *
 * An event that a producer has hidden from this consumer, and shows now, is missing as well: nobody remembers that here. A later event of the
 * entity that was handled vouches for the ones before it, as one number is kept of each entity.
 *
 * **Example** (Nothing is missing)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage, Projection, ProjectionStatus, Source, Verification } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Notes = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Note, { id: "n-1", events: ["one", "two"] })
 *   yield* Layer.build(Projection.layer(Notes))
 *   yield* ProjectionStatus.caughtUp("notes")
 *   const reports = yield* Verification.verify(Notes, { repair: true, by: "ada", reason: "after the failover" })
 *   return reports.map(({ counts, differences }) => [counts.proven, counts.missing, differences.length])
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer))) // => [[2, 0, 0]]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const verify = <E, R>(
  projection: Projection<E, R>,
  options?: Options
): Effect.Effect<ReadonlyArray<Report>, E | VerificationError, R> =>
  verifyAs(projection, options ?? {}) as Effect.Effect<any, any, any>
