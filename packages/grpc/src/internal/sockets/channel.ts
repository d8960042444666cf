import * as Grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Socket } from "node:net"
import type { Channel, OutgoingCall, Status, Target } from "../../Call.ts"
import type { ClientTls } from "../../Tls.ts"
import { maxMessageBytes } from "../wire/frames.ts"
import { clientCredentials } from "./credentials.ts"
import { answerWithin, keepalive } from "./life.ts"
import { outgoing } from "./outgoing.ts"

/** One connection per target serves all streams of the process that go there. */
interface Shared {
  client: Grpc.Client
  users: number
  /** Its connections. */
  readonly sockets: Set<Socket>
}

const options: Grpc.ChannelOptions = {
  "grpc.keepalive_permit_without_calls": 1,
  // the backoff is the caller's, which knows whether anybody still wants the connection
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.max_receive_message_length": maxMessageBytes,
  // or another client would get the connection that this one has given up
  "grpc.use_local_subchannel_pool": 1,
  // a call is made again by nobody but who knows what it means
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  // what a producer may send ahead of a consumer: per stream, as the session does not wait for streams that stand still
  "grpc-node.flow_control_window": 4 * 1024 * 1024
}

const makeClient = (target: Target, sockets: Set<Socket>): Grpc.Client =>
  new Grpc.Client(target.address, clientCredentials(target, sockets), {
    ...options,
    ...keepalive(target.silence),
    // a proxy of the environment would see plaintext, which is to stay on this machine or in a network that is trusted
    "grpc.enable_http_proxy": target.tls === undefined || target.isDirect === true ? 0 : 1
  })

const { CONNECTING, READY, SHUTDOWN, TRANSIENT_FAILURE } = Grpc.connectivityState

const nobodySpeaks = ({ silence }: Target): Status => ({
  code: Grpc.status.UNAVAILABLE,
  details: `nobody speaks HTTP/2 there: nothing has come for ${answerWithin(silence) / 1000} seconds`,
  trailers: {}
})

/** Another connection is made in the place of one on which nobody has answered. */
const renew = (target: Target, shared: Shared, client: Grpc.Client): void => {
  if (shared.client !== client || shared.users === 0) return
  client.close()
  shared.client = makeClient(target, shared.sockets)
}

/** Why there is no connection, which the library says to nobody but a call. This one sends nothing. */
const failureOf = (client: Grpc.Client, told: (status: Status) => void): OutgoingCall => {
  const request = { path: "/", headers: {}, waitForReady: false }
  return outgoing(client.getChannel(), request, { headers: () => {}, readable: () => {}, ended: told })
}

const ready = (target: Target, shared: Shared, waitForReady: boolean): Effect.Effect<void, Status> =>
  Effect.callback((resume) => {
    let isOver = false
    let asking: OutgoingCall | undefined
    const { client } = shared
    const channel = client.getChannel()
    const look = () => {
      if (isOver) return
      // not asked to connect, as one that was given up would do so again
      if (channel.getConnectivityState(false) === SHUTDOWN) return resume(Effect.fail(nobodySpeaks(target)))
      const state = channel.getConnectivityState(true)
      if (state === READY) return resume(Effect.void)
      if (state === TRANSIENT_FAILURE && !waitForReady) {
        asking = failureOf(client, (status) => {
          if (channel.getConnectivityState(false) === READY) look()
          else resume(Effect.fail(status))
        })
        return
      }
      channel.watchConnectivityState(state, Date.now() + answerWithin(target.silence), (error) => {
        if (isOver) return
        if (error === undefined || state !== CONNECTING) return look()
        renew(target, shared, client)
        resume(Effect.fail(nobodySpeaks(target)))
      })
    }
    look()
    return Effect.sync(() => {
      isOver = true
      asking?.cancel()
    })
  })

/** @internal The ways to servers. They share what leads to the same one with the same certificates. */
export const makeChannels = (): (target: Target) => Effect.Effect<Channel, never, Scope.Scope> => {
  const channels = new Map<string, Shared>()
  // a key is not to be kept in a map's key
  const identities = new WeakMap<ClientTls, number>()
  let nextIdentity = 0
  const identityOf = (tls: ClientTls): number => {
    let identity = identities.get(tls)
    if (identity === undefined) identities.set(tls, identity = nextIdentity++)
    return identity
  }
  return (target) =>
    Effect.suspend(() => {
      const key = `${target.address} ${target.tls === undefined ? "plain" : identityOf(target.tls)}`
      return Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => {
            let shared = channels.get(key)
            if (shared === undefined) {
              const sockets = new Set<Socket>()
              channels.set(key, shared = { client: makeClient(target, sockets), users: 0, sockets })
            }
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
          ready: (waitForReady) => Effect.suspend(() => ready(target, shared, waitForReady)),
          call: (request, listener) => outgoing(shared.client.getChannel(), request, listener),
          received: () => {
            let bytes = 0
            for (const { bytesRead } of shared.sockets) bytes += bytesRead
            return bytes
          }
        })
      )
    })
}
