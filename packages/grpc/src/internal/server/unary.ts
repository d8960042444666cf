import { create } from "@bufbuild/protobuf"
import { status } from "@grpc/grpc-js"
import { type EncodedEnvelope, isSkipped } from "@sluice/core/Envelope"
import { toText } from "@sluice/core/EventFilter"
import * as PersistenceId from "@sluice/core/PersistenceId"
import { ReadBudget } from "@sluice/core/ReadBudget"
import { SelectionChanged } from "@sluice/core/Selection"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { IncomingCall } from "../../Call.ts"
import type { Caller } from "../../Caller.ts"
import type { ReplicaProgress } from "../../ReplicaProgress.ts"
import {
  CurrentEventsByPersistenceIdRequestSchema,
  EventTimestampRequestSchema,
  EventTimestampResponseSchema,
  LatestEventTimestampRequestSchema,
  LatestEventTimestampResponseSchema,
  LoadEventRequestSchema,
  SluiceStoredSchema
} from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { decodeRequest } from "../wire/decodeRequest.ts"
import { batchPieces, eventPieces } from "../wire/frames.ts"
import { integer } from "../wire/integer.ts"
import { toSlicePositions, toTimestampMessage } from "../wire/messages.ts"
import { encode } from "../wire/methods.ts"
import { invalidArgument, parse, quotable, Status } from "../wire/status.ts"
import { callerOf, droppingFor } from "./callerOf.ts"
import { CallWriter } from "./CallWriter.ts"
import { checkType, lookUp, topicPrefixOf } from "./eventsBySlices.ts"
import * as Fence from "./Fence.ts"
import type { OfferedStream } from "./OfferedStream.ts"
import type { SendBudget } from "./SendBudget.ts"
import { requestOf, within } from "./serverCall.ts"

type Streams = ReadonlyMap<string, OfferedStream>

/** A stream, and what the caller may see of it. */
const streamOf = (
  streams: Streams,
  caller: Caller,
  request: { readonly streamId: string }
): Effect.Effect<readonly [OfferedStream, Fence.Fence | undefined], unknown> =>
  Effect.flatMap(
    lookUp(streams, request.streamId, caller.headers),
    (stream) => Effect.map(stream.within(Fence.fenceOf(stream, caller)), (fence) => [stream, fence] as const)
  )

/** An entity that a stream may be asked for. */
const entityOf = (
  streams: Streams,
  caller: Caller,
  request: { readonly streamId: string; readonly persistenceId: string }
): Effect.Effect<readonly [OfferedStream, Fence.Fence | undefined, PersistenceId.PersistenceId], unknown> =>
  Effect.gen(function*() {
    const [stream, fence] = yield* streamOf(streams, caller, request)
    const persistenceId = yield* parse("persistence id", () => PersistenceId.parse(request.persistenceId))
    yield* checkType(stream, persistenceId)
    return [stream, fence, persistenceId] as const
  })

/** The stream, and what reads the event from it. One that the caller may not see, or not any more once it is read, is not there. */
const eventOf = (
  streams: Streams,
  caller: Caller,
  request: { readonly streamId: string; readonly persistenceId: string; readonly seqNr: bigint }
): Effect.Effect<readonly [OfferedStream, Stream.Stream<EncodedEnvelope, unknown>], unknown> =>
  Effect.gen(function*() {
    const [stream, fence, persistenceId] = yield* entityOf(streams, caller, request)
    const sequenceNumber = yield* parse("seq_nr", () => SequenceNumber.make(integer(request.seqNr)))
    const events = stream.entity(persistenceId, sequenceNumber, sequenceNumber, { selection: fence })
    const isSeen = (event: EncodedEnvelope) => fence?.hides(event) !== true
    return [stream, Stream.filter(Stream.take(events, 1), isSeen)] as const
  })

/** @internal */
export const eventTimestamp = (
  streams: Streams,
  bytes: Buffer,
  call: IncomingCall
): Effect.Effect<Buffer, unknown> =>
  Effect.gen(function*() {
    const request = yield* parse("request", () => decodeRequest(EventTimestampRequestSchema, bytes))
    const [stream, event] = yield* eventOf(streams, callerOf(call, request.sluiceReplicaInfo), request)
    const envelope = yield* stream.within(Stream.runHead(event))
    return encode(
      EventTimestampResponseSchema,
      create(
        EventTimestampResponseSchema,
        Option.isSome(envelope) ? { timestamp: toTimestampMessage(envelope.value.timestamp) } : {}
      )
    )
  })

/**
 * Sends events of a stream, for as long as there is memory for them. What was read counts until the next is read, as it is after the stages of its
 * source, and whether or not that asks for memory itself.
 */
const send = (
  stream: OfferedStream,
  budget: SendBudget,
  call: IncomingCall,
  events: Stream.Stream<EncodedEnvelope, unknown>,
  write: (writer: CallWriter, events: ReadonlyArray<EncodedEnvelope>) => Effect.Effect<void, unknown>
): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const share = yield* budget.share(call.peer)
    const writer = new CallWriter(call, share)
    const counted = Stream.transformPull(
      events,
      (pull) => Effect.succeed(Effect.andThen(stream.gap.turn, share.reading.read(() => pull, 1)) as typeof pull)
    )
    const sending = Stream.runForEachArray(counted, (events) => Effect.andThen(stream.gap.turn, write(writer, events)))
    yield* stream.within(within(call, share, Effect.provideService(sending, ReadBudget, share.reading)))
  }).pipe(Effect.scoped)

