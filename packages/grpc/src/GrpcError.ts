/**
 * What goes wrong between two services.
 *
 * @since 0.1.0
 */
import { status } from "@grpc/grpc-js"
import type { EventDecodeError } from "@sluice/core/EventCodec"
import * as ExpectedError from "@sluice/core/ExpectedError"
import type { JournalForked, JournalReplaced, OffsetBelowFloor } from "@sluice/core/JournalError"
import { Slice } from "@sluice/core/Slice"
import type { EntityNotServed, HeadsNotServed } from "@sluice/core/Source"
import * as Formatter from "effect/Formatter"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

/**
 * A call ended with an error status.
 *
 * @category errors
 * @since 0.1.0
 */
export class GrpcError extends ExpectedError.TaggedError<GrpcError>("@sluice/grpc/GrpcError")("GrpcError", {
  /** Where the call went. */
  address: Schema.String,
  method: Schema.String,
  /** The number of the gRPC status. */
  code: Schema.Int,
  /** What the other side said. */
  details: Schema.String
}) {
  /** Whether it is the connection that failed, so that connecting again may help at once. */
  get isRetryable(): boolean {
    return retryable.has(this.code)
  }
  override get message(): string {
    return `${this.method} of '${this.address}' ended with ${status[this.code]}: ${this.details}`
  }
}

const retryable = new Set<number>([
  status.OK,
  status.CANCELLED,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
  status.ABORTED,
  status.UNAVAILABLE
])

/**
 * The producer does not echo the beats of a stream any more: it hangs, or a proxy between the two has lost one direction of the stream. The
 * connection itself may be alive. The stream is opened again. Time counts only while the consumer is ready to read.
 *
 * @category errors
 * @since 0.1.0
 */
