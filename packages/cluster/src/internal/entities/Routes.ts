import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Semaphore from "effect/Semaphore"
import { type ClusterDatabase, elapsed } from "../ClusterDatabase.ts"
import * as runnerStorage from "../runnerStorage.ts"
import type { Peer } from "../sockets/Connections.ts"
import { parse } from "./nodeName.ts"

/** Leases are read no more often than that, in milliseconds, however many commands wait for them. */
const readEvery = 50

/**
 * @internal
 * Which process has which shard, as the leases in the database say. They are read when somebody has found that what is known is wrong.
 */
export class Routes {
  readonly #cluster: ClusterDatabase
  readonly #withLock = Semaphore.makeUnsafe(1).withPermits(1)
  readonly #run: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
  #peers: ReadonlyMap<number, Peer> = new Map()
  #readAt = -Infinity

  private constructor(cluster: ClusterDatabase, run: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>) {
    this.#cluster = cluster
    this.#run = run
  }

  static readonly make = (cluster: ClusterDatabase): Effect.Effect<Routes> =>
    Effect.contextWith((context: Context.Context<never>) =>
      Effect.sync(() => new Routes(cluster, Effect.runForkWith(context)))
    )

  /** The process that has the shard, or undefined where none has it; by what was read after that time, in milliseconds. */
  find(shard: number, after: number): Effect.Effect<Peer | undefined> {
    return Effect.suspend(() =>
      this.#readAt > after
        ? Effect.succeed(this.#peers.get(shard))
        // not in the transaction of whoever sends the command, if he has one
        : Effect.suspend(() => Fiber.join(this.#run(this.#withLock(this.#read(after))))).pipe(
          Effect.map(() => this.#peers.get(shard))
        )
    )
  }

  #read(after: number): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      // somebody else has read meanwhile
      if (this.#readAt > after) return
      const askedAt = yield* elapsed
      const wait = this.#readAt + readEvery - askedAt
      if (wait > 0) yield* Effect.sleep(wait)
      const { db, now, run } = this.#cluster
      const from = yield* elapsed
      const rows = yield* run(
        db.selectFrom("sluice_runner_shard").select(["shard", "address"])
          .where("workers", "=", runnerStorage.ofEntities).where("expires_at", ">", yield* now)
      )
      const peers = new Map<string, Peer | undefined>()
      this.#peers = new Map(rows.flatMap(({ address, shard }) => {
        if (!peers.has(address)) peers.set(address, parse(address))
        const peer = peers.get(address)
        return peer === undefined ? [] : [[Number(shard.slice(shard.lastIndexOf(":") + 1)) - 1, peer] as const]
      }))
      this.#readAt = from
    }).pipe(
      // what was known is as good as anything, and leases may have ended: whoever asks tries again
      Effect.catch(() => Effect.void)
    )
  }
}
