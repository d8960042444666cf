import * as Clock from "effect/Clock"
import type { RunnerAddress } from "effect/cluster/RunnerAddress"
import type { RunnerHealth } from "effect/cluster/RunnerHealth"
import type * as RunnerStorage from "effect/cluster/RunnerStorage"
import type { ShardId } from "effect/cluster/ShardId"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { type ClusterDatabase, elapsed } from "../ClusterDatabase.ts"
import * as placedShards from "../placedShards.ts"
import * as runnerStorage from "../runnerStorage.ts"
import { LeaseTimes } from "./LeaseTimes.ts"
import { shards } from "./shardOf.ts"

/** Shards are mostly given up together: so long, in milliseconds, the first waits for others. */
const togetherWithin = 5

/** @internal So long whoever is to have shards next waits for what is in hand for them. */
export const closeWithin = (takeover: Duration.Duration): Duration.Duration => Duration.divideUnsafe(takeover, 3)

/**
 * @internal
 * The shards of entities that this process has.
 */
export class EntityShards {
  readonly #open = new Set<number>()
  readonly #times: LeaseTimes
  readonly #clock: Clock.Clock
  #isEnding = false

  private constructor(takeover: number, clock: Clock.Clock) {
    this.#times = new LeaseTimes(takeover)
    this.#clock = clock
  }

  static readonly make = Effect.fnUntraced(
    function*(options: {
      readonly cluster: ClusterDatabase
      readonly takeover: Duration.Duration
      readonly address: RunnerAddress
      readonly weight: number
      readonly health: Context.Context<RunnerHealth>
      /** Ends once nothing is in hand for entities of these shards, and nothing is kept of them. It may be interrupted. */
      readonly close: (shards: ReadonlySet<number>) => Effect.Effect<void>
      /** Keeps nothing of the entities of these shards, and answers what is in hand for them at once. */
      readonly abandon: (shards: ReadonlySet<number>) => Effect.Effect<void>
    }): Effect.fn.Return<EntityShards, never, Scope.Scope> {
      const { cluster, takeover } = options
      const clock = yield* Clock.Clock
      const self = new EntityShards(Duration.toMillis(takeover), clock)
      const times = placedShards.timesOf(takeover)
      const context = yield* Effect.context()
      const withLock = Semaphore.makeUnsafe(1).withPermits(1)
      const closing = new Set<number>()
      const closeAll = Effect.suspend(() => {
        if (closing.size === 0) return Effect.void
        const batch = new Set(closing)
        closing.clear()
        return Effect.timeoutOrElse(options.close(batch), {
          duration: closeWithin(takeover),
          // what is held of them is out of date when they come back
          orElse: () => options.abandon(batch)
        })
      })
      const close = (shard: number) =>
        Effect.suspend(() => {
          // all were closed together
          if (self.#isEnding) return Effect.void
          self.#open.delete(shard)
          closing.add(shard)
          return Effect.andThen(
            Effect.sleep(togetherWithin),
            withLock(Effect.suspend(() => closing.has(shard) ? closeAll : Effect.void))
          )
        }).pipe(Effect.ensuring(Effect.sync(() => self.#times.released(shard))))
      yield* placedShards.make({
        ...options,
        shards,
        times,
        storage: self.#watching(
          yield* runnerStorage.make({ cluster, workers: runnerStorage.ofEntities, onNothingAssigned: () => {} })
        ),
        run: (shard) =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              if (!self.#isEnding) self.#open.add(shard)
            }),
            () => Effect.never,
            () => Effect.provideContext(close(shard), context)
          )
      })
      // all of them at once: Effect Cluster would end one after the other
      yield* Effect.addFinalizer(() =>
        Effect.suspend(() => {
          self.#isEnding = true
          for (const shard of self.#open) closing.add(shard)
          self.#open.clear()
          return withLock(closeAll)
        })
      )
      return self
    }
  )

  /** Whether this process has the shard, and no other can have it. */
  has(shard: number): boolean {
    return this.#open.has(shard) && this.#times.has(shard, this.#now())
  }

  get size(): number {
    return this.#open.size
  }

  #now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  }

  /** Notes what the database says of leases. */
  #watching(storage: RunnerStorage.RunnerStorage["Service"]): RunnerStorage.RunnerStorage["Service"] {
    const leased = (ids: ReadonlyArray<ShardId>, askedAt: number) =>
      this.#times.leased(ids.map(({ id }) => id - 1), askedAt)
    return {
      ...storage,
      register: (runner, healthy) =>
        Effect.flatMap(
          elapsed,
          (askedAt) => Effect.tap(storage.register(runner, healthy), Effect.sync(() => this.#times.heard(askedAt)))
        ),
      acquire: (address, ids) =>
        Effect.flatMap(
          elapsed,
          (askedAt) => Effect.tap(storage.acquire(address, ids), (taken) => Effect.sync(() => leased(taken, askedAt)))
        ),
      refresh: (address, ids) =>
        Effect.flatMap(elapsed, (askedAt) =>
          Effect.tap(storage.refresh(address, ids), (held) =>
            Effect.sync(() => {
              this.#times.heard(askedAt)
              leased(held, askedAt)
            })))
    }
  }
}
