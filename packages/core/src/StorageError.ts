/**
 * What goes wrong below a journal or an offset store, whatever the database.
 *
 * @since 0.1.0
 */
import * as Formatter from "effect/Formatter"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

/**
 * What kind of thing goes wrong.
 *
 * - `Busy`: somebody else held a lock for longer than the lock timeout. Nothing was written.
 * - `Unavailable`: the database cannot be reached, or went away; what was being written may have been.
 * - `Full`: no space is left. Nothing was written.
 * - `ReadOnly`: the file, folder or server does not allow writing.
 * - `Damaged`: the database is corrupt, or not one of ours. Restore it from a backup.
 * - `Unsupported`: this storage has no such ability.
 * - `Failed`: anything else; the cause says more.
 *
 * @category models
 * @since 0.1.0
 */
export const Reason = Schema.Literals([
  "Busy",
  "Unavailable",
  "Full",
  "ReadOnly",
  "Damaged",
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

const advice: Record<Reason, string> = {
  Busy: "a lock was not free within the lock timeout; try again, and keep transactions short",
  Unavailable: "the database cannot be reached, or went away; try again",
  Full: "no space is left; make room, then try again",
  ReadOnly: "it cannot be written to; check the permissions of the file and its folder",
  Damaged: "the database is corrupt, or not one of ours; restore it from a backup",
  Unsupported: "this storage cannot do that",
  Failed: "the database refused"
}

/**
 * The database below a journal or another store did not do what it should. The message says what to do about it.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageError extends Schema.TaggedError<StorageError>("@sluice/core/StorageError")("StorageError", {
  /** What was being done, such as `append` or `load offsets`. */
  operation: Schema.String,
  reason: Reason,
  cause: Schema.Defect()
}) {
  /** Whether the same may succeed later, without anybody repairing anything. */
  get isRetryable(): boolean {
    return this.reason === "Busy" || this.reason === "Unavailable"
  }
  override get message(): string {
    const cause = Predicate.hasProperty(this.cause, "message")
      ? String(this.cause.message)
      : Formatter.format(this.cause)
    return `${this.operation}: ${advice[this.reason]} (${cause})`
  }
}
