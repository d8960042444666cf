/**
 * A gRPC server, and the streams that it offers.
 *
 * @since 0.1.0
 */
import * as Grpc from "@grpc/grpc-js"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { DuplicateStream, InsecureTransport, ServerError } from "./GrpcError.ts"
import { eventsBySlices } from "./internal/eventsBySlices.ts"
import { eventProducerService } from "./internal/methods.ts"
import type { OfferedStream } from "./internal/OfferedStream.ts"
import { maxMessageBytes, respondStreaming, respondUnary } from "./internal/serverCall.ts"
import { currentEventsByPersistenceId, eventTimestamp, latestEventTimestamp, loadEvent } from "./internal/unary.ts"
import { isLoopback, serverCredentials, type ServerTls } from "./Tls.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** 0 for any that is free. */
  readonly port: number
  /** Where to listen: `127.0.0.1` by default, and all addresses with `tls`. */
  readonly host?: string | undefined
  readonly tls?: ServerTls | undefined
  /** Allows plaintext beyond this machine, where the network itself is trusted. */
  readonly insecure?: boolean | undefined
}

/**
 * Listens for consumers. `EventProducer.layer` offers streams on it.
 *
 * @category services
 * @since 0.1.0
 */
export class GrpcServer extends Context.Service<GrpcServer, {
  readonly port: number
  /** Offers a stream for as long as the scope is open. Its calls then end with UNAVAILABLE. */
  readonly offer: (stream: Omit<OfferedStream, "within">) => Effect.Effect<void, DuplicateStream, Scope.Scope>
}>()("@sluice/grpc/GrpcServer") {}

const shutdownTimeout = "2 seconds"

const make = Effect.fnUntraced(function*(options: Options) {
  const host = options.host ?? (options.tls === undefined ? "127.0.0.1" : "0.0.0.0")
  const address = `${host.includes(":") ? `[${host}]` : host}:${options.port}`
  if (options.tls === undefined && options.insecure !== true && !isLoopback(host)) {
    return yield* new InsecureTransport({ address })
  }
  const streams = new Map<string, OfferedStream>()
  const server = yield* Effect.acquireRelease(
    Effect.sync(() =>
      new Grpc.Server({
        "grpc.max_receive_message_length": maxMessageBytes,
        "grpc.max_send_message_length": maxMessageBytes,
        "grpc.max_concurrent_streams": 4096,
        "grpc.keepalive_time_ms": 10_000,
        "grpc.keepalive_timeout_ms": 5_000
      })
    ),
    (server) =>
      Effect.callback<void>((resume) => server.tryShutdown(() => resume(Effect.void))).pipe(
        Effect.timeoutOption(shutdownTimeout),
        Effect.andThen(Effect.sync(() => server.forceShutdown()))
      )
  )
  // interrupted before the server shuts down, so that every call is told
  const run = yield* FiberSet.makeRuntime()

  server.addService(eventProducerService, {
    eventsBySlices(call: Grpc.ServerDuplexStream<Buffer, Buffer>) {
      respondStreaming("EventsBySlices", call, eventsBySlices(streams, call), run)
    },
    eventTimestamp(call: Grpc.ServerUnaryCall<Buffer, Buffer>, callback: Grpc.sendUnaryData<Buffer>) {
      respondUnary("EventTimestamp", call, callback, eventTimestamp(streams, call.request), run)
    },
    loadEvent(call: Grpc.ServerUnaryCall<Buffer, Buffer>, callback: Grpc.sendUnaryData<Buffer>) {
      respondUnary("LoadEvent", call, callback, loadEvent(streams, call.request), run)
    },
    latestEventTimestamp(call: Grpc.ServerUnaryCall<Buffer, Buffer>, callback: Grpc.sendUnaryData<Buffer>) {
      respondUnary("LatestEventTimestamp", call, callback, latestEventTimestamp(streams, call.request), run)
    },
    currentEventsByPersistenceId(call: Grpc.ServerWritableStream<Buffer, Buffer>) {
      respondStreaming("CurrentEventsByPersistenceId", call, currentEventsByPersistenceId(streams, call), run)
    }
  })

  const port = yield* Effect.callback<number, ServerError>((resume) => {
    server.bindAsync(
      address,
      serverCredentials(options.tls),
      (cause, port) => resume(cause === null ? Effect.succeed(port) : Effect.fail(new ServerError({ address, cause })))
    )
  })

  return GrpcServer.of({
    port,
    offer: Effect.fnUntraced(function*(stream) {
      const calls = yield* Scope.fork(yield* Effect.scope)
      const runWithin = yield* Scope.provide(FiberSet.makeRuntime(), calls)
      yield* Effect.acquireRelease(
        Effect.suspend(() => {
          if (streams.has(stream.id)) return Effect.fail(new DuplicateStream({ streamId: stream.id }))
          streams.set(stream.id, {
            ...stream,
            within: (effect) =>
              Effect.suspend(() => {
                const fiber = runWithin(effect)
                return Effect.onInterrupt(Fiber.join(fiber), () => Fiber.interrupt(fiber))
              })
          })
          return Effect.void
        }),
        // known until its calls have ended: who calls meanwhile is to call again, and not to give up
        () => Effect.andThen(Scope.close(calls, Exit.void), Effect.sync(() => streams.delete(stream.id)))
      )
    })
  })
})

/**
 * Listens for as long as the layer lives. It then ends the calls that are open with UNAVAILABLE, so that consumers
 * connect again elsewhere, or later.
 *
 * **Example** (A server on a free port of this machine)
 *
 * ```ts
 * import { GrpcServer } from "@sluice/grpc"
 * import { Effect } from "effect"
 *
 * const program = Effect.map(GrpcServer.GrpcServer, ({ port }) => port > 0)
 * await Effect.runPromise(Effect.provide(program, GrpcServer.layer({ port: 0 }))) // => true
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<GrpcServer, InsecureTransport | ServerError> =>
  Layer.effect(GrpcServer, make(options))
