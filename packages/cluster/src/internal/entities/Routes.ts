import type { PersistenceError } from "effect/cluster/ClusterError"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Peer } from "../calls/Connections.ts"
import { type ClusterDatabase, elapsed } from "../ClusterDatabase.ts"
import * as runnerStorage from "../runnerStorage.ts"
import { parse } from "./nodeName.ts"

/** Leases are read no more often than that, in milliseconds, however many commands wait for them. */
const readEvery = 50

/** So long a read is waited for, in milliseconds. */
const readWithin = 5_000

/** @internal Who has a shard, as far as that is known, and why nothing newer is known. */
export interface Route {
  readonly peer: Peer | undefined
  readonly problem: string | undefined
}

/**
 * @internal
 * Which process has which shard, as the leases in the database say. They are read when somebody has found that what is known is wrong: once for all who wait.
 */
export class Routes {
  readonly #cluster: ClusterDatabase
  readonly #run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  #peers: ReadonlyMap<number, Peer> = new Map()
  #readAt = -Infinity
  /** The read that is under way, and why the last one has failed. */
  #reading: Fiber.Fiber<void> | undefined
  #problem: string | undefined
  #isEnding = false
  /** The time by the database's clock, in microseconds, and when that was at the latest by ours, in milliseconds. */
  #clock: { readonly time: number; readonly at: number } | undefined

  private constructor(cluster: ClusterDatabase, run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>) {
    this.#cluster = cluster
    this.#run = run
  }

  static readonly make = (cluster: ClusterDatabase): Effect.Effect<Routes, never, Scope.Scope> =>
    Effect.contextWith((context: Context.Context<never>) =>
      Effect.acquireRelease(
        // not in the transaction of whoever sends a command, if he has one
        Effect.sync(() => new Routes(cluster, Effect.runForkWith(context))),
        (routes) =>
          Effect.suspend(() => {
            routes.#isEnding = true
            return routes.#reading === undefined ? Effect.void : Fiber.interrupt(routes.#reading)
          })
      )
    )

  /** The process that has the shard, by what was read after that time, in milliseconds; or by what is known where it cannot be read. */
  find(shard: number, after: number): Effect.Effect<Route> {
    return Effect.suspend(() => {
      const known = (problem?: string): Route => ({ peer: this.#peers.get(shard), problem })
      if (this.#readAt > after) return Effect.succeed(known())
      if (this.#isEnding) return Effect.succeed(known("this process ends"))
      return Effect.flatMap(
        Fiber.await(this.#joined()),
        // one that began before says nothing of what has happened since
        () => this.#problem === undefined ? this.find(shard, after) : Effect.succeed(known(this.#problem))
      )
    })
  }

  /** A time by the database's clock, in microseconds, that was not later than that one by ours, in milliseconds; undefined where that clock is not known yet. */
  databaseTime(at: number): number | undefined {
    return this.#clock && this.#clock.time + Math.floor((at - this.#clock.at) * 1_000)
  }

  #joined(): Fiber.Fiber<void> {
    if (this.#reading !== undefined) return this.#reading
    const fiber = this.#run(this.#read)
    if (fiber.pollUnsafe() === undefined) {
      this.#reading = fiber
      fiber.addObserver(() => {
        this.#reading = undefined
      })
    }
    return fiber
  }

  readonly #read: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    const askedAt = yield* elapsed
    const wait = this.#readAt + readEvery - askedAt
    if (wait > 0) yield* Effect.sleep(wait)
    const { db, now, run } = this.#cluster
    const from = yield* elapsed
    const time = yield* now
    const rows = yield* run(
      db.selectFrom("sluice_runner_shard").select(["shard", "address"]).select(time.as("now"))
        .where("workers", "=", runnerStorage.ofEntities).where("expires_at", ">", time)
    )
    const peers = new Map<string, Peer | undefined>()
    this.#peers = new Map(rows.flatMap(({ address, shard }) => {
      if (!peers.has(address)) peers.set(address, parse(address))
      const peer = peers.get(address)
      return peer === undefined ? [] : [[Number(shard.slice(shard.lastIndexOf(":") + 1)) - 1, peer] as const]
    }))
    // `elapsed` leaves out what is less than a millisecond
    if (rows.length > 0) this.#clock = { time: rows[0]!.now, at: (yield* elapsed) + 1 }
    this.#readAt = from
    this.#problem = undefined
  }).pipe(
    Effect.timeoutOrElse({
      duration: readWithin,
      orElse: () => Effect.sync(() => void (this.#problem = `it does not answer within ${readWithin} ms`))
    }),
    Effect.catch((error: PersistenceError) =>
      Effect.sync(() => {
        this.#problem = error.cause instanceof Error ? error.cause.message : String(error.cause)
      })
    )
  )
}
