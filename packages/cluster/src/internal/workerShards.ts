import type { RunnerAddress } from "effect/cluster/RunnerAddress"
import type { RunnerHealth } from "effect/cluster/RunnerHealth"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { AssignedWorkers } from "./AssignedWorkers.ts"
import type { ClusterDatabase } from "./ClusterDatabase.ts"
import * as placedShards from "./placedShards.ts"
import * as runnerStorage from "./runnerStorage.ts"

/**
 * @internal
 * The cluster of the processes that have projections with so many workers. It has a shard per worker.
 */
export const make = (options: {
  readonly cluster: ClusterDatabase
  readonly workers: number
  readonly times: placedShards.Times
  readonly address: RunnerAddress
  readonly weight: number
  readonly health: Context.Context<RunnerHealth>
}): Effect.Effect<AssignedWorkers, never, Scope.Scope> =>
  Effect.gen(function*() {
    const assigned = new AssignedWorkers()
    const storage = yield* runnerStorage.make({ ...options, onNothingAssigned: () => assigned.known() })
    yield* placedShards.make({
      ...options,
      shards: options.workers,
      storage,
      run: (worker) =>
        Effect.acquireUseRelease(
          Effect.sync(() => assigned.add(worker)),
          () => Effect.never,
          // whoever has it next waits for the leases of its slices
          () => Effect.sync(() => assigned.remove(worker))
        )
    })
    return assigned
  })
