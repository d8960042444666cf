import type { SluiceTables } from "@sluice/sql/SluiceTables"
import type { PersistenceError } from "effect/cluster/ClusterError"
import * as RunnerStorage from "effect/cluster/RunnerStorage"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { DeleteQueryBuilder, DeleteResult } from "kysely"
import { type ClusterDatabase, elapsed } from "./ClusterDatabase.ts"

/** How long the processes that are alive with other numbers of workers are waited for, in milliseconds. */
const joinWithin = 2_000

/** How long, in milliseconds, leases are waited for that others have, and how often they are asked for meanwhile. */
const handOverWithin = 1_500
const askEvery = 100

/** @internal What stands instead of a number of workers where it is entities that are placed. */
export const ofEntities = 0
const isOfEntities = (workers: number): boolean => workers === ofEntities

/** After so many looks at the members without a lease to take, there is none for this process. */
const looksUntilKnown = 3

/**
 * @internal
 * Effect Cluster's storage of runners and shards for one number of workers, or for entities: rows with leases, by the database's clock. There are no locks
 * of sessions, which poolers and our own pool do not keep.
 */
export const make = (options: {
  readonly cluster: ClusterDatabase
  readonly workers: number
  /** Called when there is no worker for this process at the moment. */
  readonly onNothingAssigned: () => void
}): Effect.Effect<RunnerStorage.RunnerStorage["Service"], never, Scope.Scope> =>
  Effect.gen(function*() {
    const { cluster, onNothingAssigned, workers } = options
    const { db, expiry, insertMissing, leaving, run } = cluster

    const ofRunner = (address: string) =>
      db.updateTable("sluice_runner").where("workers", "=", workers).where("address", "=", address)
    const ofShards = (shards: ReadonlyArray<string>) =>
      db.updateTable("sluice_runner_shard").where("workers", "=", workers).where("shard", "in", shards)
    const held = (address: string, shards: ReadonlyArray<string>) =>
      Effect.map(
        run(
          db.selectFrom("sluice_runner_shard").select("shard")
            .where("workers", "=", workers).where("shard", "in", shards).where("address", "=", address)
        ),
        (rows) => rows.map(({ shard }) => shard)
      )
    const take = (address: string, shards: ReadonlyArray<string>) =>
      Effect.gen(function*() {
        const expires_at = yield* expiry
        const now = yield* cluster.now
        // a runner that was not heard of in time has lost its leases, also those that it has taken since
        yield* run(
          ofShards(shards)
            .where((eb) =>
              eb.or([
                eb("address", "=", address),
                eb("expires_at", "<=", now),
                eb(
                  "address",
                  "in",
                  db.selectFrom("sluice_runner").select("address")
                    .where("workers", "=", workers).where("expires_at", "<=", now)
                )
              ])
            )
            .set({ address, expires_at })
        )
        yield* insertMissing(
          db.insertInto("sluice_runner_shard").values(
            shards.toSorted().map((shard) => ({ workers, shard, address, expires_at }))
          )
        )
        return yield* held(address, shards)
      })
    const remove = <T extends "sluice_runner" | "sluice_runner_shard">(
      from: DeleteQueryBuilder<SluiceTables, T, DeleteResult>
    ) => Effect.asVoid(run(from))
    const releaseAll = (address: string) =>
      remove(db.deleteFrom("sluice_runner_shard").where("workers", "=", workers).where("address", "=", address))
    // the leases first, so that who sees that it has gone finds them free. Its workers have ended before
    const leave = (address: string) =>
      releaseAll(address).pipe(
        Effect.andThen(
          remove(db.deleteFrom("sluice_runner").where("workers", "=", workers).where("address", "=", address))
        ),
        Effect.andThen(cluster.membersChanged)
      )
    // what an interrupted start may have left, as Effect Cluster unregisters only what it has begun
    let left: string | undefined
    yield* Effect.addFinalizer(() => Effect.suspend(() => left === undefined ? Effect.void : leaving(leave(left))))

    let isListed = false
    const state = { isLeaving: false }
    let looks = 0
    let joinUntil: number | undefined

    /** Those that are alive, and have not said yet that they have so many workers. A process that begins with a number waits for them once. */
    const members: Effect.Effect<Array<readonly [runner: string, healthy: boolean]>, PersistenceError> = Effect
      .gen(function*() {
        // those of entities are other processes, even if they are the same ones
        const all = (yield* cluster.members).filter((member) => isOfEntities(member.workers) === isOfEntities(workers))
        const mine = all.filter((member) => member.workers === workers)
        if (left !== undefined && joinUntil !== Infinity) {
          const now = yield* elapsed
          joinUntil ??= now + joinWithin
          const here = new Set(mine.map(({ address }) => address))
          if (now < joinUntil && all.some(({ address }) => !here.has(address))) {
            yield* Effect.sleep(100)
            return yield* members
          }
          joinUntil = Infinity
        }
        isListed = left !== undefined && mine.some(({ address }) => address === left)
        return mine.map(({ healthy, runner }) => [runner, healthy === 1] as const)
      })

    return RunnerStorage.makeEncoded({
      getRunners: Effect.suspend(() => {
        if (isListed && ++looks >= looksUntilKnown) onNothingAssigned()
        return members
      }),
      register: (address, runner, healthy) =>
        Effect.gen(function*() {
          left = address
          yield* cluster.forget
          const row = { runner, healthy: healthy ? 1 : 0, expires_at: yield* expiry }
          yield* run(ofRunner(address).set(row))
          yield* insertMissing(db.insertInto("sluice_runner").values({ workers, address, ...row }))
          yield* cluster.membersChanged
          // it would number messages, and there are none
          return 0
        }),
      unregister: (address) =>
        Effect.suspend(() => {
          state.isLeaving = true
          return leaving(leave(address))
        }),
      setRunnerHealth: (address, healthy) =>
        Effect.andThen(run(ofRunner(address).set({ healthy: healthy ? 1 : 0 })), cluster.membersChanged),
      acquire: (address, shards) =>
        Effect.gen(function*() {
          looks = 0
          const until = (yield* elapsed) + handOverWithin
          let taken = yield* take(address, shards)
          // whoever has the others is about to give them back: Effect Cluster would ask again in a second
          while (taken.length < shards.length && !state.isLeaving && (yield* elapsed) < until) {
            yield* Effect.sleep(askEvery)
            const before = taken.length
            taken = yield* take(address, shards)
            if (before > 0 && before === taken.length) break
          }
          return taken
        }),
      refresh: (address, shards) =>
        Effect.gen(function*() {
          const expires_at = yield* expiry
          // the runner last: it must not be alive for longer than its leases
          if (shards.length > 0) yield* run(ofShards(shards).where("address", "=", address).set({ expires_at }))
          yield* run(ofRunner(address).set({ expires_at }))
          return shards.length === 0 ? [] : yield* held(address, shards)
        }),
      release: (address, shard) =>
        remove(
          db.deleteFrom("sluice_runner_shard")
            .where("workers", "=", workers).where("shard", "=", shard).where("address", "=", address)
        ),
      releaseAll: (address) => leaving(releaseAll(address))
    })
  })
