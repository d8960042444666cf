/**
 * The errors of a storage below a journal or another store, whatever the database.
 *
 * @since 0.1.0
 */
import * as Formatter from "effect/Formatter"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as ExpectedError from "./ExpectedError.ts"

/**
 * What kind of thing goes wrong.
 *
 * - `Busy`: somebody else held a lock for longer than the lock timeout, or a statement reached its time limit or was cancelled. Nothing was
 *   written.
 * - `Unavailable`: the database cannot be reached, or went away; what was being written may have been.
 * - `Closed`: the storage was closed, as its layer's scope has ended. Nothing was written.
 * - `Full`: no space is left. Nothing was written.
 * - `ReadOnly`: the file, folder or server does not allow writing. Nothing was written.
 * - `Damaged`: the database is corrupt, or not one of ours. Restore it from a backup.
 * - `Misconfigured`: a table, column, function, database or permission is missing, or the two ends do not agree on how to connect, such as
 *   on a certificate; whatever comes next would meet the same.
 * - `Replaced`: the database has another journal by now than when the service started. Nothing is read from it, or written to it.
 * - `Broken`: a connection could not be made, or a transaction not begun, nested or ended, for a reason that has no name here. Nothing was
 *   written.
 * - `Aborted`: a statement failed in the transaction. Its failure was handled, but the database has rolled back all of the transaction.
 * - `Unsupported`: this storage has no such ability.
 * - `Failed`: anything else; the cause says more.
 *
 * @category models
 * @since 0.1.0
 */
export const Reason = Schema.Literals([
  "Busy",
  "Unavailable",
  "Closed",
  "Full",
  "ReadOnly",
  "Damaged",
  "Misconfigured",
  "Replaced",
  "Broken",
  "Aborted",
  "Unsupported",
  "Failed"
])

/**
 * What kind of thing goes wrong, by name.
 *
 * @category models
 * @since 0.1.0
 */
export type Reason = typeof Reason.Type

/** What is at fault is what was asked for. */
const ofRequest: ReadonlySet<Reason> = new Set<Reason>(["Aborted", "Unsupported", "Failed"])

/**
 * Whether the storage is at fault, and not what it was asked for: then an event is not to blame.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOfStorage = (reason: Reason): boolean => !ofRequest.has(reason)

const advice: Record<Reason, string> = {
  Busy:
    "a lock was not free within the lock timeout, or a statement reached its time limit or was cancelled; try again, and keep " +
    "transactions short",
  Unavailable: "the database cannot be reached, or went away; try again",
  Closed: "the storage is closed, as the scope of its layer has ended; whoever uses it has to end before",
  Full: "no space is left; make room, then try again",
  ReadOnly:
    "it takes no writes; check the permissions of the file and its folder, or that the server is the one to write to",
  Damaged: "the database is corrupt, or not one of ours; restore it from a backup",
  Misconfigured: "something that the program needs is missing, or not set as it has to be; create, grant or correct it",
  Replaced:
    "the database has another journal than when the service started; restore that one, or correct the address, and start the service again",
  Broken: "a connection could not be made, or a transaction not begun, nested or ended; try again",
  Aborted:
    "a statement failed in the transaction, so the database has rolled back all of it, although the failure was " +
    "handled; put what may fail into a transaction of its own within it",
  Unsupported: "this storage cannot do that",
  Failed: "the database refused"
}

/**
 * The database below a journal or another store has failed. The message says what to do about it.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageError extends ExpectedError.TaggedError<StorageError>("@sluice/core/StorageError")("StorageError", {
  /** What was being done, such as `append` or `load offsets`. */
  operation: Schema.String,
  reason: Reason,
  /** What has happened and what to do, where more is known than the reason says. */
  advice: Schema.optional(Schema.String),
  cause: Schema.Defect()
}) {
  /** Whether the same may succeed later without a repair. */
  get isRetryable(): boolean {
    return this.reason === "Busy" || this.reason === "Unavailable"
  }
  /** Whether no restart of a projection helps, so that it stops, as it does with `JournalReplaced`. */
  get isFinal(): boolean {
    return this.reason === "Replaced"
  }
  /** Whether it is the storage that is at fault, see {@link isOfStorage}. */
  get isOfStorage(): boolean {
    return isOfStorage(this.reason)
  }
  override get message(): string {
    return `${this.operation}: ${this.advice ?? advice[this.reason]} (${textOf(this.cause)})`
  }
}

/** Of several attempts to connect, the error has a code and no text. */
const textOf = (cause: unknown): string =>
  Predicate.hasProperty(cause, "message")
    ? String(cause.message) || Predicate.hasProperty(cause, "code") && String(cause.code) || "no more is known"
    : Formatter.format(cause)
