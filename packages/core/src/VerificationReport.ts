/**
 * What comes of comparing a projection with the journal that it reads.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as ExpectedError from "./ExpectedError.ts"
import type { Offset } from "./Offset.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { Position } from "./Position.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"
import type { Slice } from "./Slice.ts"

/**
 * Events of an entity that the projection has gone past, as its offset says, but has neither handled nor left out, as its sequence numbers say. Nothing but
 * the next event of the entity would bring them, or a repair.
 *
 * @category models
 * @since 0.1.0
 */
export interface Missing {
  readonly _tag: "Missing"
  readonly slice: Slice
  readonly persistenceId: PersistenceId
  /**
   * The first and the last sequence number that the filter includes. Of those between them some may be deleted, or left out. With the first, a repair
   * brings those before it as well that the entity's number does not vouch for.
   */
  readonly from: SequenceNumber
  readonly to: SequenceNumber
}

/**
 * The projection has handled events of a slice that the journal does not have: an older backup was restored, or a failover has lost commits. No replay
 * repairs that. `ProjectionManagement.rewind` leads to a place before the loss, or the projection is built anew.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ahead {
  readonly _tag: "Ahead"
  readonly slice: Slice
  /** The offset of the projection. */
  readonly handled: Offset
  /** The newest event of the slice in the journal. Where it is not before the offset, other events stand in the places of those that were handled. */
  readonly head: Offset
}

/**
 * The source has gone past positions of a slice, or ends before them though it says that it has them, and shows neither what stands there nor that it leaves that
 * out, as a source of one's own may that filters without placeholders. Nobody knows whether the projection was to handle it, and no replay brings it: the source is to be mended.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unshown {
  readonly _tag: "Unshown"
  readonly slice: Slice
  /** The first position, and the last one. */
  readonly from: Position
  readonly to: Position
}

/**
 * A difference between a projection and its journal.
 *
 * @category models
 * @since 0.1.0
 */
export type Difference = Missing | Ahead | Unshown

/**
 * What has become of the events up to the offset of a slice. The sum of all is its position, unless the slice is {@link Ahead}: then it is 0.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  /** The offset proves that they were read, each after its predecessor: handled, put aside, dropped by a stage, or jumped over by a rewind. */
  readonly proven: number
  /** The sequence number of their entity says that they were handled, or put aside. */
  readonly handled: number
  /**
   * The filter of the stream leaves them out, or an earlier version of it did; or the producer does not show them to this consumer. Those of them that
   * were handled, as they come before an included event of their entity, are counted here too: the source does not say whose they are.
   */
  readonly leftOut: number
  /** They were deleted from the journal, so that nobody knows whether they were to be handled. */
  readonly deleted: number
  /** A rewind has jumped over them. */
  readonly jumped: number
  /** The projection has yet to look through them once more, after a change of its filter with the history `"now"`, or a repair. */
  readonly pending: number
  /** Those of {@link Missing}. */
  readonly missing: number
  /** Those of {@link Unshown}. */
  readonly unshown: number
}

/**
 * How a slice compares.
 *
 * @category models
 * @since 0.1.0
 */
export interface SliceReport extends Counts {
  readonly slice: Slice
  /** `exact` where the offset alone tells what was read. `perEntity` from the first event on that was left out: then the entities' sequence numbers do. */
  readonly mode: "exact" | "perEntity"
  /** Up to where the slice is judged. */
  readonly offset: Offset
  /** The newest event of the slice in the journal. What is after the offset is not judged. */
  readonly head: Offset
}

/**
 * How a projection compares with the journal of one of its sources.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly projection: string
  readonly source: string
  /** The slices that have events, or an offset. */
  readonly slices: ReadonlyArray<SliceReport>
  /** The first ones, up to the limit that was given. */
  readonly differences: ReadonlyArray<Difference>
  /** Whether there are more differences than are listed. The counts are of all. */
  readonly hasMore: boolean
  /** The sum over all slices. */
  readonly counts: Counts
  /** How many slices the projection looks through once more, since a repair was asked for. */
  readonly repairing: number
}

/**
 * A source has no positions, such as a plain Akka producer: nothing there says which events come before an offset. Nothing was compared.
 *
 * @category errors
 * @since 0.1.0
 */
export class VerificationUnsupported
  extends ExpectedError.TaggedError<VerificationUnsupported>("@sluice/core/VerificationUnsupported")(
    "VerificationUnsupported",
    { projection: Schema.String, source: Schema.String }
  )
{
  override get message(): string {
    return `Projection '${this.projection}' cannot be compared with '${this.source}', which has no positions, such as a plain Akka producer: ` +
      "compare what its handler has written with the producer's own data"
  }
}

/**
 * A projection was rewound, repaired or cleared, or got another filter, each time that it was compared. Nothing came of it: verify it again once nobody
 * commands it.
 *
 * @category errors
 * @since 0.1.0
 */
export class VerificationDisturbed
  extends ExpectedError.TaggedError<VerificationDisturbed>("@sluice/core/VerificationDisturbed")(
    "VerificationDisturbed",
    { projection: Schema.String, source: Schema.String }
  )
{
  override get message(): string {
    return `Projection '${this.projection}' was rewound or cleared, or got another filter, while it was compared with '${this.source}': ` +
      "verify it again when nobody commands it"
  }
}
