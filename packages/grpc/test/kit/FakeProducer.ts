/** A producer made by hand, which says what ours never would. */
import type { MessageInitShape } from "@bufbuild/protobuf"
import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import * as Grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { InitReq } from "../../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import {
  LatestEventTimestampResponseSchema,
  StreamInSchema,
  StreamOutSchema
} from "../../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import * as FakeSource from "./FakeSource.ts"
import { toEvent } from "./Generated.ts"

export type Answer = MessageInitShape<typeof StreamOutSchema>

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
  readonly latestEventTimestamp?: (
    metadata: Grpc.Metadata
  ) => MessageInitShape<typeof LatestEventTimestampResponseSchema> | Uint8Array
  readonly currentEventsByPersistenceId?: (call: Omit<FakeCall, "init">) => void
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
      headers.set("sluice-protocol", "1")
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

/** Listens for as long as the scope, and returns the address. */
export const make = (handlers: Handlers): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<readonly [Grpc.Server, string]>((resume) => {
      const server = new Grpc.Server()
      let calls = 0
      server.addService({
        eventsBySlices: method("EventsBySlices", true, true),
        latestEventTimestamp: method("LatestEventTimestamp", false, false),
        currentEventsByPersistenceId: method("CurrentEventsByPersistenceId", false, true)
      }, {
        eventsBySlices: (call: Grpc.ServerDuplexStream<Buffer, Buffer>) => {
          const n = ++calls
          call.on("error", () => {})
          call.on("data", (bytes: Buffer) => {
            const { message } = fromBinary(StreamInSchema, bytes)
            if (message.case === "init") handlers.eventsBySlices?.({ ...speaker(call), init: message.value }, n)
          })
        },
        latestEventTimestamp: (
          call: Grpc.ServerUnaryCall<Buffer, Buffer>,
          callback: Grpc.sendUnaryData<Buffer>
        ) => {
          const answer = handlers.latestEventTimestamp?.(call.metadata) ?? {}
          callback(
            null,
            answer instanceof Uint8Array
              ? Buffer.from(answer)
              : Buffer.from(
                toBinary(LatestEventTimestampResponseSchema, create(LatestEventTimestampResponseSchema, answer))
              )
          )
        },
        currentEventsByPersistenceId: (call: Grpc.ServerWritableStream<Buffer, Buffer>) => {
          call.on("error", () => {})
          handlers.currentEventsByPersistenceId?.(speaker(call))
        }
      })
      server.bindAsync("127.0.0.1:0", Grpc.ServerCredentials.createInsecure(), (error, port) => {
        resume(error === null ? Effect.succeed([server, `127.0.0.1:${port}`]) : Effect.die(error))
      })
    }),
    ([server]) => Effect.sync(() => server.forceShutdown())
  ).pipe(Effect.map(([, address]) => address))

/** The nth event of an entity that has its slice to itself, with what is wrong about it. */
export const event = (n: number, change?: object): Answer => {
  const { $typeName: _, ...value } = toEvent(FakeSource.event(n))
  return { message: { case: "event", value: { ...value, ...change } } }
}

export const events = (from: number, to: number): ReadonlyArray<Answer> =>
  Array.from({ length: to - from + 1 }, (_, i) => event(from + i))
