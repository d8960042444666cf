/**
 * The operations that a SQL server has to offer, so that `SqlJournal` can be a journal on it.
 *
 * @since 0.1.0
 */
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { AppendRequest } from "@sluice/core/Journal"
import type { Offsets } from "@sluice/core/Offset"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type { Slice } from "@sluice/core/Slice"
import type { SliceRange } from "@sluice/core/SliceRange"
import type { Timestamp } from "@sluice/core/Timestamp"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Answer } from "./AppendLane.ts"
import type { Page } from "./JournalRow.ts"

/**
 * A place in the order of time: after the event with this timestamp in this slice.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimeCursor {
  readonly timestamp: number
  readonly slice: number
}

/**
 * The operations of a journal on one kind of server. All appends of a call are of one entity type.
 *
 * @category models
 * @since 0.1.0
 */
export interface JournalDialect {
  /** Creates what an entity type needs before its first append. */
  readonly register: (entityType: string) => Effect.Effect<void, SqlError>
  /**
   * Appends in a transaction of its own, on a connection that only lanes use. It does not wait for a log that is
   * locked: the answers of that log's appends are undefined.
   */
  readonly tryAppend: (
    requests: NonEmptyReadonlyArray<AppendRequest>
  ) => Effect.Effect<ReadonlyArray<Answer | undefined>, SqlError>
  /** As `tryAppend`, but waits for the lock of the log that all requests are of. */
  readonly waitAppend: (
    requests: NonEmptyReadonlyArray<AppendRequest>
  ) => Effect.Effect<ReadonlyArray<Answer>, SqlError>
  /** Appends in the fiber's transaction, and waits for the lock of the log, which it then holds until the end. */
  readonly appendWithin: (request: AppendRequest) => Effect.Effect<Answer, SqlError>
  /** Whether a lane may put two appends of one entity into one call. */
  readonly joins: (earlier: AppendRequest, later: AppendRequest) => boolean
  /** The server's clock. */
  readonly now: Effect.Effect<Timestamp, SqlError>
  /** The newest position and timestamp of each log in the range that has events. */
  readonly heads: (entityType: string, range: SliceRange) => Effect.Effect<Offsets, SqlError>
  /** The timestamps of the events at the positions. Positions without an event are left out. */
  readonly timestamps: (
    entityType: string,
    positions: ReadonlyArray<readonly [Slice, number]>
  ) => Effect.Effect<ReadonlyMap<Slice, Timestamp>, SqlError>
  /** Up to `limit` events of the range in the order of (timestamp, slice), near-sequential on disk, and up to `maxPageBytes`. */
  readonly byTime: (
    entityType: string,
    range: SliceRange,
    after: TimeCursor,
    limit: number
  ) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, SqlError>
  /**
   * Up to `limit` events of each log that follow the positions, in the order of their timestamps, and up to
   * `maxPageBytes` in total. If the page is full, any of the later events may be missing.
   */
  readonly bySlices: (
    entityType: string,
    after: ReadonlyArray<readonly [Slice, number]>,
    limit: number
  ) => Effect.Effect<Page, SqlError>
  /**
   * Removes the events at the positions of a log, in the fiber's transaction. For servers on which plain SQL would lock
   * other rows as well.
   */
  readonly remove?:
    | ((
      entityType: string,
      slice: number,
      positions: ReadonlyArray<number>
    ) => Effect.Effect<unknown, SqlError>)
    | undefined
  /** Up to `limit` events of one entity, and up to `maxPageBytes`; in the fiber's transaction, if there is one. */
  readonly entity: (
    persistenceId: PersistenceId,
    from: SequenceNumber,
    to: SequenceNumber,
    limit: number
  ) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, SqlError>
}
