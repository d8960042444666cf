import * as Grpc from "@grpc/grpc-js"
import { isLoopback } from "@sluice/core/Loopback"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { InsecureTransport } from "../GrpcError.ts"
import type { ClientTls } from "../Tls.ts"
import { clientCredentials } from "./credentials.ts"
import { maxMessageBytes } from "./frames.ts"

/** @internal Where a producer is, and how to get there. */
export interface Target {
  readonly address: string
  readonly tls: ClientTls | undefined
  readonly insecure: boolean
}

interface Shared {
  readonly client: Grpc.Client
  users: number
}

/** One connection per target serves all streams of the process that go there. */
const channels = new Map<string, Shared>()

/** A key is not to be kept in a map's key. */
const identities = new WeakMap<object, number>()
let nextIdentity = 0
const identityOf = (tls: ClientTls): number => {
  let identity = identities.get(tls)
  if (identity === undefined) identities.set(tls, identity = nextIdentity++)
  return identity
}

const options: Grpc.ChannelOptions = {
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc.keepalive_permit_without_calls": 1,
  // the backoff is the caller's, which knows whether anybody still wants the connection
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.max_receive_message_length": maxMessageBytes,
  // what a producer may send ahead of a consumer: per stream, as the session does not wait for streams that stand still
  "grpc-node.flow_control_window": 4 * 1024 * 1024
}

/** @internal */
export const acquireClient = (target: Target): Effect.Effect<Grpc.Client, InsecureTransport, Scope.Scope> =>
  Effect.suspend(() => {
    if (target.tls === undefined && !target.insecure && !isLoopback(hostOf(target.address))) {
      return Effect.fail(new InsecureTransport({ address: target.address }))
    }
    const key = `${target.address} ${target.tls === undefined ? "plain" : identityOf(target.tls)}`
    return Effect.acquireRelease(
      Effect.sync(() => {
        let shared = channels.get(key)
        if (shared === undefined) {
          shared = { client: new Grpc.Client(target.address, clientCredentials(target.tls), options), users: 0 }
          channels.set(key, shared)
        }
        shared.users++
        return shared.client
      }),
      (client) =>
        Effect.sync(() => {
          const shared = channels.get(key)!
          if (--shared.users > 0) return
          channels.delete(key)
          client.close()
        })
    )
  })

const hostOf = (address: string): string =>
  address.startsWith("[") ? address.slice(1, address.indexOf("]")) : address.replace(/:\d+$/, "")