export class EchoOverdue extends ExpectedError.TaggedError<EchoOverdue>("@sluice/grpc/EchoOverdue")("EchoOverdue", {
  /** Where the call went. */
  address: Schema.String,
  method: Schema.String,
  /** For how long the consumer has waited for the echo, ready to read. */
  seconds: Schema.Int
}) {
  /** Another stream may help at once. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `${this.method} of '${this.address}' has not echoed a beat for ${this.seconds} seconds: the producer hangs, or something ` +
      "between the two, such as a proxy, has lost one direction of the stream. It is opened again"
  }
}

/**
 * The producer echoes, but has sent nothing for a while of what it says it has: what serves the stream there hangs, such as an effect in
 * one of its stages that never ends. The stream is opened again.
 *
 * @category errors
 * @since 0.1.0
 */
export class StreamStalled extends ExpectedError.TaggedError<StreamStalled>("@sluice/grpc/StreamStalled")(
  "StreamStalled",
  {
    address: Schema.String,
    streamId: Schema.String,
    slice: Slice,
    /** The last position that was received of the slice, and the one that the producer says is its last. */
    received: Schema.Int,
    head: Schema.Int,
    /** For how long nothing has come. */
    seconds: Schema.Int
  }
) {
  /** Another stream may help at once. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    const { address, head, received, seconds, slice, streamId } = this
    return `The stream '${streamId}' of '${address}' has brought nothing for ${seconds} seconds, though slice ${slice} has positions up to ` +
      `${head} and ${received} was the last to come: what serves it there hangs, such as a stage of its source. It is opened again`
  }
}

/**
 * The producer's own source is disrupted, and not the connection to the producer: its database does not answer, or its own producer
 * cannot be reached. The stream stays open, and goes on when the producer can read again.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProducerDisrupted extends ExpectedError.TaggedError<ProducerDisrupted>("@sluice/grpc/ProducerDisrupted")(
  "ProducerDisrupted",
  {
    address: Schema.String,
    streamId: Schema.String,
    /** What the producer says is wrong. */
    disruption: Schema.String
  }
) {
  /** It passes by itself, as soon as the producer can read again. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `The producer of '${this.streamId}' at '${this.address}' is connected, but cannot read its events: ${this.disruption}. ` +
      "Look at that service and its database, not at the network; events come when it can read again"
  }
}

/**
 * The producer answered with something that the protocol does not allow. The two services are not of compatible versions,
 * or one has a bug: report it.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProtocolError
  extends ExpectedError.TaggedError<ProtocolError>("@sluice/grpc/ProtocolError")("ProtocolError", {
    address: Schema.String,
    problem: Schema.String
  })
{
  override get message(): string {
    return `'${this.address}' breaks the protocol: ${this.problem}`
  }
}

/**
 * The producer does not offer the stream. Take the id of one that it offers, or offer this one there. It is tried again, as a deployment
 * may be under way.
 *
 * @category errors
 * @since 0.1.0
 */
export class StreamNotOffered extends ExpectedError.TaggedError<StreamNotOffered>("@sluice/grpc/StreamNotOffered")(
  "StreamNotOffered",
  {
    address: Schema.String,
    streamId: Schema.String,
    /** The ids of those that are offered there, or the first of them; undefined where the producer does not say. */
    offered: Schema.UndefinedOr(Schema.Array(Schema.String))
  }
) {
  override get message(): string {
    const { address, offered, streamId } = this
    const others = offered === undefined ?
      ""
      : offered.length === 0
      ? ", nor any other"
      : `, but ${offered.map((id) => `'${id}'`).join(", ")}`
    const what = `'${address}' does not offer the stream '${streamId}'${others}: `
    // a server listens before the first stream is offered
    return offered?.length === 0
      ? what +
        "where it starts, wait; otherwise offer it there, with 'EventProducer.layer' or, where entities are replicated, 'Replication.layer'"
      : what + "take the id of a stream that is offered there, or offer this one with 'EventProducer.layer'"
  }
}

/**
 * At the address of one replica of replicated entities another one answers, or the journal there has entities that are not of that replica. Nothing of it is
 * stored, and it is tried again: give the address of the right one.
 *
 * @category errors
 * @since 0.1.0
 */
export class WrongReplica extends ExpectedError.TaggedError<WrongReplica>("@sluice/grpc/WrongReplica")("WrongReplica", {
  streamId: Schema.String,
  address: Schema.String,
  /** The replica that was to answer. */
  expected: Schema.String,
  /** The one that the producer says to be; undefined where it does not say. */
  actual: Schema.UndefinedOr(Schema.String),
  /** The entity that is not of the replica; undefined where the producer says which replica it is. */
  persistenceId: Schema.UndefinedOr(Schema.String)
}) {
  readonly isRetryable = true
  override get message(): string {
    const { actual, address, expected, persistenceId, streamId } = this
    return actual === undefined
      ? `The stream '${streamId}' of '${address}' has an event of '${persistenceId}', which is none of replica '${expected}': ` +
        "give the address of that replica, whose entities have to be replicated as well"
      : `'${address}' offers the stream '${streamId}' as replica '${actual}', and is to be '${expected}': give the address of '${expected}'`
  }
}

/**
 * A replica of replicated entities does not give its events to this one: the two store events in different orders, or the other one knows another journal under the id of this
 * replica, which then runs twice, or has lost its database. Nothing is read, and it is tried again, so that it goes on once the cause is gone.
 *
 * @category errors
 * @since 0.1.0
 */
export class ReplicaRefused
  extends ExpectedError.TaggedError<ReplicaRefused>("@sluice/grpc/ReplicaRefused")("ReplicaRefused", {
    streamId: Schema.String,
    address: Schema.String,
    /** The replica that refuses. */
    by: Schema.String,
    code: Schema.Literals(["OtherOrder", "OtherJournal"]),
    /** What is wrong, and what to do, as the other one says. */
    problem: Schema.String
  })
{
  readonly isRetryable = true
  override get message(): string {
    const { address, by, problem, streamId } = this
    return `Replica '${by}' at '${address}' does not give the stream '${streamId}' to this one: ${problem}`
  }
}

/**
 * Plaintext would leave the machine. Configure `tls`, or say `insecure: true` where the network itself is trusted.
 *
 * @category errors
 * @since 0.1.0
 */
export class InsecureTransport extends ExpectedError.TaggedError<InsecureTransport>("@sluice/grpc/InsecureTransport")(
  "InsecureTransport",
  { address: Schema.String }
) {
  /** It is a final error: no restart helps, so a projection stops. */
  get isFinal(): boolean {
    return true
  }
  override get message(): string {
    return `'${this.address}' is beyond this machine, and there is no TLS: configure 'tls', or say 'insecure: true'`
  }
}

/**
 * The server cannot listen: another program uses the port, or the address is not of this machine.
 *
 * @category errors
 * @since 0.1.0
 */
export class ServerError extends ExpectedError.TaggedError<ServerError>("@sluice/grpc/ServerError")("ServerError", {
  address: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    const cause = textOf(this.cause)
    const [code] = /\bE[A-Z]+\b/.exec(cause) ?? []
    return `Cannot listen on '${this.address}': ${code !== undefined && listening[code] || cause}`
  }
}

const listening: Readonly<Record<string, string>> = {
  EADDRINUSE: "another process listens there (EADDRINUSE)",
  EADDRNOTAVAIL: "it is no address of this machine (EADDRNOTAVAIL)",
  EACCES: "this user is not allowed to, as with ports below 1024 (EACCES)"
}

/**
 * Two sources are offered as the same stream of one server. Give one of them another stream id.
 *
 * @category errors
 * @since 0.1.0
 */
export class DuplicateStream extends ExpectedError.TaggedError<DuplicateStream>("@sluice/grpc/DuplicateStream")(
  "DuplicateStream",
  { streamId: Schema.String }
) {
  override get message(): string {
    return `The stream '${this.streamId}' is offered twice by one server: give one of them another id, or a server of its own`
  }
}

/**
 * A call is refused: the effect that is to say what its caller may see fails with it.
 *
 * **Example** (Only callers with a token that is known)
 *
 * ```ts
 * import { GrpcError } from "@sluice/grpc"
 * import { Effect } from "effect"
 *
 * const tenantOf = (token: string | undefined) =>
 *   token === "t-1"
 *     ? Effect.succeed("acme")
 *     : new GrpcError.CallRefused({ code: "UNAUTHENTICATED", reason: "send a token as 'authorization'" })
 * const { message } = await Effect.runPromise(Effect.flip(tenantOf("t-2")))
 * message // => "UNAUTHENTICATED: send a token as 'authorization'"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class CallRefused extends ExpectedError.TaggedError<CallRefused>("@sluice/grpc/CallRefused")("CallRefused", {
  /** The status of the call: it is not known who calls, or whoever calls may not. */
  code: Schema.Literals(["UNAUTHENTICATED", "PERMISSION_DENIED"]),
  /** What the caller is told. */
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.code}: ${this.reason}`
  }
}

/**
 * What says which events a caller may see has failed. The call ends with INTERNAL, and nothing that was not selected is sent. It stands in
 * the producer's log alone: its caller need not know of the event.
 *
 * @category errors
 * @since 0.1.0
 */
export class VisibilityFailed extends ExpectedError.TaggedError<VisibilityFailed>("@sluice/grpc/VisibilityFailed")(
  "VisibilityFailed",
  {
    streamId: Schema.String,
    /** Undefined where it failed for all events. */
    event: Schema.UndefinedOr(Schema.Struct({ persistenceId: Schema.String, sequenceNumber: Schema.Int })),
    cause: Schema.Defect()
  }
) {
  override get message(): string {
    const { cause, event, streamId } = this
    const at = event === undefined ? "" : ` at event ${event.sequenceNumber} of '${event.persistenceId}'`
    return `What a caller may see of the stream '${streamId}' cannot be said${at}: correct its 'select'. ${
      textOf(cause)
    }`
  }
}

/**
 * The errors of a remote source that connecting again does not heal.
 *
 * @category errors
 * @since 0.1.0
 */
export type ConsumerError =
  | GrpcError
  | EchoOverdue
  | StreamStalled
  | ProtocolError
  | EntityNotServed
  | HeadsNotServed
  | StreamNotOffered
  | WrongReplica
  | ReplicaRefused
  | InsecureTransport
  | JournalReplaced
  | JournalForked
  | OffsetBelowFloor
  | EventDecodeError

/** Test runners and loggers copy errors, and such a copy has no prototype. */
const textOf = (cause: unknown): string =>
  typeof cause === "string"
    ? cause
    : Predicate.hasProperty(cause, "message")
    ? String(cause.message)
    : Formatter.format(cause)