/** @internal */
export const loadEvent = (
  streams: Streams,
  budget: SendBudget,
  call: IncomingCall
): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const bytes = yield* requestOf(call)
    const request = yield* parse("request", () => decodeRequest(LoadEventRequestSchema, bytes))
    const caller = callerOf(call, request.replicaInfo)
    const [stream, event] = yield* eventOf(streams, caller, request)
    const dropping = droppingFor(stream, caller)
    let isThere = false
    yield* send(
      stream,
      budget,
      call,
      event,
      (writer, found) => {
        isThere = true
        // as the stream would send it: the two messages have the same fields
        return writer.write(eventPieces(dropping === undefined ? found : dropping(found), () => "send"))
      }
    )
    if (!isThere) {
      const text = `there is no event ${request.seqNr} of '${quotable(request.persistenceId)}'`
      return yield* Effect.fail(new Status(status.NOT_FOUND, text))
    }
  })

/** @internal */
export const latestEventTimestamp = (
  streams: Streams,
  bytes: Buffer,
  call: IncomingCall
): Effect.Effect<Buffer, unknown> =>
  Effect.gen(function*() {
    const request = yield* parse("request", () => decodeRequest(LatestEventTimestampRequestSchema, bytes))
    const [stream] = yield* streamOf(streams, callerOf(call, request.sluiceReplicaInfo), request)
    const { id, progress, replicas } = stream.replica ?? {}
    const of = request.sluiceStoredOf
    if (of !== "" && progress !== undefined) {
      // the database is asked for no other text
      if (!replicas!.includes(of)) {
        return yield* Effect.fail(
          invalidArgument(
            `'${quotable(of)}' is none of the replicas that '${id}' knows: '${replicas!.join("', '")}'. ` +
              "Name it among the replicas of the entity type there as well, and consume it"
          )
        )
      }
      return storedMessage(yield* stream.within(progress(of)))
    }
    const range = yield* parse("slice range", () => SliceRange.make(request.sliceMin, request.sliceMax))
    const before = yield* parse(
      "sluice_before",
      () => request.sluiceBefore === undefined ? undefined : Timestamp.make(integer(request.sluiceBefore))
    )
    const heads = yield* stream.within(stream.heads(range))
    let latest = -1
    for (const { timestamp } of heads.values()) latest = Math.max(latest, timestamp)
    return encode(
      LatestEventTimestampResponseSchema,
      create(LatestEventTimestampResponseSchema, {
        ...(latest >= 0 && { timestamp: toTimestampMessage(latest as Timestamp.Timestamp) }),
        sluiceHeads: toSlicePositions(
          before !== undefined
            ? yield* stream.within(stream.before(range, before))
            : request.sluiceHeads
            ? heads
            : new Map()
        )
      })
    )
  })

const storedMessage = (
  { filter, incomplete, journal = "", offsets, others, state, waiting }: ReplicaProgress
): Buffer =>
  encode(
    LatestEventTimestampResponseSchema,
    create(LatestEventTimestampResponseSchema, {
      sluiceStored: create(SluiceStoredSchema, {
        journal,
        positions: toSlicePositions(offsets),
        waiting: BigInt(waiting),
        state: state === "Unknown" ? "" : state,
        others: [...others],
        incomplete: [...incomplete],
        filter: filter === undefined ? "" : toText(filter)
      })
    })
  )

/** JVM services ask for all events with the largest number that they have, which is larger than any of ours. */
const lastOf = (seqNr: bigint): SequenceNumber.SequenceNumber =>
  SequenceNumber.make(Math.min(Number(seqNr), Number.MAX_SAFE_INTEGER))

const changed = new Status(
  status.UNAVAILABLE,
  "what this caller may see of the entity has changed while the call ran: call again"
)

/** @internal */
export const currentEventsByPersistenceId = (
  streams: Streams,
  budget: SendBudget,
  call: IncomingCall
): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const bytes = yield* requestOf(call)
    const request = yield* parse("request", () => decodeRequest(CurrentEventsByPersistenceIdRequestSchema, bytes))
    const caller = callerOf(call, request.sluiceReplicaInfo)
    const [stream, fence, persistenceId] = yield* entityOf(streams, caller, request)
    const dropping = droppingFor(stream, caller)
    const [from, to] = yield* parse(
      "sequence numbers",
      () => [SequenceNumber.make(integer(request.fromSeqNr)), lastOf(request.toSeqNr)] as const
    )
    /** Whether the caller may not see any more what was selected: without it, what follows would have a gap. */
    let isHidden = false
    const isSeen = (envelope: EncodedEnvelope) => {
      isHidden ||= fence?.hides(envelope) === true
      return !isHidden
    }
    const pieces = (found: ReadonlyArray<EncodedEnvelope>) =>
      request.sluiceBatches
        ? batchPieces(found, (event) => isSkipped(event) || isSeen(event) ? event : undefined)
        : eventPieces(found, (event) => isSeen(event) ? "send" : "skip")
    // whoever judges what comes may have no stream of its own that says so
    if (stream.topicPrefix !== undefined) call.sendHeaders(topicPrefixOf(stream))
    const events = stream.entity(persistenceId, from, to, { selection: fence, unselected: "places" })
    yield* send(stream, budget, call, events, (writer, found) =>
      Effect.andThen(
        writer.write(pieces(dropping === undefined ? found : dropping(found))),
        Effect.suspend(() => isHidden ? Effect.fail(changed) : Effect.void)
      )).pipe(Effect.mapError((error) => error instanceof SelectionChanged ? changed : error))
  })
