import * as Grpc from "@grpc/grpc-js"
import type { EventDecodeError } from "@sluice/core/EventCodec"
import type { JournalForked, OffsetBelowFloor } from "@sluice/core/Journal"
import type { Reason, StorageError } from "@sluice/core/StorageError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { Headers } from "../../Call.ts"
import { VisibilityFailed } from "../../GrpcError.ts"
import type { Refusal } from "../../ReplicaInfo.ts"
import { eventOf, tagOf } from "./failedAt.ts"

/** @internal A call that ends with a status, said by whoever handles it. */
export class Status {
  readonly code: Grpc.status
  readonly details: string
  readonly trailers: Headers
  constructor(code: Grpc.status, details: string, trailers: Headers = {}) {
    this.code = code
    this.details = details
    this.trailers = trailers
  }
}

/** In characters. A status travels as a header, and peers refuse headers of more than 8 KiB: then the call would not end at all. */
const maxDetails = 500

/** @internal What was received, as a text for the other side may quote it. */
export const quotable = (text: string): string => text.length <= 200 ? text : `${text.slice(0, 200).toWellFormed()}…`

/** @internal A text that fits into a status. */
export const toDetails = (text: string): string =>
  text.length <= maxDetails ? text : `${text.slice(0, maxDetails).toWellFormed()}…`

/** @internal */
export const invalidArgument = (details: string): Status => new Status(Grpc.status.INVALID_ARGUMENT, details)

/** @internal What is wrong with the other side's input. */
export const wrong = (what: string) => (error: unknown): Status =>
  invalidArgument(`${what}: ${error instanceof Error ? error.message : String(error)}`)

/** @internal Runs what may throw at the other side's input. */
export const parse = <A>(what: string, f: () => A): Effect.Effect<A, Status> =>
  Effect.try({ try: f, catch: wrong(what) })

/** @internal The trailer that says that a status is the producer's own, and not what became of a connection. */
export const statusTrailer = "sluice-status"

/** @internal How often, in milliseconds, either side of a stream gives a sign of life. */
export const beatEvery = 10_000

/** @internal The trailers that carry a fork, and a floor, for the consumer to fail with the same error. */
export const forkTrailer = "sluice-fork"
/** @internal */
export const floorTrailer = "sluice-floor"

/** @internal The header that says that the source of a stream has none of its events, though its journal has others. */
export const missingHeader = "sluice-missing"

/** @internal The header that says to a replica that the producer, which is one as well, does not know it. */
export const strangerHeader = "sluice-stranger"

/** @internal The header that says what those tags begin with that are topics, percent-encoded, if it is not the default. */
export const topicPrefixHeader = "sluice-topic-prefix"

/** @internal The trailer that names the streams on offer, to whoever has asked for another. */
export const streamsTrailer = "sluice-streams"

/** @internal The header in which a consumer says which replica it expects, and the trailer in which another one says which it is. Percent-encoded. */
export const replicaHeader = "sluice-replica"

/** @internal Another replica was called than is expected. */
export const wrongReplica = (id: string, expected: string): Status =>
  new Status(
    Grpc.status.FAILED_PRECONDITION,
    `this is replica '${quotable(id)}', and not '${quotable(expected)}'`,
    { [replicaHeader]: encodeURIComponent(id) }
  )

/** @internal The trailer that says why a replica is not given a stream. */
export const refusalTrailer = "sluice-refused"

/** @internal A replica is not given the stream. */
export const refused = (code: Refusal["code"], problem: string): Status =>
  new Status(Grpc.status.FAILED_PRECONDITION, problem, { [refusalTrailer]: code })

/** In characters of JSON. */
const maxStreams = 2000

const escaped = (text: string): string =>
  text.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** The first of the ids, in an order that does not depend on that of the program. */
const firstOf = (ids: ReadonlyArray<string>): ReadonlyArray<string> => {
  let length = 0
  return ids.toSorted().filter((id) => (length += escaped(JSON.stringify(id)).length + 1) < maxStreams)
}

