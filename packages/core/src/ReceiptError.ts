/**
 * Why waiting for a receipt ends without the projection having handled its events.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as ExpectedError from "./ExpectedError.ts"

/**
 * The time is up, and the projection has not handled the events yet. It may still do so: wait again with the same receipt, or answer without
 * what the projection writes.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotReached extends ExpectedError.TaggedError<NotReached>("@sluice/core/NotReached")("NotReached", {
  projection: Schema.String,
  persistenceId: Schema.String,
  sequenceNumber: Schema.Int,
  slice: Schema.Int,
  /** Where the last of the events is in its slice. */
  position: Schema.Int,
  /** Where the projection was in that slice when it was looked at last; undefined if the storage has not answered. */
  at: Schema.UndefinedOr(Schema.Int),
  /** In milliseconds. */
  waited: Schema.Finite
}) {
  /** It is worth waiting again. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    const at = this.at === undefined
      ? "the storage has not said where it is"
      : `it is at position ${this.at} of slice ${this.slice}, and that event is at ${this.position}`
    return `Projection '${this.projection}' has not handled event ${this.sequenceNumber} of '${this.persistenceId}' ` +
      `within ${this.waited} ms: ${at}. Wait longer, or look at its status and lag`
  }
}

/**
 * The receipt is of another journal than the one that the projection reads: the database was emptied, replaced or restored since, or the
 * projection reads another service. A restored backup has the same identity, but not the event of the receipt.
 *
 * @category errors
 * @since 0.1.0
 */
export class ReceiptOfOtherJournal
  extends ExpectedError.TaggedError<ReceiptOfOtherJournal>("@sluice/core/ReceiptOfOtherJournal")(
    "ReceiptOfOtherJournal",
    {
      projection: Schema.String,
      source: Schema.String,
      persistenceId: Schema.String,
      /** The journal of the receipt. */
      journal: Schema.String,
      /** The one that the projection has read; the same if the journal has another history than the receipt. */
      read: Schema.String
    }
  )
{
  override get message(): string {
    const what = this.journal === this.read
      ? `journal ${this.read}, which has another history: events were lost since, as when a backup is restored`
      : `journal ${this.read}`
    return `The receipt for '${this.persistenceId}' is of journal ${this.journal}, and projection '${this.projection}' ` +
      `has read '${this.source}' of ${what}. Take a new receipt, or wait for a projection that reads that journal`
  }
}

/**
 * The projection reads the journals or states of other entity types than that of the receipt, so it will never handle its events. Wait for one
 * that reads them.
 *
 * @category errors
 * @since 0.1.0
 */
export class ReceiptNotRead
  extends ExpectedError.TaggedError<ReceiptNotRead>("@sluice/core/ReceiptNotRead")("ReceiptNotRead", {
    projection: Schema.String,
    /** What it reads. */
    sources: Schema.Array(Schema.String),
    /** Where the receipt is from. */
    source: Schema.String
  })
{
  override get message(): string {
    const sources = this.sources.map((source) => `'${source}'`).join(", ")
    return `The receipt is of '${this.source}', and projection '${this.projection}' reads ${sources}: it never handles its events`
  }
}

/**
 * The projection is paused, and has not handled the events of the receipt. It does once it is resumed (`ProjectionManagement.resume`).
 *
 * @category errors
 * @since 0.1.0
 */
export class ProjectionPaused
  extends ExpectedError.TaggedError<ProjectionPaused>("@sluice/core/ProjectionPaused")("ProjectionPaused", {
    projection: Schema.String,
    persistenceId: Schema.String,
    sequenceNumber: Schema.Int
  })
{
  override get message(): string {
    return `Projection '${this.projection}' is paused, and has not handled event ${this.sequenceNumber} of '${this.persistenceId}': ` +
      "it will, once it is resumed"
  }
}
