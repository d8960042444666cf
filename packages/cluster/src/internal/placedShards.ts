import * as EntityId from "effect/cluster/EntityId"
import * as MessageStorage from "effect/cluster/MessageStorage"
import type { RunnerAddress } from "effect/cluster/RunnerAddress"
import type { RunnerHealth } from "effect/cluster/RunnerHealth"
import * as Runners from "effect/cluster/Runners"
import { RunnerStorage } from "effect/cluster/RunnerStorage"
import * as Sharding from "effect/cluster/Sharding"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"

const group = "default"

/**
 * @internal
 * How soon things are noticed, by how long a process may be silent. A lease is renewed three times before it ends, so that a renewal may be
 * late or fail; the members are looked at often enough for a handover to take a second or two.
 */
export const timesOf = (takeover: Duration.Duration) => ({
  expiration: takeover,
  refreshEvery: Duration.divideUnsafe(takeover, 3),
  pollEvery: Duration.divideUnsafe(takeover, 12)
})

export type Times = ReturnType<typeof timesOf>

/**
 * @internal
 * Runs an effect for each shard, numbered from 0, while this process has it: Effect Cluster interrupts it before another process may have the shard, and
 * waits for its end. There are no messages of Effect Cluster's: processes meet only in the storage.
 */
export const make = (options: {
  readonly shards: number
  readonly storage: RunnerStorage["Service"]
  readonly times: Times
  readonly address: RunnerAddress
  readonly weight: number
  readonly health: Context.Context<RunnerHealth>
  readonly run: (shard: number) => Effect.Effect<never>
}): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { address, health, run, shards, storage, times, weight } = options
    const { expiration, pollEvery, refreshEvery } = times
    const sharding = yield* Sharding.layer.pipe(
      Layer.provide(Runners.layerNoop),
      Layer.provide([
        MessageStorage.layerNoop,
        Layer.succeedContext(health),
        Layer.succeed(RunnerStorage, storage),
        ShardingConfig.layer({
          runnerAddress: Option.some(address),
          runnerShardWeight: weight,
          shardsPerGroup: shards,
          shardLockExpiration: expiration,
          shardLockRefreshInterval: refreshEvery,
          refreshAssignmentsInterval: pollEvery,
          // there are no messages: it is how long the loop that takes leases pauses after a failure
          entityMessagePollInterval: Duration.millis(1_000),
          runnerHealthCheckInterval: expiration
        })
      ]),
      // another number of shards has a cluster of its own
      Layer.fresh,
      Layer.build,
      Effect.map(Context.get(Sharding.Sharding))
    )
    for (const [shard, name] of names(sharding, shards)) yield* sharding.registerSingleton(name, run(shard))
    // it speaks of shards, runners and singletons; the database's troubles are logged where they are noticed
  }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))

/** Effect Cluster places by the hash of a name: a name for each shard, that lands on it. */
const names = (sharding: Sharding.Sharding["Service"], shards: number): ReadonlyMap<number, string> => {
  const names = new Map<number, string>()
  for (let salt = 0; names.size < shards; salt++) {
    const name = `worker ${salt}`
    const shard = sharding.getShardId(EntityId.make(name), group).id - 1
    if (!names.has(shard)) names.set(shard, name)
  }
  return names
}
