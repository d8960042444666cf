import { create } from "@bufbuild/protobuf"
import { status } from "@grpc/grpc-js"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import { Health } from "@sluice/core/Feed"
import { Journal, JournalForked, JournalReplaced, OffsetBelowFloor } from "@sluice/core/Journal"
import * as LogsIdentity from "@sluice/core/LogsIdentity"
import { type Offsets, since } from "@sluice/core/Offset"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import { Position } from "@sluice/core/Position"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import { full, type SliceRange } from "@sluice/core/SliceRange"
import { EntityNotServed, HeadsNotServed, type Replay, type Start, timestamps } from "@sluice/core/Source"
import { Timestamp } from "@sluice/core/Timestamp"
import type { WorkerState } from "@sluice/core/WorkerStatus"
import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Channel, Headers, Request } from "../../Call.ts"
import { CallTransport } from "../../CallTransport.ts"
import type { Options } from "../../ConsumerOptions.ts"
import {
  type ConsumerError,
  GrpcError,
  type InsecureTransport,
  ProducerDisrupted,
  ProtocolError,
  ReplicaRefused,
  StreamNotOffered,
  WrongReplica
} from "../../GrpcError.ts"
import type { ReplicaProgress } from "../../ReplicaProgress.ts"
import {
  CurrentEventsByPersistenceIdRequestSchema,
  EventTimestampRequestSchema,
  EventTimestampResponseSchema,
  InitReqSchema,
  LatestEventTimestampRequestSchema,
  LatestEventTimestampResponseSchema,
  LoadEventRequestSchema,
  OffsetSchema,
  PersistenceIdSeqNrSchema,
  ReplayReqSchema,
  type ReplicaInfo,
  ReplicaInfoSchema,
  SluiceInitSchema,
  StreamInSchema
} from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { toCriteria } from "../wire/criteria.ts"
import { decodeRequest } from "../wire/decodeRequest.ts"
import { readEvent, readEvents } from "../wire/eventReader.ts"
import { headersOf } from "../wire/headers.ts"
import { integer } from "../wire/integer.ts"
import { fromSlicePositions, fromTimestampMessage, toSlicePositions, toTimestampMessage } from "../wire/messages.ts"
import { encode, eventProducerPaths, nameOf } from "../wire/methods.ts"
import { protocolVersion, versionProblem } from "../wire/protocolVersion.ts"
import {
  floorTrailer,
  forkTrailer,
  missingHeader,
  quotable,
  refusalTrailer,
  replicaHeader,
  strangerHeader,
  streamsTrailer,
  topicPrefixHeader
} from "../wire/status.ts"
import {
  type CallError as CallFailure,
  type ClientCall,
  grpcError,
  hasEnded,
  openCall,
  unaryCall
} from "./clientCall.ts"
import type { PlainOffset } from "./PlainReceiver.ts"
import { watchStall } from "./stall.ts"
import { checkTransport } from "./transport.ts"

/** What a call fails with. */
type CallError = CallFailure | StreamNotOffered | WrongReplica | ReplicaRefused | JournalForked | OffsetBelowFloor

/** @internal A call of EventsBySlices that the producer has answered. It is over at the first failure. */
export interface Connection {
  readonly journal: string
  /** Asks for the events of one entity again, of a plain producer. */
  readonly replay: ((request: Replay) => void) | undefined
  /** Whether the stream has no event yet, though the producer's journal has others. */
  readonly isMissing: boolean
  /** Whether the producer is a replica that does not know the one which calls. */
  readonly isStranger: boolean
  /** Whether the stream is one of states, of which a later one takes the place of an earlier one. */
  readonly supersedes: boolean
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Buffer>, CallError>
}

const decodeFork = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Tuple([Slice.Slice, Position, Timestamp]))
)
const decodeFloor = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Tuple([Slice.Slice, Position, Timestamp, Position, Timestamp]))
)

const filterOf = (text: string): EventFilter.EventFilter =>
  Result.getOrThrowWith(
    EventFilter.fromText(text),
    () =>
      new RangeError("it takes events by a filter with what this release does not know: run the release that it runs")
  )

