/**
 * Keeps how far each projection has come, next to what the projection writes.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as ExpectedError from "./ExpectedError.ts"
import type { HandlerTooSlow } from "./Handler.ts"
import { isIn } from "./LogsIdentity.ts"
import * as Offset from "./Offset.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { Rewind, StoredNumber } from "./Rewind.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"
import { Slice } from "./Slice.ts"
import type { SliceRange } from "./SliceRange.ts"
import type { StorageError } from "./StorageError.ts"
import type { Transaction } from "./Transaction.ts"

/**
 * Names the offsets of a projection in one source. A projection that reads several sources has offsets in each.
 *
 * @category models
 * @since 0.1.0
 */
export interface OffsetKey {
  readonly projection: string
  readonly source: string
}

/**
 * Offsets as they are stored, with the identity of the journal that they were taken in. It is undefined while there are
 * none. If they are of several journals it names them all, and none of them is the right one.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredOffsets {
  /**
   * The revision of its offsets: set when the projection was registered, and raised by each rewind and each change of its filter. Undefined if it is
   * not registered, because it was never started or was cleared.
   */
  readonly revision: number | undefined
  readonly journal: string | undefined
  readonly offsets: Offset.Offsets
  /**
   * The slices that are in the mode per entity, and up to which position each was read completely; of a journal without positions, from which
   * timestamp on each is read. Beyond it, the last sequence number of each entity says what was read.
   */
  readonly completeUpTo: Offset.Offsets
  /** The rewinds of slices that have left something known of their entities, oldest first. */
  readonly rewinds: ReadonlyMap<Slice, ReadonlyArray<Rewind>>
}

/**
 * The identity of the journal that offsets were taken in, from those of each slice, which are empty where it is not known. That of its logs stands for
 * that of the journal, which offsets have that were set by hand.
 *
 * @category constructors
 * @since 0.1.0
 */
export const journalOf = (journals: ReadonlyArray<string>): string | undefined =>
  [...new Set(journals)]
    .filter((journal, _, all) => journal !== "" && !all.some((other) => other !== journal && isIn(other, journal)))
    .join(", ") || undefined

/**
 * What a worker's moves are based on: the revision of its offsets when it loaded them, and the identity of the journal
 * that it reads. The identity is empty if it is not known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Basis {
  readonly revision: number
  readonly journal: string
}

/**
 * Moves the offset of one slice from where its worker has left it, undefined before the first event, to another place.
 *
 * @category models
 * @since 0.1.0
 */
export interface Move {
  readonly slice: Slice
  readonly from: Offset.Offset | undefined
  readonly to: Offset.Offset
  /**
   * What was handled of entities, if the slice is in the mode per entity. The last number of each is stored. An entity
   * of which the first, or a later one, is stored already, and since its slice was last set back, was handled by another
   * worker: the move is refused. The first such move of a slice also stores that everything up to `from` was read.
   */
  readonly entities?: ReadonlyMap<PersistenceId, Handled> | undefined
}

/**
 * The events of one entity that were handled since its last sequence number was stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handled {
  readonly first: SequenceNumber
  readonly last: SequenceNumber
}

/**
 * Whether a move leads back to the beginning of its slice. It clears the sequence numbers of the slice's entities, its
 * rewinds, and what a filter has passed over in it, and the slice is in exact mode again.
 *
 * @category guards
 * @since 0.1.0
 */
export const beginsAnew = ({ entities, to }: Move): boolean =>
  to.position === 0 && to.timestamp === 0 && entities === undefined

/**
 * What a worker knows of its next transaction while it is in one. A store may begin the next together with the commit of this one, and make its moves in it, which saves a
 * round trip. What has begun so holds locks: the store rolls it back if the next call makes other moves, or does not come soon. A store may as well make nothing of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ahead {
  /** The moves that the next transaction is to make, asked when this one commits; undefined if they are not known. It may turn out to make others, or never to come. */
  readonly next: () => ReadonlyArray<Move> | undefined
  /** Rolls back what the store has begun and nobody has come for. A store that begins anything sets it, and the worker runs it when it ends. */
  abandon: Effect.Effect<void>
}

/**
 * Stores offsets. Storage adapters provide it.
 *
 * @category services
 * @since 0.1.0
 */
