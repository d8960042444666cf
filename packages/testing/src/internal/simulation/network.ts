import type { Channel, Endpoint, Method, Status, Target } from "@sluice/grpc/Call"
import type { CallTransport } from "@sluice/grpc/CallTransport"
import { ServerError } from "@sluice/grpc/GrpcError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Engine, Runner } from "./Engine.ts"
import { type Misconduct, unavailable } from "./networkCall.ts"
import { Connection } from "./networkConnection.ts"
import { type Delay, Link } from "./networkLink.ts"
import { choose, type Draw, fork } from "./randomness.ts"
import { place } from "./runners.ts"

/** How long a message usually takes, in milliseconds. Drawn for a whole simulation, as each finds other faults. */
const usualDelays: ReadonlyArray<Delay> = [{ min: 0, max: 1 }, { min: 1, max: 20 }, { min: 0, max: 200 }]

/** For how long, in milliseconds, somebody who has accepted a connection, or has not, may say nothing. */
const silence = 10_000

/** After how long, in milliseconds, somebody who waits for a server tries again. */
const retryAfter = { min: 100, max: 1000 }

const refused = unavailable("nobody listens there")
const silent = unavailable(`nothing has come for ${silence / 1000} seconds`)

interface Listening {
  readonly runner: Runner
  readonly methods: ReadonlyMap<string, Method>
}

/** What the calls of a process to one address share. */
interface Way {
  connection: Connection | undefined
  users: number
  readonly waiting: Set<Waiter>
  isTrying: boolean
}

interface Waiter {
  readonly waitForReady: boolean
  readonly resume: (result: Effect.Effect<void, Status>) => void
}

/** @internal The network between the processes of a simulation. A process is reached by its name as the host. */
export class Network {
  readonly #engine: Engine
  readonly #draw: Draw
  readonly #usual: Delay
  readonly #links = new Map<string, Link>()
  readonly #listening = new Map<string, Listening>()
  readonly #connections = new Set<Connection>()
  readonly #ways = new Map<Runner, Map<string, Way>>()
  readonly #halfOpen = new Set<string>()
  readonly #misconducts = new Map<string, Misconduct>()
  #ids = 0
  /** What carries the calls of every process. */
  readonly transport: CallTransport