const decodeReplica = Option.liftThrowable(decodeURIComponent)

const decodeRefusal = Schema.decodeUnknownOption(ReplicaRefused.fields.code)

const decodeStreams = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Array(Schema.String)))

/** For how long, in milliseconds, the headers of a call may take to be provided. */
const headersWithin = 10_000

/** After how long, in milliseconds, and then how often, it is said that a producer still cannot be reached. */
const firstUnreached = 3_000
const unreachedEvery = 30_000

/** For how long, in milliseconds, it is asked before that why. */
const reasonWithin = 1_000

/** Where a connection goes on. */
interface Onwards extends Start {
  readonly plain?: PlainOffset | undefined
}

/** For how long, in milliseconds, a producer is waited for that has answered without naming a journal, and may be a proxy that is about to fail. */
const proxyWithin = 1_000

const toOffset = ({ seen, timestamp }: PlainOffset) =>
  create(OffsetSchema, {
    timestamp: toTimestampMessage(timestamp),
    seen: Array.from(seen, ([persistenceId, seqNr]) => ({ persistenceId, seqNr: BigInt(seqNr) }))
  })

/** What workers may be doing. What a later release says is not known. */
const states: ReadonlyArray<WorkerState> = [
  "Starting",
  "CatchingUp",
  "Running",
  "Disrupted",
  "Restarting",
  "Fenced",
  "Paused",
  "Retired",
  "Stopped",
  "Ended"
]

const isUnimplemented = (error: ConsumerError): boolean =>
  error instanceof GrpcError && error.code === status.UNIMPLEMENTED