export class OffsetStore extends Context.Service<OffsetStore, {
  /** The offsets of the slices in the range, as they were stored last. An offset before the first event is left out. */
  readonly load: (key: OffsetKey, range: SliceRange) => Effect.Effect<StoredOffsets, OffsetsDeleted | StorageError>
  /** The last sequence numbers that were stored of entities, of those that have any. What rewinds have made of them is not in them. */
  readonly sequenceNumbers: (
    key: OffsetKey,
    persistenceIds: ReadonlyArray<PersistenceId>
  ) => Effect.Effect<ReadonlyMap<PersistenceId, StoredNumber>, StorageError>
  /**
   * Moves the offsets, then runs the effect, in one transaction: both happen or neither. Fails with `Fenced` before the
   * effect runs if an offset is not where the caller left it, or the offsets were set anew since. Without moves it only
   * checks the latter, and a rewind waits for the effect. If the database ends transactions that are idle for too long,
   * the effect is interrupted before that, and fails with `HandlerTooSlow`. `ahead` is the same with each call of a worker, none of which
   * begins before the one before it has ended. Whoever wraps a store hands it on.
   */
  readonly transact: <A, E, R>(
    key: OffsetKey,
    basis: Basis,
    moves: ReadonlyArray<Move>,
    effect: Effect.Effect<A, E, R>,
    ahead?: Ahead
  ) => Effect.Effect<A, E | Fenced | HandlerTooSlow | OffsetsDeleted | StorageError, Exclude<R, Transaction>>
}>()("@sluice/core/OffsetStore") {}

/**
 * The offset of a slice is not where the worker left it. Another worker of the same projection has moved it, as it is working on the same
 * slices, or took them over; or the projection was rewound or cleared meanwhile, or got another filter; or the database has gone back to an earlier offset, as by a restored backup. The worker starts again
 * from the stored offsets.
 *
 * @category errors
 * @since 0.1.0
 */
export class Fenced extends ExpectedError.TaggedError<Fenced>("@sluice/core/Fenced")("Fenced", {
  projection: Schema.String,
  source: Schema.String,
  /** Undefined if a command has fenced it, which concerns all slices. */
  slice: Schema.UndefinedOr(Slice),
  /** `database` where the offset is before the one that the worker left, which nobody has rewound. */
  by: Schema.Literals(["worker", "command", "database"]),
  /** The positions that the worker left the slice at, and that it is at now, where the database has gone back. */
  left: Schema.optional(Schema.Int),
  stored: Schema.optional(Schema.Int)
}) {
  override get message(): string {
    const { by, left, projection, slice, source, stored } = this
    switch (by) {
      case "command":
        return `Projection '${projection}' was rewound or cleared in '${source}', or has another filter, and begins from there`
      case "database":
        return `The offset of projection '${projection}' in slice ${slice} of '${source}' is at position ${stored}, before ${left}, which was stored last, and nobody has ` +
          "rewound it: the database has gone back, as by a restored backup or a failover that has lost commits, or another worker has begun anew, as its source was replaced. " +
          "It goes on from there. ProjectionStatus.everywhere shows whether there is another worker"
      case "worker":
        return `Another worker of projection '${projection}' has processed slice ${slice} of '${source}': ` +
          "it seems to run twice. Let one process run it, provide a placement to Projection.layer (such as @sluice/cluster; a process that was halted is " +
          "fenced once as it comes back), or give each projection a name of its own. Where ProjectionStatus.everywhere shows no other worker, the database has gone back, as by a restored backup or a " +
          "failover that has lost commits"
    }
  }
}

/**
 * What a worker fails with that has left a slice at one offset, and finds it at another.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fencedAt = (
  key: OffsetKey,
  slice: Slice,
  { position: left }: Pick<Offset.Offset, "position"> = Offset.beginning,
  { position: stored }: { readonly position: number } = Offset.beginning
): Fenced =>
  new Fenced(stored < left ? { ...key, slice, by: "database", left, stored } : { ...key, slice, by: "worker" })

/**
 * The offset of a slice is missing though the projection is registered: somebody has deleted it by hand. Beginning again would handle
 * every event once more, so the worker stops. Say where to go on: `rewind` the projection, or `clear` it to have it begin from the beginning.
 *
 * @category errors
 * @since 0.1.0
 */
export class OffsetsDeleted
  extends ExpectedError.TaggedError<OffsetsDeleted>("@sluice/core/OffsetsDeleted")("OffsetsDeleted", {
    projection: Schema.String,
    source: Schema.String,
    slice: Slice
  })
{
  /** It is a final error: no restart helps, so a projection stops. */
  get isFinal(): boolean {
    return true
  }
  override get message(): string {
    return `The offset of projection '${this.projection}' in slice ${this.slice} of '${this.source}' was deleted from the database, ` +
      "not by Sluice: rewind the projection to where it shall go on, or clear it to handle everything again"
  }
}
