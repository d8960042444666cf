import { FailedAt } from "@sluice/core/Envelope"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"

/** The stream whose call has failed: an annotation of the cause. */
class FailedStream extends Context.Service<FailedStream, string>()("@sluice/grpc/FailedStream") {}

/** @internal The same cause, on the stream. */
export const onStream = <E>(streamId: string, cause: Cause.Cause<E>): Cause.Cause<E> =>
  Cause.annotate(cause, Context.make(FailedStream, streamId) as Context.Context<never>)

/** In the annotations of a cause: whose call has failed. */
class FailedCaller extends Context.Service<FailedCaller, string>()("@sluice/grpc/FailedCaller") {}

/** @internal The same cause, in a call of that caller. */
export const ofCaller = <E>(caller: string, cause: Cause.Cause<E>): Cause.Cause<E> =>
  Cause.annotate(cause, Context.make(FailedCaller, caller) as Context.Context<never>)

/** @internal The event that a stream has failed at, if it was one. */
export const eventOf = (cause: Cause.Cause<unknown>): string | undefined => {
  const place = Context.getOrUndefined(Cause.annotations(cause), FailedAt)
  return place && `event ${place.sequenceNumber} of '${place.persistenceId}'`
}

/** @internal The tag of what has failed. */
export const tagOf = (error: unknown): unknown => (error as { readonly _tag?: unknown } | null | undefined)?._tag

/** What to do about an event that a stream cannot pass. */
const adviceOf = (error: unknown): string => {
  switch (tagOf(error)) {
    case "EventDecodeError":
      return "teach the codec of the source what was stored"
    case "EventEncodeError":
      return "let the source make an event of the stream of it, or teach the codec of the stream"
    default:
      return "correct the stage of the source that fails"
  }
}

/** @internal Whose call has failed, which is that of a peer if no more is known, where, and what to do, for the log. */
export const whereFailed = (cause: Cause.Cause<unknown>, peer: string): string => {
  const stream = Context.getOrUndefined(Cause.annotations(cause), FailedStream)
  const caller = Context.getOrUndefined(Cause.annotations(cause), FailedCaller) ?? peer
  const event = eventOf(cause)
  const on = ` for ${caller}${stream === undefined ? "" : ` on the stream '${stream}'`}`
  if (event === undefined) return on
  const error = Cause.squash(cause)
  // the storage's errors say what to do
  return tagOf(error) === "StorageError"
    ? `${on}, at ${event}`
    : `${on}, at ${event}, which its consumers cannot pass: ${adviceOf(error)}`
}