/** @internal The calls of one stream of one producer. */
export const makeProducerClient = (streamId: string, options: Options, filter: EventFilter.EventFilter) => {
  const { address, producerReplica, replica } = options
  const ownHeaders: Headers = producerReplica === undefined
    ? {}
    : { [replicaHeader]: encodeURIComponent(producerReplica.toWellFormed()) }
  const replicaInfo = replica &&
    create(ReplicaInfoSchema, {
      replicaId: replica.id,
      otherReplicaIds: [...replica.others],
      sluiceOrder: replica.order ?? "",
      sluiceJournal: replica.journal ?? ""
    })
  const sourceKey = `stream:${options.name ?? streamId}`
  /** Whether the producer has the call for the events of an entity, as far as is known since the last connection. */
  let servesEntities = true
  /** What those tags begin with that are topics, as the producer has said last, if it is not the default. */
  let topicPrefix: string | undefined
  /** By the network's clock, as all that a connection waits for. */
  const headers = (method: string): Effect.Effect<Headers, GrpcError> =>
    Effect.flatMap(CallTransport, ({ clock }) =>
      Effect.raceFirst(
        headersOf(options.headers),
        Effect.andThen(
          clock.sleep(Duration.millis(headersWithin)),
          Effect.suspend(() => {
            const details = `the effect that is to provide 'headers' has not ended after ${
              headersWithin / 1000
            } seconds`
            return Effect.fail(new GrpcError({ address, method, code: status.UNAVAILABLE, details }))
          })
        )
      ))
  /** Who says that the producer cannot be reached, of those who wait for it. */
  let speaker: object | undefined
  /** Says, for as long as it is not interrupted, that the producer cannot be reached, and why, unless another one does who waits for it. */
  const unreached = (channel: Channel): Effect.Effect<never> =>
    Effect.suspend(() => {
      const self = {}
      return Effect.gen(function*() {
        const { clock } = yield* CallTransport
        yield* clock.sleep(Duration.millis(firstUnreached))
        while (true) {
          speaker ??= self
          if (speaker === self) {
            const reason = yield* Effect.raceFirst(
              Effect.match(channel.ready(false), { onFailure: ({ details }) => `: ${details}`, onSuccess: () => "" }),
              Effect.as(clock.sleep(Duration.millis(reasonWithin)), "")
            )
            yield* Effect.logWarning(
              `Waits until the producer of '${streamId}' at ${address} can be reached: see that it runs, and that the address is right${reason}`
            )
          }
          yield* clock.sleep(Duration.millis(unreachedEvery))
        }
      }).pipe(
        Effect.ensuring(Effect.sync(() => {
          if (speaker === self) speaker = undefined
        }))
      )
    })

  /** A call of the method, as soon as one can be made. A token in its headers is no older than that. */
  const request = (channel: Channel, path: string, waitForReady = false): Effect.Effect<Request, GrpcError> =>
    (waitForReady ? Effect.raceFirst(channel.ready(true), unreached(channel)) : channel.ready(false)).pipe(
      Effect.mapError((status) => grpcError(address, nameOf(path), status)),
      Effect.andThen(headers(nameOf(path))),
      Effect.map((headers) => ({ path, headers: { ...headers, ...ownHeaders }, waitForReady }))
    )
  const protocolError = (problem: unknown) =>
    new ProtocolError({ address, problem: problem instanceof Error ? problem.message : String(problem) })
  const read = <A>(f: () => A): Effect.Effect<A, ProtocolError> => Effect.try({ try: f, catch: protocolError })

  const topicPrefixOf = (header: string | undefined): Effect.Effect<string | undefined, ProtocolError> =>
    header === undefined ? Effect.undefined : read(() => decodeURIComponent(header))

  /** Whoever asks for an entity may have no stream. An older producer tells its prefix there only. */
  const toldBy = (answered: Headers): Effect.Effect<void, ProtocolError> => {
    const header = answered[topicPrefixHeader]
    return header === undefined
      ? Effect.void
      : Effect.map(topicPrefixOf(header), (told) => void (topicPrefix = told))
  }

  /** With the journal of this process, where it has one and nothing else was said. */
  const replicaInfoHere = Effect.map(
    Effect.serviceOption(Journal),
    (journal) =>
      replicaInfo === undefined || replicaInfo.sluiceJournal !== "" || Option.isNone(journal)
        ? replicaInfo
        : { ...replicaInfo, sluiceJournal: journal.value.identity }
  )

  const init = (
    range: SliceRange,
    replicaInfo: ReplicaInfo | undefined,
    { filter: wanted = filter, journal, offsets, pastDeleted = false, placesOnly = false, plain }: Onwards
  ): Buffer =>
    encode(
      StreamInSchema,
      create(StreamInSchema, {
        message: {
          case: "init",
          value: create(InitReqSchema, {
            streamId,
            sliceMin: range.min,
            sliceMax: range.max,
            filter: toCriteria(EventFilter.diff(EventFilter.passAll, wanted), producerReplica),
            ...(replicaInfo && { replicaInfo }),
            // of several, a plain producer takes the last timestamp for all slices
            offset: plain === undefined || (journal !== undefined && journal !== timestamps) ? [] : [toOffset(plain)],
            // a producer that has taken the place of a plain one is to say so
            sluice: journal === timestamps
              ? create(SluiceInitSchema, { protocol: protocolVersion })
              : create(SluiceInitSchema, {
                protocol: protocolVersion,
                journal: journal ?? "",
                positions: toSlicePositions(offsets),
                pastDeleted,
                placesOnly
              })
          })
        }
      })
    )

  /** What a call that has failed means. */
  const explain = (call: ClientCall) => (error: CallFailure): CallError => {
    if (!(error instanceof GrpcError)) return error
    const { trailers } = call
    // of the calls that are made here, none but for a stream can find nothing
    if (error.code === status.NOT_FOUND) {
      return new StreamNotOffered({
        address,
        streamId,
        offered: Option.getOrUndefined(decodeStreams(trailers[streamsTrailer]))
      })
    }
    const other = trailers[replicaHeader]
    if (producerReplica !== undefined && other !== undefined) {
      const actual = quotable(Option.getOrElse(decodeReplica(other), () => other))
      return new WrongReplica({ streamId, address, expected: producerReplica, actual, persistenceId: undefined })
    }
    const refusal = decodeRefusal(trailers[refusalTrailer])
    if (producerReplica !== undefined && Option.isSome(refusal)) {
      const { details: problem } = error
      return new ReplicaRefused({ streamId, address, by: producerReplica, code: refusal.value, problem })
    }
    const fork = decodeFork(trailers[forkTrailer])
    if (Option.isSome(fork)) {
      const [slice, position, timestamp] = fork.value
      return new JournalForked({ entityType: streamId, slice, offset: { position, timestamp } })
    }
    const floor = decodeFloor(trailers[floorTrailer])
    if (Option.isNone(floor)) return error
    const [slice, position, timestamp, floorPosition, floorTimestamp] = floor.value
    return new OffsetBelowFloor({
      entityType: streamId,
      slice,
      offset: { position, timestamp },
      floor: { position: floorPosition, timestamp: floorTimestamp }
    })
  }

  const unary = (path: string, message: Buffer): Effect.Effect<Buffer, ConsumerError> =>
    Effect.gen(function*() {
      const way = yield* channel
      const begin = yield* request(way, path)
      return yield* unaryCall(address, way, begin, message, explain)
    }).pipe(Effect.scoped)

  /** The heads of the logs, or what is in their place before a time; of a plain producer the newest time, whatever is asked for. */
  const positions = (
    range: SliceRange,
    before: Timestamp | undefined
  ): Effect.Effect<Offsets | Timestamp, ConsumerError> => {
    const message = encode(
      LatestEventTimestampRequestSchema,
      create(LatestEventTimestampRequestSchema, {
        streamId,
        sliceMin: range.min,
        sliceMax: range.max,
        sluiceHeads: true,
        ...(before === undefined ? {} : { sluiceBefore: BigInt(before) }),
        ...(replicaInfo && { sluiceReplicaInfo: replicaInfo })
      })
    )
    return Effect.flatMap(unary(eventProducerPaths.latestEventTimestamp, message), (bytes) =>
      read(() => {
        const { sluiceHeads, timestamp } = decodeRequest(LatestEventTimestampResponseSchema, bytes)
        return timestamp !== undefined && sluiceHeads.length === 0
          ? fromTimestampMessage(timestamp)
          : fromSlicePositions(sluiceHeads)
      }))
  }

  const headsOf = (range: SliceRange): Effect.Effect<Offsets, ConsumerError> =>
    positions(range, undefined).pipe(
      Effect.map((found) => typeof found === "number" ? since(found, range) : found),
      Effect.catchIf(isUnimplemented, () => Effect.fail(new HeadsNotServed({ source: sourceKey })))
    )

  /**
   * A call whose headers name no journal. A proxy may answer so, too, and then say with a status that the producer is away: what sends events, or
   * waits with an open stream, is a producer.
   */
  const plainConnection = Effect.fnUntraced(function*(
    call: ClientCall,
    known: string | undefined
  ): Effect.fn.Return<Connection, ConsumerError, Scope.Scope> {
    const pull = Effect.mapError(call.pull, explain(call))
    const plain: Connection = {
      journal: timestamps,
      supersedes: false,
      isMissing: false,
      isStranger: false,
      pull,
      replay: ({ from, persistenceId }) => {
        const entity = create(PersistenceIdSeqNrSchema, { persistenceId, seqNr: BigInt(from) })
        const replay = create(ReplayReqSchema, {
          // for old producers, and for new ones
          persistenceIdOffset: [entity],
          replayPersistenceIds: [{ fromPersistenceIdOffset: entity }]
        })
        call.write(encode(StreamInSchema, create(StreamInSchema, { message: { case: "replay", value: replay } })))
      }
    }
    if (known === timestamps) return plain
    if (known !== undefined) {
      yield* Effect.mapError(call.first, explain(call))
      return yield* new JournalReplaced({ expected: known, actual: timestamps, entityType: streamId })
    }
    // read by a fiber of its own, as what a race has read could be lost
    const first = yield* Effect.forkScoped(Effect.exit(pull))
    const { clock } = yield* CallTransport
    const outcome = yield* Effect.raceFirst(
      Fiber.join(first),
      Effect.as(clock.sleep(Duration.millis(proxyWithin)), undefined)
    )
    if (outcome !== undefined && Exit.isFailure(outcome)) return yield* Effect.failCause(outcome.cause)
    let isFirst = true
    return {
      ...plain,
      pull: Effect.suspend(() => {
        if (!isFirst) return pull
        return Effect.flatMap(Fiber.join(first), (exit) => {
          isFirst = false
          return exit
        })
      })
    }
  })

  const entity = (
    persistenceId: PersistenceId,
    from: SequenceNumber,
    to: SequenceNumber
  ): Stream.Stream<EncodedEnvelope, ConsumerError> =>
    Stream.fromPull(Effect.gen(function*() {
      const way = yield* channel
      const message = encode(
        CurrentEventsByPersistenceIdRequestSchema,
        create(CurrentEventsByPersistenceIdRequestSchema, {
          streamId,
          persistenceId,
          fromSeqNr: BigInt(from),
          toSeqNr: BigInt(to),
          sluiceBatches: true,
          ...(replicaInfo && { sluiceReplicaInfo: replicaInfo })
        })
      )
      const begin = yield* request(way, eventProducerPaths.currentEventsByPersistenceId)
      const call = yield* openCall(address, way, begin, message)
      call.end()
      return call.pull.pipe(
        Effect.mapError((error) => hasEnded(error) ? error : explain(call)(error)),
        Effect.tap(() => toldBy(call.answered)),
        // each message has an event, or it is refused
        Effect.flatMap((messages) => read(() => readEvents(messages) as Arr.NonEmptyArray<EncodedEnvelope>)),
        Effect.catchIf(hasEnded, () => Cause.done())
      )
    })).pipe(Stream.scoped)

  /** An event, or none if there is none. */
  const loadEvent = (
    persistenceId: PersistenceId,
    sequenceNumber: SequenceNumber
  ): Effect.Effect<ReadonlyArray<EncodedEnvelope>, ConsumerError> =>
    unary(
      eventProducerPaths.loadEvent,
      encode(
        LoadEventRequestSchema,
        create(LoadEventRequestSchema, {
          streamId,
          persistenceId,
          seqNr: BigInt(sequenceNumber),
          ...(replicaInfo && { replicaInfo })
        })
      )
    ).pipe(
      // an answer has the two kinds of events under the numbers that the stream has them under
      Effect.flatMap((bytes) => read(() => [readEvent(bytes)])),
      // of an event as well
      Effect.catchIf((error) => error instanceof StreamNotOffered, () => Effect.succeed([]))
    )

  const channel: Effect.Effect<Channel, InsecureTransport, Scope.Scope> = Effect.suspend(() => checkTransport(options))
    .pipe(
      Effect.andThen(CallTransport),
      Effect.flatMap((transport) => transport.connect({ address, tls: options.tls }))
    )

  return {
    /** The connection that all streams to the producer share. */
    channel,
    protocolError,
    topicPrefix: () => topicPrefix,
    /** Whoever reads is to begin again, as nothing was read: it may have been a proxy that has answered first. */
    hasChanged: new GrpcError({
      address,
      method: nameOf(eventProducerPaths.eventsBySlices),
      code: status.UNAVAILABLE,
      details: "another producer answers than at first, of which no event has come"
    }),

    /** Opens the stream; if asked to, as soon as the producer can be reached. */
    connect: (
      channel: Channel,
      range: SliceRange,
      start: Onwards,
      waitForReady: boolean,
      received: () => Offsets
    ): Effect.Effect<Connection, ConsumerError, Scope.Scope> =>
      Effect.gen(function*() {
        const begin = yield* request(channel, eventProducerPaths.eventsBySlices, waitForReady)
        const call = yield* openCall(address, channel, begin, init(range, yield* replicaInfoHere, start))
        const answered = yield* Effect.mapError(call.headers, explain(call))
        servesEntities = true
        const journal = answered["sluice-journal"]
        if (journal === undefined) return yield* plainConnection(call, start.journal)
        if (start.journal !== undefined && !LogsIdentity.isIn(journal, start.journal)) {
          return yield* new JournalReplaced({ expected: start.journal, actual: journal, entityType: streamId })
        }
        const problem = versionProblem("producer", Number(answered["sluice-protocol"]))
        if (problem !== undefined) return yield* protocolError(problem)
        topicPrefix = yield* topicPrefixOf(answered[topicPrefixHeader])
        const { clock } = yield* CallTransport
        const heads = headsOf(range)
        yield* Effect.forkScoped(watchStall(call, { address, streamId, clock, heads, received }))
        const health = yield* Health
        yield* call.keepAlive((disruption) => {
          if (disruption === "") return health.restored()
          health.disrupted(Cause.fail(new ProducerDisrupted({ address, streamId, disruption })))
        })
        return {
          journal,
          replay: undefined,
          supersedes: answered["sluice-supersedes"] === "true",
          isMissing: answered[missingHeader] !== undefined,
          isStranger: answered[strangerHeader] !== undefined,
          pull: Effect.mapError(call.pull, explain(call))
        }
      }),

    /** Several events of an entity in one call, which old producers do not have; a single event of theirs is loaded. */
    entity: (
      persistenceId: PersistenceId,
      from: SequenceNumber,
      to: SequenceNumber
    ): Stream.Stream<EncodedEnvelope, ConsumerError | EntityNotServed> => {
      const otherwise = (): Stream.Stream<EncodedEnvelope, ConsumerError | EntityNotServed> =>
        from === to
          ? Stream.fromIterableEffect(loadEvent(persistenceId, from))
          : Stream.fail(new EntityNotServed({ source: sourceKey }))
      if (!servesEntities) return otherwise()
      return Stream.catchIf(entity(persistenceId, from, to), isUnimplemented, () => {
        servesEntities = false
        return otherwise()
      })
    },

    written: (
      persistenceId: PersistenceId,
      sequenceNumber: SequenceNumber
    ): Effect.Effect<Timestamp | undefined, ConsumerError> =>
      Effect.flatMap(
        unary(
          eventProducerPaths.eventTimestamp,
          encode(
            EventTimestampRequestSchema,
            create(EventTimestampRequestSchema, {
              streamId,
              persistenceId,
              seqNr: BigInt(sequenceNumber),
              ...(replicaInfo && { sluiceReplicaInfo: replicaInfo })
            })
          )
        ),
        (bytes) =>
          read(() => {
            const { timestamp } = decodeRequest(EventTimestampResponseSchema, bytes)
            return timestamp && fromTimestampMessage(timestamp)
          })
      ),

    heads: headsOf,

    /** How far the replica that the producer is has stored the events of another one; undefined where it does not say. */
    stored: (of: string): Effect.Effect<ReplicaProgress | undefined, ConsumerError> =>
      Effect.flatMap(
        unary(
          eventProducerPaths.latestEventTimestamp,
          encode(
            LatestEventTimestampRequestSchema,
            create(LatestEventTimestampRequestSchema, {
              streamId,
              sliceMax: full.max,
              sluiceStoredOf: of,
              ...(replicaInfo && { sluiceReplicaInfo: replicaInfo })
            })
          )
        ),
        (bytes) =>
          read((): ReplicaProgress | undefined => {
            const { sluiceStored } = decodeRequest(LatestEventTimestampResponseSchema, bytes)
            if (sluiceStored === undefined) return undefined
            const { filter, incomplete, journal, others, positions, state, waiting } = sluiceStored
            return {
              journal: journal === "" ? undefined : journal,
              offsets: fromSlicePositions(positions),
              incomplete: new Set(incomplete.map(Slice.make)),
              waiting: integer(waiting),
              state: states.find((known) => known === state) ?? "Unknown",
              others,
              ...(filter !== "" && { filter: filterOf(filter) })
            }
          })
      ).pipe(Effect.catchIf(isUnimplemented, () => Effect.undefined)),

    before: (range: SliceRange, time: Timestamp): Effect.Effect<Offsets, ConsumerError> =>
      Effect.map(
        Effect.catchIf(positions(range, time), isUnimplemented, () => Effect.succeed(time)),
        // a plain producer is asked for the time itself
        (offsets) => typeof offsets === "number" ? since(time, range) : offsets
      )
  }
}
