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
import { AssignedWorkers } from "./AssignedWorkers.ts"
import type { ClusterDatabase } from "./ClusterDatabase.ts"
import * as runnerStorage from "./runnerStorage.ts"

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
 * The cluster of the processes that have projections with so many workers. It has a shard per worker and no messages: processes meet only in
 * the database.
 */
export const make = (options: {
  readonly cluster: ClusterDatabase
  readonly workers: number
  readonly times: Times
  readonly address: RunnerAddress
  readonly weight: number
  readonly health: Context.Context<RunnerHealth>
}): Effect.Effect<AssignedWorkers, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { address, health, times, weight, workers } = options
    const { expiration, pollEvery, refreshEvery } = times
    const assigned = new AssignedWorkers()
    const storage = yield* runnerStorage.make({ ...options, onNothingAssigned: () => assigned.known() })
    const sharding = yield* Sharding.layer.pipe(
      Layer.provide(Runners.layerNoop),
      Layer.provide([
        MessageStorage.layerNoop,
        Layer.succeedContext(health),
        Layer.succeed(RunnerStorage, storage),
        ShardingConfig.layer({
          runnerAddress: Option.some(address),
          runnerShardWeight: weight,
          shardsPerGroup: workers,
          shardLockExpiration: expiration,
          shardLockRefreshInterval: refreshEvery,
          refreshAssignmentsInterval: pollEvery,
          // there are no messages: it is how long the loop that takes leases pauses after a failure
          entityMessagePollInterval: Duration.millis(1_000),
          runnerHealthCheckInterval: expiration
        })
      ]),
      // another number of workers has a cluster of its own
      Layer.fresh,
      Layer.build,
      Effect.map(Context.get(Sharding.Sharding))
    )
    for (const [worker, name] of names(sharding, workers)) {
      yield* sharding.registerSingleton(
        name,
        Effect.acquireUseRelease(
          Effect.sync(() => assigned.add(worker)),
          () => Effect.never,
          // whoever has it next waits for the leases of its slices
          () => Effect.sync(() => assigned.remove(worker))
        )
      )
    }
    return assigned
    // it speaks of shards, runners and singletons; the database's troubles are logged where they are noticed
  }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))

/** Effect Cluster places by the hash of a name: a name for each worker, that lands on the worker's own shard. */
const names = (sharding: Sharding.Sharding["Service"], workers: number): ReadonlyMap<number, string> => {
  const names = new Map<number, string>()
  for (let salt = 0; names.size < workers; salt++) {
    const name = `worker ${salt}`
    const worker = sharding.getShardId(EntityId.make(name), group).id - 1
    if (!names.has(worker)) names.set(worker, name)
  }
  return names
}
