/**
 * A gRPC server, and the streams that it offers.
 *
 * @since 0.1.0
 */
import { isLoopback } from "@sluice/core/Loopback"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { CallTransport } from "./CallTransport.ts"
import { DuplicateStream, InsecureTransport, ServerError } from "./GrpcError.ts"
import { endpointOf } from "./internal/address.ts"
import { pemProblem } from "./internal/pem.ts"
import { eventsBySlices } from "./internal/server/eventsBySlices.ts"
import { Gap } from "./internal/server/Gap.ts"
import { makeHealth } from "./internal/server/health.ts"
import type { OfferedStream } from "./internal/server/OfferedStream.ts"
import { reflection } from "./internal/server/reflection.ts"
import { SendBudget } from "./internal/server/SendBudget.ts"
import { streaming, unary } from "./internal/server/serverCall.ts"
import {
  currentEventsByPersistenceId,
  eventTimestamp,
  latestEventTimestamp,
  loadEvent
} from "./internal/server/unary.ts"
import { onStream } from "./internal/wire/failedAt.ts"
import { eventProducerPaths as paths } from "./internal/wire/methods.ts"
import type { Offer } from "./Offer.ts"
import type { ServerTls } from "./Tls.ts"

export type { Offer } from "./Offer.ts"

/**
 * Where a server listens, and who may connect.
 *
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
  /** The port that it listens on. */
  readonly port: number
  /** Offers a stream for as long as the scope is open. Its calls then end with UNAVAILABLE. */
  readonly offer: (stream: Offer) => Effect.Effect<void, DuplicateStream, Scope.Scope>
}>()("@sluice/grpc/GrpcServer") {}

/** How many consumers of a stream begin at the same time. */
const opensAtATime = 8

const formatAddress = (host: string, port: number): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

const make = Effect.fnUntraced(function*(options: Options) {
  const host = options.host ?? (options.tls === undefined ? "127.0.0.1" : "0.0.0.0")
  const { address, problem = pemProblem(options.tls) } = endpointOf({ host, port: options.port })
  if (problem !== undefined) return yield* new ServerError({ address, cause: problem })
  if (options.tls === undefined && options.insecure !== true && !isLoopback(host)) {
    return yield* new InsecureTransport({ address })
  }
  const transport = yield* CallTransport
  // closed before the server shuts down, so that every call is told
  const calls = yield* Scope.fork(yield* Effect.scope)
  const run = yield* Scope.provide(FiberSet.makeRuntime(), calls)
  const streams = new Map<string, OfferedStream>()
  const budget = new SendBudget(transport.clock, run)
  const gap = new Gap()
  const health = makeHealth(run)
  let offered = 0

  const port = yield* transport.listen({ address, tls: options.tls }, [
    streaming(paths.eventsBySlices, run, (call) => eventsBySlices(streams, budget, call)),
    unary(paths.eventTimestamp, run, (request, call) => eventTimestamp(streams, request, call)),
    streaming(paths.loadEvent, run, (call) => loadEvent(streams, budget, call)),
    unary(paths.latestEventTimestamp, run, (request, call) => latestEventTimestamp(streams, request, call)),
    streaming(paths.currentEventsByPersistenceId, run, (call) => currentEventsByPersistenceId(streams, budget, call)),
    ...health.methods,
    ...reflection(run)
  ])
  yield* Effect.addFinalizer(() => Scope.close(calls, Exit.void))
  // whoever watches hears so before the calls end
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      health.producer(false)
      health.server(false)
    })
  )
  health.server(true)
  const encryption = options.tls === undefined
    ? "in plaintext"
    : options.tls.clientAuthority === undefined
    ? "with TLS"
    : "with mutual TLS"
  yield* Effect.annotateLogs(Effect.logInfo(`Listens on ${formatAddress(host, port)}, ${encryption}`), {
    host,
    port,
    encryption
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
            strangers: new Set(),
            refusals: new Map(),
            looks: new Map(),
            opening: Semaphore.makeUnsafe(opensAtATime),
            gap,
            within: (effect) =>
              Effect.suspend(() => {
                const fiber = runWithin(effect)
                return Effect.onInterrupt(Fiber.join(fiber), () => Fiber.interrupt(fiber)).pipe(
                  Effect.catchCause((cause) => Effect.failCause(onStream(stream.id, cause)))
                )
              })
          })
          health.producer(++offered > 0)
          return Effect.void
        }),
        () =>
          Effect.gen(function*() {
            health.producer(--offered > 0)
            yield* Scope.close(calls, Exit.void)
            // known until its calls have ended: who calls meanwhile is to call again, and not to give up
            streams.delete(stream.id)
          })
      )
    })
  })
})

/**
 * Listens for as long as the layer lives, and logs where. It then ends the calls that are open with UNAVAILABLE, so that consumers
 * connect again elsewhere, or later.
 *
 * **Details**
 *
 * The server also answers the two services that tools know. Health (`grpc.health.v1.Health`): the server as a whole, which is
 * the name `""`, is SERVING while it listens, and `akka.projection.grpc.EventProducerService` while it offers at least one stream;
 * both become NOT_SERVING before their calls are ended. Reflection (`grpc.reflection.v1` and `v1alpha`): clients such as `grpcurl`
 * need no `.proto`.
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
