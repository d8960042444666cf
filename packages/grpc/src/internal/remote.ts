import { create } from "@bufbuild/protobuf"
import * as Grpc from "@grpc/grpc-js"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { JournalForked, JournalReplaced } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import { Position } from "@sluice/core/Position"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import { Slice } from "@sluice/core/Slice"
import type { SliceRange } from "@sluice/core/SliceRange"
import type { Feed, Origin } from "@sluice/core/Source"
import { Timestamp } from "@sluice/core/Timestamp"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ConsumerError, Options } from "../EventConsumer.ts"
import { GrpcError, PeerNotSupported, ProtocolError } from "../GrpcError.ts"
import { acquireClient } from "./channel.ts"
import { type ClientCall, methodOf, openCall, unaryCall } from "./clientCall.ts"
import { protocolVersion } from "./eventsBySlices.ts"
import {
  CurrentEventsByPersistenceIdRequestSchema,
  LatestEventTimestampRequestSchema,
  LatestEventTimestampResponseSchema,
  StreamInSchema,
  StreamOutSchema
} from "./generated/akka/projection/grpc/event_producer_pb.ts"
import { fromSlicePositions, fromStreamOut, toSlicePositions, toTimestampMessage } from "./messages.ts"
import { decode, encode, eventProducerService } from "./methods.ts"
import { forkTrailer } from "./status.ts"

const initialBackoff = 200
const maximalBackoff = 10_000

/** Where a connection begins: after the offsets, and in the slices that have none at a time, or at the beginning. */
interface Start {
  readonly journal: string | undefined
  readonly from: Timestamp | undefined
  readonly offsets: Offset.Offsets
}

const decodeFork = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Tuple([Slice, Position, Timestamp]))
)

