/**
 * What carries calls between services: sockets, unless a test brings something else.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Channel, Endpoint, Method, Target } from "./Call.ts"
import type { ServerError } from "./GrpcError.ts"
import { makeSockets } from "./internal/sockets/sockets.ts"

/**
 * Carries calls. Everything above it is the same over any transport: messages and their codec, heartbeats and deadlines, back-pressure,
 * connecting again, the meaning of statuses.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallTransport {
  /** What heartbeats and deadlines go by. It is the network's, whatever a test makes of the clock of a fiber. */
  readonly clock: Clock.Clock
  /** The way to a server, for as long as the scope. Nothing is connected before it is needed. */
  readonly connect: (target: Target) => Effect.Effect<Channel, never, Scope.Scope>
  /** Listens for as long as the scope, and returns the port. The calls that are open when the scope closes are given two seconds to end. */
  readonly listen: (
    endpoint: Endpoint,
    methods: ReadonlyArray<Method>
  ) => Effect.Effect<number, ServerError, Scope.Scope>
}

/**
 * What carries the calls of `EventConsumer` and `GrpcServer`: gRPC over HTTP/2, where the consumers of a process share one connection
 * per producer. The simulator provides a network without sockets.
 *
 * @category references
 * @since 0.1.0
 */
export const CallTransport: Context.Reference<CallTransport> = Context.Reference<CallTransport>(
  "@sluice/grpc/CallTransport",
  { defaultValue: makeSockets }
)
