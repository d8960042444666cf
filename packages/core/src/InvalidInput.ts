/**
 * Input that could not be kept as it is by every storage, or on the wire. It is refused before anything happens.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as ExpectedError from "./ExpectedError.ts"

/**
 * An id, a tag or another input is refused, as some storage, or a stream, could not keep it unchanged. Nothing was
 * done. Correct the input: trying again does not help.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidInput extends ExpectedError.TaggedError<InvalidInput>("@sluice/core/InvalidInput")("InvalidInput", {
  /**
   * What is refused: `entity id`, `event id`, `events`, `tags`, `metadata`, `replication`, `foreignMetadata`, `manifest`, `expected`, or the
   * name of an option.
   */
  input: Schema.String,
  problem: Schema.String,
  /** The error that was thrown when the input was computed. */
  cause: Schema.optional(Schema.Defect())
}) {
  override get message(): string {
    return `Invalid \`${this.input}\`: ${this.problem}`
  }
}

/**
 * Why a text cannot be stored and sent unchanged, if it cannot: PostgreSQL has no U+0000, and UTF-8 no half of a
 * surrogate pair. It does not quote the text: such problems are logged, and tags and metadata must not be.
 *
 * **Example** (An id from a file that was not text)
 *
 * ```ts
 * import { InvalidInput } from "@sluice/core"
 *
 * InvalidInput.textProblem("c-17") // => undefined
 * InvalidInput.textProblem("c\u0000") // => "contains U+0000"
 * ```
 *
 * @category checking
 * @since 0.1.0
 */
export const textProblem = (text: unknown): string | undefined => {
  if (typeof text !== "string") return `is no text, but ${text === null ? "null" : typeof text}`
  if (text.includes("\0")) return "contains U+0000"
  return text.isWellFormed() ? undefined : "has half a surrogate pair"
}
