import * as Grpc from "@grpc/grpc-js"
import { isLoopback } from "@sluice/core/Loopback"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { GrpcError, InsecureTransport } from "../../GrpcError.ts"
import type { ClientTls } from "../../Tls.ts"
import { clientCredentials, silence } from "../credentials.ts"
import { maxMessageBytes } from "../wire/frames.ts"

/** @internal Where a producer is, and how to get there. */
export interface Target {
  readonly address: string
  readonly tls: ClientTls | undefined
  readonly insecure: boolean
}

/** @internal The way to a producer. */
export interface Channel {
  /**
   * Connects, and returns what makes calls. If asked to, it waits until the producer can be reached; else the call fails with the
   * reason. Fails when somebody has accepted the connection and does not speak HTTP/2; the next attempt makes another connection.
   */
  readonly connected: (waitForReady: boolean, method: string) => Effect.Effect<Grpc.Client, GrpcError>
}

interface Shared {
  client: Grpc.Client
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
  // or another client would get the connection that this one has given up
  "grpc.use_local_subchannel_pool": 1,
  // what a producer may send ahead of a consumer: per stream, as the session does not wait for streams that stand still
  "grpc-node.flow_control_window": 4 * 1024 * 1024
}

const makeClient = ({ address, tls }: Target): Grpc.Client =>
  new Grpc.Client(address, clientCredentials(tls), {
    ...options,
    // a proxy of the environment would see plaintext, which is to stay on this machine or in a network that is trusted
    "grpc.enable_http_proxy": tls === undefined ? 0 : 1
  })

const { CONNECTING, READY, SHUTDOWN, TRANSIENT_FAILURE } = Grpc.connectivityState

const connect = (
  { address }: Target,
  shared: Shared,
  renew: (client: Grpc.Client) => void,
  waitForReady: boolean,
  method: string
): Effect.Effect<Grpc.Client, GrpcError> =>
  Effect.callback<Grpc.Client, GrpcError>((resume) => {
    let isOver = false
    const { client } = shared
    const channel = client.getChannel()
    const giveUp = () => {
      const details = `nobody speaks HTTP/2 there: nothing has come for ${silence / 1000} seconds`
      resume(Effect.fail(new GrpcError({ address, method, code: Grpc.status.UNAVAILABLE, details })))
    }
    const look = () => {
      if (isOver) return
      const state = channel.getConnectivityState(true)
      if (state === READY || state === TRANSIENT_FAILURE && !waitForReady) return resume(Effect.succeed(client))
      if (state === SHUTDOWN) return giveUp()
      // by the network's clock, whatever a test makes of the fiber's
      channel.watchConnectivityState(state, Date.now() + silence, (error) => {
        if (isOver) return
        if (error === undefined || state !== CONNECTING) return look()
        renew(client)
        giveUp()
      })
    }
    look()
    return Effect.sync(() => {
      isOver = true
    })
  })

/** @internal */
export const acquireChannel = (target: Target): Effect.Effect<Channel, InsecureTransport, Scope.Scope> =>
  Effect.suspend(() => {
    if (target.tls === undefined && !target.insecure && !isLoopback(hostOf(target.address))) {
      return Effect.fail(new InsecureTransport({ address: target.address }))
    }
    const key = `${target.address} ${target.tls === undefined ? "plain" : identityOf(target.tls)}`
    return Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          let shared = channels.get(key)
          if (shared === undefined) channels.set(key, shared = { client: makeClient(target), users: 0 })
          shared.users++
          return shared
        }),
        (shared) =>
          Effect.sync(() => {
            if (--shared.users > 0) return
            channels.delete(key)
            shared.client.close()
          })
      ),
      (shared): Channel => ({
        connected: (waitForReady, method) =>
          Effect.suspend(() =>
            connect(
              target,
              shared,
              (client) => {
                if (shared.client !== client || shared.users === 0) return
                client.close()
                shared.client = makeClient(target)
              },
              waitForReady,
              method
            )
          )
      })
    )
  })

const hostOf = (address: string): string =>
  address.startsWith("[") ? address.slice(1, address.indexOf("]")) : address.replace(/:\d+$/, "")
