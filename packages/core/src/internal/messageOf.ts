import * as Formatter from "effect/Formatter"
import * as Predicate from "effect/Predicate"

/**
 * @internal
 * What a cause says, in a message of an error that has it: of anything that may be thrown, also of the copy of an error, which has no prototype.
 */
export const messageOf = (cause: unknown): string =>
  typeof cause === "string"
    ? cause
    : Predicate.hasProperty(cause, "message")
    ? String(cause.message)
    : Formatter.format(cause)