/** @internal There is no such stream, but others are on offer. */
export const notOffered = (id: string, ids: ReadonlyArray<string>): Status => {
  const offered = firstOf(ids)
  const others = offered.length === 0 ? "none is" : `on offer: ${offered.map((id) => `[${id}]`).join(", ")}`
  return new Status(
    Grpc.status.NOT_FOUND,
    `Stream id [${quotable(id)}] is not available for consumption; ${others}`,
    { [streamsTrailer]: escaped(JSON.stringify(offered)) }
  )
}

const unreadable = (message: string, trailer: string, value: ReadonlyArray<number>): Status =>
  new Status(Grpc.status.FAILED_PRECONDITION, message, { [trailer]: JSON.stringify(value) })

/** It does not name the event, which may not be for the caller. */
const blind = new Status(Grpc.status.INTERNAL, "what this caller may see cannot be said; the producer's log says more")

const shuttingDown = new Status(Grpc.status.UNAVAILABLE, "the producer is shutting down")
const unreachable = new Status(Grpc.status.UNAVAILABLE, "the producer's database is busy or cannot be reached")
const failing = new Status(Grpc.status.INTERNAL, "the producer's database fails; its log says more")

const ofStorage: Record<Reason, Status> = {
  Busy: unreachable,
  Unavailable: unreachable,
  // its layer ends before the server does
  Closed: shuttingDown,
  Full: failing,
  ReadOnly: failing,
  Damaged: failing,
  Misconfigured: failing,
  Replaced: new Status(
    Grpc.status.INTERNAL,
    "the producer's database has another journal than when the producer started; its log says more"
  ),
  Broken: failing,
  Aborted: failing,
  Unsupported: failing,
  Failed: failing
}

/** @internal What a consumer is told of what the producer reads while that is disrupted. */
export const disruptionOf = (cause: Cause.Cause<unknown>): string => {
  const error = cause.reasons.find(Cause.isFailReason)?.error
  return tagOf(error) === "StorageError"
    ? (ofStorage[(error as StorageError).reason] ?? failing).details
    : "what the producer reads from is disrupted; its status says more"
}

/**
 * @internal
 * What the other side is told. The text of Sluice's own errors says what happened and what to do; anything else may hold what is not
 * for others, and stays in the log.
 */
export const fromCause = (cause: Cause.Cause<unknown>): Status => {
  if (Cause.hasInterruptsOnly(cause)) return shuttingDown
  const error = cause.reasons.find(Cause.isFailReason)?.error
  if (error instanceof Status) return error
  if (cause.reasons.some((reason) => Cause.isDieReason(reason) && reason.defect instanceof VisibilityFailed)) {
    return blind
  }
  switch (tagOf(error)) {
    case "StorageError":
      // a stage may fail with an error of this name that is not ours
      return ofStorage[(error as StorageError).reason] ?? failing
    case "JournalForked": {
      const { message, offset, slice } = error as JournalForked
      return unreadable(message, forkTrailer, [slice, offset.position, offset.timestamp])
    }
    case "OffsetBelowFloor": {
      const { floor, message, offset, slice } = error as OffsetBelowFloor
      const places = [offset.position, offset.timestamp, floor.position, floor.timestamp]
      return unreadable(message, floorTrailer, [slice, ...places])
    }
    case "JournalReplaced":
      return new Status(Grpc.status.FAILED_PRECONDITION, (error as Error).message)
    case "EventTooLarge":
      return new Status(Grpc.status.INTERNAL, (error as Error).message)
    case "EventDecodeError": {
      // the cause may quote the event
      const { manifest, persistenceId, sequenceNumber } = error as EventDecodeError
      const event = `event ${sequenceNumber} of '${persistenceId}', manifest '${manifest}'`
      return new Status(Grpc.status.INTERNAL, `the producer cannot decode ${event}; its log says more`)
    }
    default: {
      const event = eventOf(cause)
      const failed = event === undefined
        ? "the producer failed"
        : tagOf(Cause.squash(cause)) === "EventEncodeError"
        ? `the producer cannot encode ${event}`
        : `the producer failed at ${event}`
      return new Status(Grpc.status.INTERNAL, `${failed}; its log says more`)
    }
  }
}
