/**
 * The errors of writing and reading a journal, apart from those of the storage below it.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"
import * as ExpectedError from "./ExpectedError.ts"
import { timestamps } from "./Feed.ts"
import { Offset } from "./Offset.ts"
import { PersistenceId } from "./PersistenceId.ts"
import { SequenceNumber } from "./SequenceNumber.ts"
import { Slice } from "./Slice.ts"

/**
 * The entity is not where the writer expected it to be: another has written to it. Nothing was appended. Read the
 * entity again, decide again, and append with the actual number.
 *
 * @category errors
 * @since 0.1.0
 */
export class SequenceConflict extends ExpectedError.TaggedError<SequenceConflict>("@sluice/core/SequenceConflict")(
  "SequenceConflict",
  {
    persistenceId: PersistenceId,
    expected: Schema.Union([Schema.Natural, Schema.Literals(["none", "exists"])]),
    actual: SequenceNumber
  }
) {
  override get message(): string {
    const expected = typeof this.expected === "string"
      ? expectations[this.expected]
      : this.expected === 0
      ? expectations.none
      : `event ${this.expected} to be its last`
    const actual = this.actual === 0 ? "it has no events" : `its last event is ${this.actual}`
    return `The writer of '${this.persistenceId}' expected ${expected}, but ${actual}`
  }
}

const expectations = { none: "no events yet", exists: "events" }

/**
 * Events of a replicated entity were to be deleted, which other replicas may not have yet: what is deleted before they have it never comes there. Nothing
 * was deleted. `ReplicatedJournal.prune` and `ReplicatedJournal.deleteEvents` of `@sluice/replication` ask all replicas first.
 *
 * @category errors
 * @since 0.1.0
 */
export class ReplicatedEvents extends ExpectedError.TaggedError<ReplicatedEvents>("@sluice/core/ReplicatedEvents")(
  "ReplicatedEvents",
  {
    entityType: Schema.String,
    /** Undefined where all entities of the type were meant. */
    persistenceId: Schema.UndefinedOr(PersistenceId)
  }
) {
  override get message(): string {
    return `The events of '${
      this.persistenceId ?? this.entityType
    }' are replicated, and nobody has asked whether all replicas have them: delete them by ${
      this.persistenceId === undefined ? "ReplicatedJournal.prune" : "ReplicatedJournal.deleteEvents"
    } of @sluice/replication, which asks. With 'evenReplicated' they are deleted unasked, and lost to whoever does not have them`
  }
}

/**
 * An event is larger than the journal's limit, so that no stream could carry it. Nothing was appended.
 *
 * @category errors
 * @since 0.1.0
 */
export class EventTooLarge
  extends ExpectedError.TaggedError<EventTooLarge>("@sluice/core/EventTooLarge")("EventTooLarge", {
    persistenceId: PersistenceId,
    bytes: Schema.Int,
    limit: Schema.Int
  })
{
  override get message(): string {
    return `An event for '${this.persistenceId}' has ${this.bytes} bytes, more than the limit of ${this.limit}: ` +
      "store large content elsewhere and refer to it"
  }
}

/**
 * The event that an offset was taken at is not in this journal, though the journal's identity is the same: a backup was
 * restored, or a failover lost commits. Events that the reader has processed no longer exist, and others stand in
 * their places. Compare the two, then rewind the reader.
 *
 * @category errors
 * @since 0.1.0
 */
export class JournalForked
  extends ExpectedError.TaggedError<JournalForked>("@sluice/core/JournalForked")("JournalForked", {
    entityType: Schema.String,
    slice: Slice,
    offset: Offset
  })
{
  /** It is a final error: no restart helps, so a projection stops. */
  get isFinal(): boolean {
    return true
  }
  override get message(): string {
    return `The journal of '${this.entityType}' has no event at position ${this.offset.position} of slice ${this.slice} ` +
      `with timestamp ${this.offset.timestamp}: events were lost since the reader was there. ` +
      "Restore the database, or rewind the projection to a time before the loss. " +
      "A region of replicated entities begins anew instead, under another id"
  }
}

/**
 * Events that the reader has not seen yet were deleted. Rewind it to a time after the floor, and get the state that it
 * has missed in another way, such as from a snapshot.
 *
 * @category errors
 * @since 0.1.0
 */
export class OffsetBelowFloor extends ExpectedError.TaggedError<OffsetBelowFloor>("@sluice/core/OffsetBelowFloor")(
  "OffsetBelowFloor",
  { entityType: Schema.String, slice: Slice, offset: Offset, floor: Offset }
) {
  /** It is a final error: no restart helps, so a projection stops. */
  get isFinal(): boolean {
    return true
  }
  override get message(): string {
    const { entityType, floor, offset, slice } = this
    const time = DateTime.formatIso(DateTime.makeUnsafe(Math.ceil(floor.timestamp / 1000)))
    return `The events of '${entityType}' up to position ${floor.position} of slice ${slice} were deleted, ` +
      `and the reader is at ${offset.position}: rewind it to a time after ${time}`
  }
}

/**
 * The offsets were taken in another journal than this one: the database was emptied or replaced, or the address leads
 * to another service. Positions in one journal mean nothing in another. Correct the address, or clear the reader's
 * offsets to read the new journal from its beginning.
 *
 * @category errors
 * @since 0.1.0
 */
export class JournalReplaced extends ExpectedError.TaggedError<JournalReplaced>("@sluice/core/JournalReplaced")(
  "JournalReplaced",
  {
    expected: Schema.String,
    actual: Schema.String,
    /** The entity type, or the id of the stream, that was to be read. */
    entityType: Schema.String
  }
) {
  /** It is a final error: no restart helps, so a projection stops. */
  get isFinal(): boolean {
    return true
  }
  override get message(): string {
    const { actual, entityType, expected } = this
    if (expected === timestamps || actual === timestamps) {
      const [before, now] = expected === timestamps
        ? ["a producer without positions, such as a plain Akka one,", `one with journal ${actual}`]
        : [`journal ${expected}`, "a producer without positions, such as a plain Akka one"]
      return `The offsets of '${entityType}' were taken in ${before} but this is ${now}, where they have no meaning: ` +
        "correct the address, or rewind the projection to read the new producer"
    }
    return `The offsets of '${entityType}' were taken in journal ${expected}, but this is journal ${actual}: ` +
      "the database was replaced, or the address leads to another service. " +
      "Correct the address or restore the database, or rewind the projection to read the new journal"
  }
}
