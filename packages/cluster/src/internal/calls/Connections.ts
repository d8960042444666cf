import type { Channel, Status } from "@sluice/grpc/Call"
import { CallTransport } from "@sluice/grpc/CallTransport"
import type { ClientTls } from "@sluice/grpc/Tls"
import * as Effect from "effect/Effect"
import * as RcMap from "effect/RcMap"
import type * as Scope from "effect/Scope"
import { InHand } from "./InHand.ts"
import { bytesHeader, notBegunTrailer, path, processHeader } from "./method.ts"

/** @internal A process, by the name that its leases have, and where it listens. */
export interface Peer {
  readonly name: string
  readonly host: string
  readonly port: number
}

/**
 * @internal
 * What has become of a command: it was answered; or the process has not begun with it, as it was not reached, or it is full; or it was sent, and whether it
 * was executed nobody knows.
 */
export type Outcome =
  | { readonly _tag: "Answered"; readonly answer: Uint8Array }
  | { readonly _tag: "NotBegun"; readonly why: string }
  | { readonly _tag: "Full" }
  | { readonly _tag: "Lost"; readonly why: string }

/** The way to a process, and what is in hand there of this one. */
interface Way {
  readonly channel: Channel
  readonly inHand: InHand
  /** Whether it could not be reached when it was needed last, and that was said. */
  isLost: boolean
}

/** A connection that nobody needs any more is kept for so long, such as one to a process that has ended. */
const idleTimeToLive = "1 minute"

const ends = "this process ends"

/** @internal An address with its port: IPv6 stands in brackets. */
export const addressOf = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`

/**
 * @internal
 * The connections of this process to the others, one to each, made when they are needed.
 */
export class Connections {
  readonly #ways: RcMap.RcMap<string, Way>
  readonly #waiting = new Set<(outcome: Outcome) => void>()
  #isClosed = false

  private constructor(ways: RcMap.RcMap<string, Way>) {
    this.#ways = ways
  }

  static readonly make = (options: {
    readonly tls: ClientTls | undefined
    /** For how long, in milliseconds, another process may say nothing. */
    readonly silence: number
  }): Effect.Effect<Connections, never, Scope.Scope> =>
    Effect.gen(function*() {
      const { connect } = yield* CallTransport
      const ways = yield* RcMap.make({
        lookup: (address: string) =>
          Effect.map(
            connect({ ...options, address, isDirect: true }),
            (channel): Way => ({ channel, inHand: new InHand(), isLost: false })
          ),
        idleTimeToLive
      })
      return yield* Effect.acquireRelease(
        Effect.sync(() => new Connections(ways)),
        (connections) =>
          Effect.sync(() => {
            connections.#isClosed = true
            for (const resume of connections.#waiting) resume({ _tag: "Lost", why: ends })
          })
      )
    })

  /**
   * Sends a command, and waits for what becomes of it, for so many milliseconds. Calls the function just before it is sent, from when on it may be executed. Who
   * is interrupted tells the other process.
   */
  request(peer: Peer, command: Uint8Array, within: number, onSent: () => void): Effect.Effect<Outcome> {
    return Effect.suspend(() => {
      if (this.#isClosed) return Effect.succeed<Outcome>({ _tag: "NotBegun", why: ends })
      const address = addressOf(peer.host, peer.port)
      const sending = Effect.flatMap(
        RcMap.get(this.#ways, address),
        (way) =>
          way.inHand.command<Outcome>(
            peer.name,
            command.byteLength,
            Effect.matchEffect(way.channel.ready(false), {
              onFailure: ({ details }) => Effect.as(isLost(way, address, details), { _tag: "NotBegun", why: details }),
              onSuccess: () => {
                const call = this.#call(way.channel, peer, command, within, onSent)
                return way.isLost ? Effect.andThen(isBack(way, address), call) : call
              }
            }),
            Effect.succeed({ _tag: "Full" })
          )
      )
      return Effect.scoped(sending)
    })
  }

  #call(
    channel: Channel,
    { name }: Peer,
    command: Uint8Array,
    within: number,
    onSent: () => void
  ): Effect.Effect<Outcome> {
    return Effect.callback<Outcome>((resume) => {
      if (this.#isClosed) return resume(Effect.succeed({ _tag: "NotBegun", why: ends }))
      let answer: Uint8Array | undefined
      const end = (outcome: Outcome) => {
        this.#waiting.delete(end)
        resume(Effect.succeed(outcome))
      }
      this.#waiting.add(end)
      onSent()
      const headers = { [processHeader]: encodeURIComponent(name), [bytesHeader]: String(command.byteLength) }
      const call = channel.call({ path, headers, waitForReady: false, timeout: within }, {
        headers: () => {},
        readable: () => {
          for (let next = call.read(); next !== undefined; next = call.read()) {
            // given up at once, as there may be millions
            if (answer !== undefined) {
              call.cancel()
              return end({ _tag: "Lost", why: "it has sent several answers" })
            }
            answer = next
          }
        },
        ended: (status) => end(outcomeOf(status, answer))
      })
      call.write(command)
      call.end()
      return Effect.sync(() => {
        this.#waiting.delete(end)
        call.cancel()
      })
    })
  }
}

/** Says so once, and not for each command. */
const isLost = (way: Way, address: string, why: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (way.isLost) return Effect.void
    way.isLost = true
    return Effect.logWarning(
      `The process at ${address} is not reached. Commands for its entities wait until it is, or others have them: ${why}`
    )
  })

const isBack = (way: Way, address: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (!way.isLost) return Effect.void
    way.isLost = false
    return Effect.logInfo(`The process at ${address} is reached again`)
  })

/** Only what the process itself has said proves that it has not begun: a library or a proxy may say anything of a call that was executed. */
const outcomeOf = ({ code, details, trailers }: Status, answer: Uint8Array | undefined): Outcome => {
  const notBegun = trailers[notBegunTrailer]
  if (notBegun !== undefined) return notBegun === "full" ? { _tag: "Full" } : { _tag: "NotBegun", why: details }
  if (code !== 0) return { _tag: "Lost", why: details }
  return answer === undefined ? { _tag: "Lost", why: "it has sent no answer" } : { _tag: "Answered", answer }
}
