import * as RealTime from "@sluice/sql/adapter/RealTime"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Tls from "node:tls"
import type { NodeTls } from "../../NodeTls.ts"
import { connectWithin, kinds, maxBytes, maxHelloBytes, protocol } from "./kinds.ts"
import { Link } from "./Link.ts"

/** Commands to one process that are on their way at once. */
const maxPending = 10_000

/** @internal A process, by the name that its leases have, and where it listens. */
export interface Peer {
  readonly name: string
  readonly host: string
  readonly port: number
}

/**
 * @internal
 * What has become of a command: it was answered; or it was not sent, so that it has not happened; or it was sent, and whether it has happened nobody knows.
 */
export type Outcome =
  | { readonly _tag: "Answered"; readonly reply: Buffer }
  | { readonly _tag: "NotSent"; readonly why: string }
  | { readonly _tag: "Crowded" }
  | { readonly _tag: "Lost"; readonly why: string }

interface Request {
  readonly command: Buffer
  readonly onSent: () => void
  readonly resume: (outcome: Outcome) => void
  /** Its number, once it was sent. */
  id: number | undefined
}

/** A connection, from the moment that it is wanted. */
class Connection {
  /** Those that were sent. */
  readonly #pending = new Map<number, Request>()
  /** Those that wait until the connection is made, or the other side has read what it was sent. */
  readonly #waiting = new Set<Request>()
  readonly #link: Link
  readonly #stopConnecting: () => void
  #isOpen = false
  #isClosed = false
  #isDraining = false
  #why = ""
  #ids = 0

  constructor(
    peer: Peer,
    options: { readonly tls: NodeTls | undefined; readonly silence: number },
    closed: () => void
  ) {
    const { silence, tls } = options
    const { host, port } = peer
    const socket = tls === undefined ? Net.connect({ host, port }) : Tls.connect({
      host,
      port,
      ca: tls.authority,
      cert: tls.certificate,
      key: Redacted.value(tls.key),
      minVersion: "TLSv1.2",
      ...(Net.isIP(host) === 0 ? { servername: host } : {})
    })
    this.#link = new Link(socket, {
      limit: maxHelloBytes,
      silence,
      onFrame: ({ body, id, kind }) => {
        switch (kind) {
          case kinds.welcome:
            return this.#opened()
          case kinds.reply: {
            const pending = this.#pending.get(id)
            this.#pending.delete(id)
            return pending?.resume({ _tag: "Answered", reply: body })
          }
          case kinds.refused:
            return this.#link.close(body.toString())
          default:
            return this.#link.close(`a frame of kind ${kind} means nothing`)
        }
      },
      onClose: (why) => {
        this.#isClosed = true
        this.#why = why
        this.#stopConnecting()
        closed()
        for (const { resume } of this.#waiting) resume({ _tag: "NotSent", why })
        this.#waiting.clear()
        for (const { resume } of this.#pending.values()) resume({ _tag: "Lost", why })
        this.#pending.clear()
      }
    })
    this.#stopConnecting = RealTime.after(
      connectWithin,
      () => this.#link.close(`it does not answer within ${connectWithin} ms`)
    )
    socket.once(tls === undefined ? "connect" : "secureConnect", () => {
      this.#link.send(kinds.hello, 0, `${protocol}\n${peer.name}`)
    })
  }

  request(command: Buffer, onSent: () => void): Effect.Effect<Outcome> {
    return Effect.callback<Outcome>((resume) => {
      if (this.#isClosed) return resume(Effect.succeed({ _tag: "NotSent", why: this.#why }))
      if (this.#pending.size + this.#waiting.size >= maxPending) return resume(Effect.succeed({ _tag: "Crowded" }))
      const request: Request = { command, onSent, resume: (outcome) => resume(Effect.succeed(outcome)), id: undefined }
      this.#waiting.add(request)
      this.#send()
      return Effect.sync(() => {
        this.#waiting.delete(request)
        if (request.id !== undefined && this.#pending.delete(request.id)) this.#link.send(kinds.cancel, request.id)
      })
    })
  }

  /** Sends what waits, as far as that may be. */
  #send(): void {
    if (!this.#isOpen) return
    for (const request of this.#waiting) {
      if (this.#isClosed) return
      if (this.#link.isCrowded) {
        if (!this.#isDraining) {
          this.#isDraining = true
          this.#link.onceRead(() => {
            this.#isDraining = false
            this.#send()
          })
        }
        return
      }
      this.#waiting.delete(request)
      request.id = this.#ids = (this.#ids + 1) >>> 0
      this.#pending.set(request.id, request)
      request.onSent()
      this.#link.send(kinds.command, request.id, request.command)
    }
  }

  close(why: string): void {
    this.#link.close(why)
  }

  #opened(): void {
    this.#isOpen = true
    this.#stopConnecting()
    this.#link.allow(maxBytes)
    this.#send()
  }
}

/**
 * @internal
 * The connections of this process to the others, one to each, made when they are needed.
 */
export class Connections {
  readonly #options: { readonly tls: NodeTls | undefined; readonly silence: number }
  readonly #connections = new Map<string, Connection>()
  #isClosed = false

  private constructor(options: { readonly tls: NodeTls | undefined; readonly silence: number }) {
    this.#options = options
  }

  static readonly make = (options: {
    readonly tls: NodeTls | undefined
    /** For how long, in milliseconds, another process may say nothing. */
    readonly silence: number
  }): Effect.Effect<Connections, never, Scope.Scope> =>
    Effect.acquireRelease(Effect.sync(() => new Connections(options)), (connections) =>
      Effect.sync(() => {
        connections.#isClosed = true
        for (const connection of connections.#connections.values()) connection.close("this process ends")
      }))

  /**
   * Sends a command, and waits for what becomes of it. Calls the function when it is sent, from when on it may happen. Who is interrupted tells the other
   * process, if the command was sent.
   */
  request(peer: Peer, command: Buffer, onSent: () => void): Effect.Effect<Outcome> {
    return Effect.suspend(() => {
      if (this.#isClosed) return Effect.succeed<Outcome>({ _tag: "NotSent", why: "this process ends" })
      let connection = this.#connections.get(peer.name)
      if (connection === undefined) {
        let isClosed = false
        const made: Connection = new Connection(peer, this.#options, () => {
          isClosed = true
          if (this.#connections.get(peer.name) === made) this.#connections.delete(peer.name)
        })
        if (!isClosed) this.#connections.set(peer.name, made)
        connection = made
      }
      return connection.request(command, onSent)
    })
  }
}