  constructor(engine: Engine) {
    this.#engine = engine
    this.#draw = fork(engine.draw)
    this.#usual = choose(this.#draw, usualDelays)
    this.transport = {
      clock: Object.assign(new Runner(engine, "network").clock, { sleep }),
      connect: (target) => Effect.flatMap(place, ({ runner }) => this.#connect(runner, target)),
      listen: (endpoint, methods) => Effect.flatMap(place, ({ runner }) => this.#listen(runner, endpoint, methods))
    }
  }

  /** From now on nothing of what one process sends to the other arrives, until it is healed. */
  block(from: string, to: string): void {
    this.#engine.note("network", () => `${from} does not reach ${to}`)
    this.#link(from, to).block(this.#engine.now)
    for (const connection of this.#between(from, to)) connection.expire()
  }

  /** Both directions are as they were in the beginning. What was sent meanwhile arrives now. */
  heal(a: string, b: string): void {
    this.#engine.note("network", () => `${a} and ${b} reach each other`)
    this.#link(a, b).heal()
    this.#link(b, a).heal()
  }

  /** What one process sends to the other takes so long, until it is healed. */
  slow(from: string, to: string, delay: Delay): void {
    this.#engine.note("network", () => `what ${from} sends to ${to} takes ${delay.min} to ${delay.max} ms`)
    this.#link(from, to).slow(delay)
  }

  /** What a proxy in front of the process does to calls that are made from now on. */
  misconduct(server: string, misconduct: Misconduct | undefined): void {
    this.#engine.note("network", () => `the proxy of ${server} does ${misconduct ?? "what it should"}`)
    if (misconduct === undefined) this.#misconducts.delete(server)
    else this.#misconducts.set(server, misconduct)
  }

  /** The connections between two processes break. Those who do not notice at once do so when they say something, or hear nothing. */
  sever(a: string, b: string, noticedBy: ReadonlyArray<string>): void {
    this.#engine.note(
      "network",
      () => `the connections of ${a} and ${b} break, which ${noticedBy.join(" and ")} notices`
    )
    for (const connection of this.#between(a, b)) {
      const { client, server } = connection
      if (noticedBy.includes(client.name)) connection.lose("client", "the connection was reset")
      if (noticedBy.includes(server.name)) connection.lose("server", "the connection was reset")
    }
  }

  /** Whether somebody accepts connections in the place of the process, and says nothing. Proxies do so on those that there are as well. */
  setHalfOpen(server: string, isHalfOpen: boolean): void {
    this.#engine.note("network", () => `connections to ${server} are ${isHalfOpen ? "half-open" : "as they should be"}`)
    if (isHalfOpen) {
      this.#halfOpen.add(server)
      for (const connection of this.#connections) {
        if (connection.server.name === server) connection.vanish()
      }
      return
    }
    this.#halfOpen.delete(server)
    for (const connection of this.#connections) {
      if (!connection.isHalfOpen || connection.server.name !== server) continue
      // else whoever says nothing goes on doing so
      if (this.#draw() < 0.5) connection.close("server", "nobody is there")
    }
  }

  #link(from: string, to: string): Link {
    const key = `${from} ${to}`
    let link = this.#links.get(key)
    if (link === undefined) this.#links.set(key, link = new Link(fork(this.#draw), this.#usual))
    return link
  }

  #between(a: string, b: string): ReadonlyArray<Connection> {
    const found: Array<Connection> = []
    for (const connection of this.#connections) {
      const { client, isOver, server } = connection
      if (isOver) this.#connections.delete(connection)
      else if (client.name === a && server.name === b || client.name === b && server.name === a) found.push(connection)
    }
    return found
  }

  #connect(runner: Runner, { address }: Target): Effect.Effect<Channel, never, Scope.Scope> {
    return Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          const ways = this.#waysOf(runner)
          let way = ways.get(address)
          if (way === undefined) {
            ways.set(address, way = { connection: undefined, users: 0, waiting: new Set(), isTrying: false })
          }
          way.users++
          return way
        }),
        (way) =>
          Effect.sync(() => {
            if (--way.users > 0) return
            this.#ways.get(runner)?.delete(address)
            way.connection?.close("client", "the client has gone")
          })
      ),
      (way): Channel => ({
        ready: (waitForReady) => this.#ready(runner, address, way, waitForReady),
        call: (request, listener) => {
          if (way.connection?.hasLost("client") === false) return way.connection.call(request, listener)
          runner.after(0, () => listener.ended(refused))
          return { write: () => {}, end: () => {}, read: () => undefined, cancel: () => {} }
        }
      })
    )
  }

  #waysOf(runner: Runner): Map<string, Way> {
    let ways = this.#ways.get(runner)
    if (ways === undefined) {
      this.#ways.set(runner, ways = new Map())
      runner.onKill(() => this.#killed(runner))
    }
    return ways
  }

  #killed(runner: Runner): void {
    this.#ways.delete(runner)
    for (const [address, listening] of this.#listening) {
      if (listening.runner === runner) this.#listening.delete(address)
    }
    for (const connection of this.#connections) {
      if (connection.client === runner) connection.kill("client")
      if (connection.server === runner) connection.kill("server")
    }
  }

  #ready(runner: Runner, address: string, way: Way, waitForReady: boolean): Effect.Effect<void, Status> {
    return Effect.callback((resume) => {
      if (way.connection?.isOfUse === true) return resume(Effect.void)
      const waiter: Waiter = { waitForReady, resume }
      way.waiting.add(waiter)
      this.#try(runner, address, way)
      return Effect.sync(() => way.waiting.delete(waiter))
    })
  }

  /** Connects, for all who wait. */
  #try(runner: Runner, address: string, way: Way): void {
    if (way.isTrying || way.waiting.size === 0) return
    way.isTrying = true
    let isAnswered = false
    const answered = (result: Effect.Effect<void, Status>, isFor: (waiter: Waiter) => boolean = () => true) => {
      isAnswered = true
      way.isTrying = false
      // who is told may wait again
      for (const waiter of Array.from(way.waiting).filter(isFor)) {
        way.waiting.delete(waiter)
        waiter.resume(result)
      }
    }
    runner.after(silence, () => {
      if (!isAnswered) answered(Effect.fail(silent))
    })
    this.#knock(runner, address, (connection) => {
      if (isAnswered) return connection?.close("client", "it was given up")
      if (connection === undefined) {
        answered(Effect.fail(refused), ({ waitForReady }) => !waitForReady)
        const wait = retryAfter.min + this.#draw() * (retryAfter.max - retryAfter.min)
        runner.after(wait, () => this.#try(runner, address, way))
      } else if (way.users === 0) {
        connection.close("client", "it is not needed")
      } else {
        way.connection = connection
        answered(Effect.void)
      }
    })
  }

  /** Asks for a connection. There is none where nobody listens. */
  #knock(client: Runner, address: string, answered: (connection: Connection | undefined) => void): void {
    const [host, port] = hostAndPort(address, client)
    const [up, down] = [this.#link(client.name, host), this.#link(host, client.name)]
    const answer = (task: () => void) =>
      this.#engine.after(down.delay, () => down.pass(() => void client.after(0, task)))
    this.#engine.after(up.delay, () =>
      up.pass(() => {
        const listening = this.#listening.get(`${host}:${port}`)
        const isHalfOpen = this.#halfOpen.has(host)
        if (listening === undefined && !isHalfOpen) return answer(() => answered(undefined))
        const server = isHalfOpen ? new Runner(this.#engine, host) : listening!.runner
        const methods = listening?.methods ?? new Map()
        const accept = () => {
          const id = ++this.#ids
          const misconduct = () => this.#misconducts.get(host)
          const ends = { engine: this.#engine, draw: this.#draw, client, server, up, down, methods, id }
          const connection = new Connection({ ...ends, isHalfOpen, misconduct })
          this.#connections.add(connection)
          this.#engine.note("network", () => `${client.name} connects to ${address} as ${connection.peer}`)
          answer(() => answered(connection))
        }
        // a process that is frozen accepts nothing
        server.after(0, accept)
      }))
  }

  #listen(
    runner: Runner,
    { address }: Endpoint,
    methods: ReadonlyArray<Method>
  ): Effect.Effect<number, ServerError, Scope.Scope> {
    return Effect.map(
      Effect.acquireRelease(
        Effect.suspend(() => {
          const port = Number(address.slice(address.lastIndexOf(":") + 1)) || 50_000 + ++this.#ids
          const key = `${runner.name}:${port}`
          if (this.#listening.has(key)) {
            return Effect.fail(
              new ServerError({ address, cause: new Error("EADDRINUSE: another server listens there") })
            )
          }
          this.#waysOf(runner)
          this.#listening.set(key, { runner, methods: new Map(methods.map((method) => [method.path, method])) })
          for (const connection of this.#connections) connection.revive(runner.name)
          return Effect.succeed({ key, port })
        }),
        ({ key }) =>
          Effect.sync(() => {
            this.#listening.delete(key)
            for (const connection of this.#connections) {
              if (connection.server === runner) connection.close("server", "the server shuts down")
            }
          })
      ),
      ({ port }) => port
    )
  }
}

const hostAndPort = (address: string, client: Runner): readonly [host: string, port: string] => {
  const at = address.lastIndexOf(":")
  const host = address.slice(0, at)
  return [["localhost", "127.0.0.1", "[::1]"].includes(host) ? client.name : host, address.slice(at + 1)]
}

/** Who sleeps wakes as its process does. */
const sleep = (duration: Duration.Duration): Effect.Effect<void> =>
  Effect.flatMap(place, ({ runner }) => runner.clock.sleep(duration))

const networks = new WeakMap<Engine, Network>()

/** @internal The network of a simulation. */
export const networkOf = (engine: Engine): Network => {
  let network = networks.get(engine)
  if (network === undefined) networks.set(engine, network = new Network(engine))
  return network
}
