/** A producer made by hand, which says what ours never would. */
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf"
import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import * as Grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type {
  CurrentEventsByPersistenceIdRequest,
  EventTimestampRequest,
  InitReq,
  LoadEventRequest,
  StreamIn
} from "../../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import {
  CurrentEventsByPersistenceIdRequestSchema,
  EventTimestampRequestSchema,
  EventTimestampResponseSchema,
  LatestEventTimestampRequestSchema,
  LatestEventTimestampResponseSchema,
  LoadEventRequestSchema,
  LoadEventResponseSchema,
  StreamInSchema,
  StreamOutSchema
} from "../../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { protocolVersion } from "../../src/internal/wire/protocolVersion.ts"
import * as FakeSource from "./FakeSource.ts"
import { toEvent } from "./Generated.ts"

export type Answer = MessageInitShape<typeof StreamOutSchema>

/** What a call without a stream is answered with, now or later: a message, its bytes, or a status. */
export type Reply<Desc extends DescMessage> = MessageInitShape<Desc> | Uint8Array | { readonly code: Grpc.status }
export type Later<A> = A | Promise<A>

/** A consumer's call, as the producer sees it. */
export interface FakeCall {
  readonly init: InitReq
  readonly metadata: Grpc.Metadata
  /** Answers with the headers of a journal, or with those of a plain producer. */
  readonly headers: (journal?: string) => void
  readonly send: (...answers: ReadonlyArray<Answer | Uint8Array>) => void
  readonly fail: (code: Grpc.status, details: string, trailers?: Record<string, string>) => void
  /** Ends with OK. */
  readonly end: () => void
}

export interface Handlers {
  /** The nth call of EventsBySlices, from 1, after its init. */
  readonly eventsBySlices?: (call: FakeCall, n: number) => void
  /** What the consumer says on that call after its init. */
  readonly said?: (message: StreamIn["message"], n: number) => void
  /** That call is over, whoever has ended it. */
  readonly ended?: (n: number) => void
  readonly eventTimestamp?: (request: EventTimestampRequest) => Later<Reply<typeof EventTimestampResponseSchema>>
  readonly loadEvent?: (request: LoadEventRequest) => Later<Reply<typeof LoadEventResponseSchema>>
  readonly latestEventTimestamp?: (
    metadata: Grpc.Metadata
  ) => Later<Reply<typeof LatestEventTimestampResponseSchema>>
  readonly currentEventsByPersistenceId?: (
    call: Omit<FakeCall, "init">,
    request: CurrentEventsByPersistenceIdRequest
  ) => void
}