/** @internal The part of an origin that talks to a producer. */
export const makeRemote = (
  streamId: string,
  options: Options
): Pick<Origin<any, ConsumerError, never>, "open" | "entity" | "heads"> => {
  const { address } = options
  const client = acquireClient({ address, tls: options.tls, insecure: options.insecure ?? false })
  const headers = () => {
    const metadata = new Grpc.Metadata()
    for (const [name, value] of Object.entries(options.headers ?? {})) metadata.set(name, value)
    return metadata
  }
  const protocolError = (problem: string) => new ProtocolError({ address, problem })
  const read = <A>(f: () => A): Effect.Effect<A, ProtocolError> =>
    Effect.try({ try: f, catch: (error) => protocolError(error instanceof Error ? error.message : String(error)) })

  const init = (range: SliceRange, start: Start): Buffer =>
    encode(
      StreamInSchema,
      create(StreamInSchema, {
        message: {
          case: "init",
          value: {
            streamId,
            sliceMin: range.min,
            sliceMax: range.max,
            offset: start.from === undefined ? [] : [{ timestamp: toTimestampMessage(start.from) }],
            sluice: {
              protocol: protocolVersion,
              journal: start.journal ?? "",
              positions: toSlicePositions(start.offsets)
            }
          }
        }
      } as any)
    )

  /** What a call that has failed means. */
  const explain = (call: ClientCall) => (error: GrpcError): GrpcError | JournalForked => {
    const [fork] = call.trailers()?.get(forkTrailer) ?? []
    const place = fork === undefined ? Option.none() : decodeFork(fork)
    if (Option.isNone(place)) return error
    const [slice, position, timestamp] = place.value
    return new JournalForked({ entityType: streamId, slice, offset: { position, timestamp } })
  }

  /** One connection: it is over at the first failure. */
  const connect = (
    range: SliceRange,
    start: Start
  ): Effect.Effect<{ readonly journal: string; readonly call: ClientCall }, ConsumerError, Scope.Scope> =>
    Effect.gen(function*() {
      const connection = yield* client
      const method = eventProducerService.eventsBySlices
      const call = yield* openCall(address, methodOf(method), () => {
        const duplex = connection.makeBidiStreamRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          headers()
        )
        duplex.write(init(range, start))
        return duplex
      })
      const answered = yield* Effect.mapError(call.headers, explain(call))
      const [identity] = answered.get("sluice-journal")
      if (identity === undefined) return yield* new PeerNotSupported({ address })
      if (start.journal !== undefined && start.journal !== identity) {
        return yield* new JournalReplaced({ expected: start.journal, actual: String(identity) })
      }
      return { journal: String(identity), call }
    })

  return {
    open: (range, start) =>
      Effect.gen(function*() {
        const scope = yield* Effect.scope
        const from = "timestamp" in start ? start.timestamp : undefined
        const offsets = new Map("timestamp" in start ? Offset.none : start.offsets)
        let failures = 0

        /** Connects until it succeeds, or fails for good. */
        const connecting = (journal: string | undefined) => {
          const attempt: Effect.Effect<
            { readonly journal: string; readonly call: ClientCall; readonly close: Effect.Effect<void> },
            ConsumerError
          > = Effect.suspend(() => {
            const own = Scope.forkUnsafe(scope)
            const close = Scope.close(own, Exit.void)
            return connect(range, { journal, from, offsets }).pipe(
              Scope.provide(own),
              Effect.map((connection) => ({ ...connection, close })),
              Effect.onError(() => close),
              Effect.catch((error) => isRetryable(error) ? Effect.andThen(backOff(error), attempt) : Effect.fail(error))
            )
          })
          return attempt
        }
        const backOff = (error: ConsumerError) =>
          Effect.flatMap(Random.nextBetween(0.8, 1.2), (jitter) => {
            const wait = Math.round(Math.min(initialBackoff * 2 ** failures++, maximalBackoff) * jitter)
            return Effect.andThen(
              Effect.logWarning(`Connects to '${streamId}' at ${address} again in ${wait} ms: ${error.message}`),
              Effect.sleep(wait)
            )
          })

        const first = yield* connecting("timestamp" in start ? undefined : start.journal)
        let connection: typeof first | undefined = first

        const receive = (messages: ReadonlyArray<Buffer>): Array<EncodedEnvelope> => {
          const envelopes: Array<EncodedEnvelope> = []
          for (const message of messages) {
            const envelope = fromStreamOut(decode(StreamOutSchema, message))
            const { position, slice, timestamp } = envelope
            if (position === undefined) throw new RangeError(`event of '${envelope.persistenceId}' without a position`)
            // from a time on, any position may be the first
            const last = offsets.get(slice)?.position ?? (from === undefined ? 0 : position - 1)
            if (position <= last) continue
            if (position > last + 1) throw new RangeError(`position ${position} of slice ${slice} follows ${last}`)
            offsets.set(slice, { position, timestamp })
            envelopes.push(envelope)
          }
          return envelopes
        }

        const next: Effect.Effect<Arr.NonEmptyReadonlyArray<EncodedEnvelope>, ConsumerError> = Effect.suspend(() => {
          if (connection === undefined) {
            return Effect.flatMap(connecting(first.journal), (made) => {
              connection = made
              return next
            })
          }
          const { call, close } = connection
          return call.pull.pipe(
            Effect.mapError(explain(call)),
            Effect.flatMap((messages) => read(() => receive(messages))),
            Effect.flatMap((envelopes) => {
              failures = 0
              return Arr.isReadonlyArrayNonEmpty(envelopes) ? Effect.succeed(envelopes) : next
            }),
            Effect.catch((error) => {
              connection = undefined
              return Effect.andThen(
                close,
                isRetryable(error) ? Effect.andThen(backOff(error), next) : Effect.fail(error)
              )
            })
          )
        })
        return { journal: first.journal, envelopes: Stream.fromPull(Effect.succeed(next)) } satisfies Feed<
          ConsumerError
        >
      }),

    entity: (persistenceId: PersistenceId, from: SequenceNumber, to: SequenceNumber) =>
      Stream.fromPull(Effect.gen(function*() {
        const connection = yield* client
        const method = eventProducerService.currentEventsByPersistenceId
        const request = create(CurrentEventsByPersistenceIdRequestSchema, {
          streamId,
          persistenceId,
          fromSeqNr: BigInt(from),
          toSeqNr: BigInt(to)
        })
        const call = yield* openCall(address, methodOf(method), () =>
          connection.makeServerStreamRequest(
            method.path,
            method.requestSerialize,
            method.responseDeserialize,
            encode(CurrentEventsByPersistenceIdRequestSchema, request),
            headers()
          ))
        return call.pull.pipe(
          Effect.flatMap((messages) =>
            read(() => Arr.map(messages, (message) => fromStreamOut(decode(StreamOutSchema, message))))
          ),
          Effect.catchIf(
            (error) => error instanceof GrpcError && error.code === Grpc.status.OK,
            () => Cause.done()
          )
        )
      })).pipe(Stream.scoped),

    heads: (range) =>
      Effect.gen(function*() {
        const connection = yield* client
        const request = create(LatestEventTimestampRequestSchema, {
          streamId,
          sliceMin: range.min,
          sliceMax: range.max,
          sluiceHeads: true
        })
        const bytes = yield* unaryCall(
          connection,
          address,
          eventProducerService.latestEventTimestamp,
          encode(LatestEventTimestampRequestSchema, request),
          headers()
        )
        return yield* read(() => fromSlicePositions(decode(LatestEventTimestampResponseSchema, bytes).sluiceHeads))
      }).pipe(Effect.scoped)
  }
}

const isRetryable = (error: ConsumerError): boolean => error instanceof GrpcError && error.isRetryable
