/**
 * Errors that are expected to happen, and say in a line what to do.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * `Schema.TaggedError` without a stack trace: what has happened, where, and what to do stands in the message, and frames of Sluice's own code would
 * hide it where the error is printed. Its `cause` loses its trace as well where what it is is known: where it has a code, as those of databases
 * and of the system have. Spans still say which call of the program it was. A defect, which is a bug, keeps its trace.
 *
 * **Example** (An error in one line)
 *
 * ```ts
 * import { ExpectedError } from "@sluice/core"
 * import { Schema } from "effect"
 *
 * class TooMany extends ExpectedError.TaggedError<TooMany>("example/TooMany")("TooMany", { limit: Schema.Int }) {
 *   override get message() {
 *     return `There are more than ${this.limit}: close some`
 *   }
 * }
 * new TooMany({ limit: 3 }).stack // => "example/TooMany: There are more than 3: close some"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const TaggedError: typeof Schema.TaggedError =
  // the types are those of what it extends
  ((identifier?: string) => (tag: string, schema: any, annotations?: any): any => {
    const Base: any = (Schema.TaggedError as any)(identifier)(tag, schema, annotations)
    return class extends Base {
      constructor(...args: ReadonlyArray<unknown>) {
        super(...args)
        this.stack = `${this.name}: ${this.message}`
        withoutTrace(this.cause)
      }
    }
  }) as any

/** Whether the error is a database's or the system's, and not that of a wrong argument, which Node gives a code as well. */
const isKnown = (error: Error): boolean => {
  const { code } = error as { readonly code?: unknown }
  if (code === "ERR_INVALID_URL") return true
  return (typeof code === "string" || typeof code === "number") &&
    !(error instanceof TypeError || error instanceof RangeError)
}

/** Takes the trace from a cause that is known, and from its own causes. What is in one already has none. */
const withoutTrace = (cause: unknown): void => {
  if (!(cause instanceof Error) || !isKnown(cause)) return
  const line = `${cause.name}: ${cause.message}`
  if (cause.stack === line) return
  // a frozen one keeps it
  if (!Reflect.set(cause, "stack", line)) return
  withoutTrace(cause.cause)
  if (cause instanceof AggregateError) cause.errors.forEach(withoutTrace)
}
