import * as Cause from "effect/Cause"
import * as Predicate from "effect/Predicate"
import { maxMessageLength, type ReportedFailure } from "../../HeartbeatStore.ts"
import type { WorkerFailure } from "../../WorkerStatus.ts"
import { withoutSecrets } from "./withoutSecrets.ts"

/** So much of a message is searched for secrets. */
const maxSearched = 10 * maxMessageLength

/** @internal What others are told of a failure. No storage has to keep a text that it cannot. */
export const reportedFailure = ({ cause, event }: WorkerFailure): Omit<ReportedFailure, "at"> => {
  const error = firstError(cause)
  // cut off after that, as it may cut off what a secret is known by
  const message = withoutSecrets(firstLine(messageOf(error)).slice(0, maxSearched)).slice(0, maxMessageLength)
  return { tag: storable(tagOf(error)).slice(0, 255), message: storable(message), event }
}

/** @internal What a cause has failed with first, or has died of; undefined where it was interrupted. */
export const firstError = ({ reasons: [reason] }: Cause.Cause<unknown>): unknown =>
  reason === undefined || Cause.isInterruptReason(reason)
    ? undefined
    : Cause.isFailReason(reason)
    ? reason.error
    : reason.defect

/** @internal What an error is called. */
export const tagOf = (error: unknown): string =>
  Predicate.hasProperty(error, "_tag") && typeof error._tag === "string"
    ? error._tag
    : error instanceof Error && typeof error.name === "string"
    ? error.name
    : error === undefined
    ? "Interrupted"
    : "Error"

const messageOf = (error: unknown): string =>
  Predicate.hasProperty(error, "message") && typeof error.message === "string"
    ? error.message
    : typeof error === "string"
    ? error
    : ""

/** After it come the parameters of statements, the bodies of answers, and other data. */
const firstLine = (text: string): string => text.trimStart().split(/[\r\n]/, 1)[0]!.trimEnd()

/** @internal A text that every storage can keep. */
export const storable = (text: string): string => text.replaceAll("\0", "\\0").toWellFormed()