const pass = (bytes: Buffer): Buffer => bytes
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/akka.projection.grpc.EventProducerService/${name}`,
  requestStream,
  responseStream,
  requestSerialize: pass,
  requestDeserialize: pass,
  responseSerialize: pass,
  responseDeserialize: pass
})

const speaker = (
  call: Grpc.ServerDuplexStream<Buffer, Buffer> | Grpc.ServerWritableStream<Buffer, Buffer>
): Omit<FakeCall, "init"> => ({
  metadata: call.metadata,
  headers: (journal) => {
    const headers = new Grpc.Metadata()
    if (journal !== undefined) {
      headers.set("sluice-protocol", String(protocolVersion))
      headers.set("sluice-journal", journal)
    }
    call.sendMetadata(headers)
  },
  send: (...answers) => {
    for (const answer of answers) {
      call.write(
        answer instanceof Uint8Array
          ? Buffer.from(answer)
          : Buffer.from(toBinary(StreamOutSchema, create(StreamOutSchema, answer)))
      )
    }
  },
  fail: (code, details, trailers) => {
    const metadata = new Grpc.Metadata()
    metadata.set("sluice-status", String(code))
    for (const [name, value] of Object.entries(trailers ?? {})) metadata.set(name, value)
    call.emit("error", { code, details, metadata })
  },
  end: () => call.end()
})

/** Answers a call without a stream; without a handler, it is not implemented. */
const replying = <In extends DescMessage, Out extends DescMessage>(
  input: In,
  output: Out,
  handler: ((request: MessageShape<In>, metadata: Grpc.Metadata) => Later<Reply<Out>>) | undefined
) =>
async (call: Grpc.ServerUnaryCall<Buffer, Buffer>, callback: Grpc.sendUnaryData<Buffer>): Promise<void> => {
  const reply = handler === undefined
    ? { code: Grpc.status.UNIMPLEMENTED }
    : await handler(fromBinary(input, call.request), call.metadata)
  if (reply instanceof Uint8Array) callback(null, Buffer.from(reply))
  else if ("code" in reply) callback({ code: reply.code as Grpc.status, details: "as the script says" })
  else callback(null, Buffer.from(toBinary(output, create(output, reply))))
}

/** Listens for as long as the scope, and returns the address. */
export const make = (
  handlers: Handlers,
  options?: { readonly port?: number }
): Effect.Effect<string, never, Scope.Scope> => Effect.map(listen(handlers, options), ({ address }) => address)

/** A producer that can ask its consumers to go away. */
export interface FakeProducer {
  readonly address: string
  /** Sends GOAWAY on all connections, and ends the calls that are left after so many milliseconds. */
  readonly drain: (millis: number) => void
}

/** Listens for as long as the scope. */
export const listen = (
  handlers: Handlers,
  options?: { readonly port?: number }
): Effect.Effect<FakeProducer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<readonly [Grpc.Server, string]>((resume) => {
      const server = new Grpc.Server()
      let calls = 0
      server.addService({
        eventsBySlices: method("EventsBySlices", true, true),
        eventTimestamp: method("EventTimestamp", false, false),
        loadEvent: method("LoadEvent", false, false),
        latestEventTimestamp: method("LatestEventTimestamp", false, false),
        currentEventsByPersistenceId: method("CurrentEventsByPersistenceId", false, true)
      }, {
        eventsBySlices: (call: Grpc.ServerDuplexStream<Buffer, Buffer>) => {
          const n = ++calls
          call.on("error", () => {})
          call.on("data", (bytes: Buffer) => {
            const { message } = fromBinary(StreamInSchema, bytes)
            if (message.case === "sluiceBeat") {
              const { number } = message.value
              speaker(call).send({ message: { case: "sluiceEcho", value: { number } } })
            } else if (message.case === "init") handlers.eventsBySlices?.({ ...speaker(call), init: message.value }, n)
            else handlers.said?.(message, n)
          })
          call.on("close", () => handlers.ended?.(n))
          call.on("cancelled", () => handlers.ended?.(n))
        },
        eventTimestamp: replying(EventTimestampRequestSchema, EventTimestampResponseSchema, handlers.eventTimestamp),
        loadEvent: replying(LoadEventRequestSchema, LoadEventResponseSchema, handlers.loadEvent),
        latestEventTimestamp: replying(
          LatestEventTimestampRequestSchema,
          LatestEventTimestampResponseSchema,
          (_, metadata) => handlers.latestEventTimestamp?.(metadata) ?? {}
        ),
        currentEventsByPersistenceId: (call: Grpc.ServerWritableStream<Buffer, Buffer>) => {
          call.on("error", () => {})
          if (handlers.currentEventsByPersistenceId === undefined) speaker(call).fail(Grpc.status.UNIMPLEMENTED, "")
          else {
            const request = fromBinary(CurrentEventsByPersistenceIdRequestSchema, call.request)
            handlers.currentEventsByPersistenceId(speaker(call), request)
          }
        }
      })
      server.bindAsync(`127.0.0.1:${options?.port ?? 0}`, Grpc.ServerCredentials.createInsecure(), (error, port) => {
        resume(error === null ? Effect.succeed([server, `127.0.0.1:${port}`]) : Effect.die(error))
      })
    }),
    ([server]) => Effect.sync(() => server.forceShutdown())
  ).pipe(Effect.map(([server, address]) => ({ address, drain: (millis) => server.drain(address, millis) })))

/** The nth event of an entity that has its slice to itself, with what is wrong about it. */
export const event = (n: number, change?: object): Answer => {
  const { $typeName: _, ...value } = toEvent(FakeSource.event(n))
  return { message: { case: "event", value: { ...value, ...change } } }
}

export const events = (from: number, to: number): ReadonlyArray<Answer> =>
  Array.from({ length: to - from + 1 }, (_, i) => event(from + i))
