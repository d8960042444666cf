import type { Method, OutgoingCall, OutgoingListener, Request } from "@sluice/grpc/Call"
import type { Engine, Runner } from "./Engine.ts"
import { Call, type Carrier, type Misconduct, otherSide, type Side } from "./networkCall.ts"
import type { Link } from "./networkLink.ts"
import { choose, type Draw } from "./randomness.ts"

/** How many bytes of a call may be under way, in small simulations and in large ones. */
const windows = [256, 4096, 65_536]

/** After how long without an answer, in milliseconds, an end takes its connection for dead. */
const keepalive = { min: 10_000, max: 15_000 }

/** @internal What the two ends of a connection are. */
export interface Ends {
  readonly engine: Engine
  readonly draw: Draw
  readonly client: Runner
  readonly server: Runner
  readonly up: Link
  readonly down: Link
  readonly methods: ReadonlyMap<string, Method>
  readonly id: number
  readonly isHalfOpen: boolean
  /** What a proxy between them does to a call that is made now. */
  readonly misconduct: () => Misconduct | undefined
}

/** @internal A connection from one process to another, with the calls on it. Either end may lose it while the other still has it. */
export class Connection implements Carrier {
  readonly engine: Engine
  readonly client: Runner
  readonly server: Runner
  readonly up: Link
  readonly down: Link
  readonly methods: ReadonlyMap<string, Method>
  readonly peer: string
  readonly #draw: Draw
  readonly #misconduct: Ends["misconduct"]
  readonly #lost = new Set<Side>()
  readonly #calls = new Set<Call>()
  readonly #window: number
  /** A proxy may answer for the server: then the client's keepalive proves nothing, and only silence above it does. */
  readonly #isProxied: boolean
  #isHalfOpen: boolean
  /** The host of a process that was killed is down as well: nobody says that the connection is no more. */
  #isMute = false

  constructor(ends: Ends) {
    this.engine = ends.engine
    this.client = ends.client
    this.server = ends.server
    this.up = ends.up
    this.down = ends.down
    this.methods = ends.methods
    this.#isHalfOpen = ends.isHalfOpen
    this.peer = `${ends.client.name}:${ends.id}`
    this.#draw = ends.draw
    this.#misconduct = ends.misconduct
    this.#window = choose(ends.draw, windows)
    this.#isProxied = ends.isHalfOpen || ends.draw() < 0.5
  }

  /** Somebody accepts what is sent to the server, and hands nothing on. */
  get isHalfOpen(): boolean {
    return this.#isHalfOpen
  }

  get misconduct(): Misconduct | undefined {
    return this.#misconduct()
  }

  /** Whether the client makes more calls on it: a proxy that answered for a server that is gone finds another for them. */
  get isOfUse(): boolean {
    return !this.hasLost("client") && !this.#isHalfOpen
  }

  get isOver(): boolean {
    return this.#lost.size === 2
  }

  call(request: Request, listener: OutgoingListener): OutgoingCall {
    const call = new Call(this, request, listener, this.#window)
    this.#calls.add(call)
    return call.outgoing
  }

  forget(call: Call): void {
    this.#calls.delete(call)
  }

  hasLost(side: Side): boolean {
    return this.#lost.has(side)
  }

  /** One end hears that the connection is no more. */
  lose(side: Side, details: string): void {
    if (this.#lost.has(side)) return
    this.#lost.add(side)
    this.engine.note(this.#runnerOf(side).name, () => `loses its connection ${this.peer}: ${details}`)
    for (const call of this.#calls) call.lost(side, details)
  }

  /** One end closes the connection; the other hears of it after what was sent. */
  close(side: Side, details: string): void {
    if (this.#lost.has(side)) return
    this.#lost.add(side)
    for (const call of this.#calls) call.closed(side, details)
    const link = side === "client" ? this.up : this.down
    this.engine.after(link.delay, () => link.pass(() => this.lose(otherSide(side), details)))
  }

  /** The process of an end was killed: either its system says so, or nobody does. */
  kill(side: Side): void {
    if (this.hasLost(side)) return
    if (this.#draw() < 0.5) return this.close(side, "the other end was closed")
    this.#lost.add(side)
    this.#isMute = true
    if (side === "server" && this.#isProxied) this.#isHalfOpen = true
    this.expire()
  }

  /** The way between a proxy and the server breaks, which the client does not notice. */
  vanish(): void {
    if (!this.#isProxied || this.isOver) return
    this.#isHalfOpen = true
    this.lose("server", "the connection was reset")
  }

  /** What has come for an end that has lost the connection is answered with a reset. */
  refuse(side: Side): void {
    if (this.#isMute || this.hasLost(otherSide(side))) return
    const link = side === "client" ? this.up : this.down
    this.engine.after(link.delay, () => link.pass(() => this.lose(otherSide(side), "the connection was reset")))
  }

  /** The host of a process is up again: from now on it answers with resets, also to what the other end's keepalive asks. */
  revive(name: string): void {
    if (!this.#isMute) return
    for (const side of ["client", "server"] as const) {
      if (!this.hasLost(side) || this.#runnerOf(side).name !== name) continue
      this.#isMute = false
      if (side === "client" || !this.#isProxied) {
        this.engine.after(this.#draw() * keepalive.min, () => this.refuse(side))
      }
    }
  }

  /** Nothing arrives any more in one direction at least: an end that hears nothing for long enough takes it for lost. */
  expire(): void {
    for (const side of ["client", "server"] as const) {
      if (this.hasLost(side) || side === "client" && this.#isProxied) continue
      const { blockedSince: up } = this.up
      const { blockedSince: down } = this.down
      const wait = keepalive.min + this.#draw() * (keepalive.max - keepalive.min)
      this.engine.after(wait, () => {
        const isStill = this.#isMute ||
          up !== undefined && this.up.blockedSince === up ||
          down !== undefined && this.down.blockedSince === down
        if (isStill) this.lose(side, "nothing has come for too long")
      })
    }
  }

  #runnerOf(side: Side): Runner {
    return side === "client" ? this.client : this.server
  }
}
