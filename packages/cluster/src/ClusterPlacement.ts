/**
 * The workers of projections, spread over all processes of a service that run the same program.
 *
 * Effect Cluster decides which process runs which worker: as many shards as workers, leased in the service's own database. There are no messages
 * between the processes, so there is no port, and nothing to configure. Only this package depends on `effect/cluster`, which is
 * unstable: behind `Placement` it may change.
 *
 * @since 0.1.0
 */
import { Placement } from "@sluice/core/Placement"
import type { OwnTables } from "@sluice/sql/adapter/OwnTables"
import { Database } from "@sluice/sql/Database"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Context from "effect/Context"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RcMap from "effect/RcMap"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Os from "node:os"
import * as ClusterDatabase from "./internal/ClusterDatabase.ts"
import * as placedShards from "./internal/placedShards.ts"
import { RangeLeases } from "./internal/RangeLeases.ts"
import * as workerShards from "./internal/workerShards.ts"

/** How long a number of workers that no projection has any more keeps its place, as when a projection begins anew. */
const idleFor = "2 seconds"

/**
 * How workers are placed. Nothing has to be said.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E = never, R = never> {
  /**
   * How long a process may be silent before others take its workers over; 6 seconds by default, and 1 second at least. A third of it is how often a
   * process renews its leases, and a twelfth how often it looks who else is there. All processes should have the same.
   */
  readonly takeover?: Duration.Input | undefined
  /** How many workers this process takes, compared to others; 1 by default. */
  readonly weight?: number | undefined
  /** The host or IP address that `health` asks about; the name of the machine by default. */
  readonly host?: string | undefined
  /**
   * Who of the processes that renew their leases is well enough to have workers, such as `RunnerHealth.layerK8s`; by default all of them are. A
   * process that has died is noticed without.
   */
  readonly health?: Layer.Layer<RunnerHealth.RunnerHealth, E, R> | undefined
}

/** The options as they have to be the same wherever a process makes the layer. */
const settingsOf = <E, R>(options: Options<E, R>) => {
  const { health, host = Os.hostname().slice(0, 200), weight = 1 } = options
  const takeover = Duration.fromInputUnsafe(options.takeover ?? "6 seconds")
  if (!(Duration.toMillis(takeover) >= 1_000 && Duration.toMillis(takeover) <= 3_600_000)) {
    throw new RangeError(
      `takeover is ${Duration.format(takeover)}: it has to be 1 second at least, and an hour at most`
    )
  }
  if (!(weight > 0 && weight <= 100)) {
    throw new RangeError(`weight is ${weight}: it has to be above 0, and 100 at most`)
  }
  if (host.length === 0 || host.length > 255) {
    throw new RangeError(`host has ${host.length} characters: it has to have 1 to 255`)
  }
  return { health, host, takeover: Duration.toMillis(takeover), weight }
}

type Settings<E, R> = ReturnType<typeof settingsOf<E, R>>

const make = <E, R>(
  settings: Settings<E, R>
): Effect.Effect<Placement, E, Database | OwnTables | Scope.Scope | R> =>
  Effect.gen(function*() {
    const { host, weight } = settings
    const takeover = Duration.millis(settings.takeover)
    const times = placedShards.timesOf(takeover)
    const cluster = yield* ClusterDatabase.make({ pollEvery: times.pollEvery, takeover, what: "workers" })
    const health = yield* Layer.build(
      settings.health ?? RunnerHealth.layerNoop
    )
    // no port: with it, no other start of a process has this address, so that leases of the one before are not taken for its own
    const [high, low] = (yield* WebCrypto).getRandomValues(new Uint32Array(2))
    const address = RunnerAddress.make(host, (high! % 2 ** 21) * 2 ** 32 + low!)
    const leases = yield* RangeLeases.make(cluster, `${address.host}:${address.port}`)
    const shards = yield* RcMap.make({
      lookup: (workers: number) => workerShards.make({ address, cluster, health, times, weight, workers }),
      idleTimeToLive: idleFor
    })
    yield* Effect.logInfo(
      `Takes part in placing the workers of projections, as ${host}, with a takeover of ${Duration.format(takeover)}`
    )
    const numbers = new Map<string, number>()
    return {
      assigned: (projection, workers) =>
        Stream.unwrap(Effect.map(RcMap.get(shards, workers), (assigned) => {
          numbers.set(projection, workers)
          return assigned.changes
        })),
      // the process stays a member for as long as its leases are to count
      lease: (key, range) =>
        Effect.andThen(
          Effect.suspend(() => RcMap.get(shards, numbers.get(key.projection)!)),
          leases.lease(key, range)
        )
    }
  })

/** A placement that is built once, however many have it. */
interface Shared {
  readonly settings: Settings<any, any>
  readonly layer: Layer.Layer<never, any, any>
  readonly memoMap: Layer.MemoMap
  users: number
}

const placements = new WeakMap<Database["Service"], Shared>()

/** A process is one member for a database, however often the layer is made or built: two would divide the workers of each projection between them. */
const shared = <E, R>(options: Options<E, R>): Effect.Effect<Placement, E, Database | OwnTables | Scope.Scope | R> =>
  Effect.gen(function*() {
    const settings = yield* Effect.sync(() => settingsOf(options))
    const database = yield* Database
    const { layer, memoMap, settings: first } = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const found = placements.get(database) ??
          { settings, layer: Layer.effect(Placement, make(settings)), memoMap: Layer.makeMemoMapUnsafe(), users: 0 }
        placements.set(database, found)
        found.users++
        return found
      }),
      (found) =>
        Effect.sync(() => {
          if (--found.users === 0) placements.delete(database)
        })
    )
    for (const key of ["takeover", "weight", "host", "health"] as const) {
      if (settings[key] !== first[key]) {
        return yield* Effect.die(
          new RangeError(
            `This process has a ClusterPlacement.layer for the same database with another ${key}: make it once, and provide it to all projections`
          )
        )
      }
    }
    const context: Context.Context<never> = yield* Layer.buildWithMemoMap(layer, memoMap, yield* Effect.scope)
    return Context.get(context, Placement)
  })

/**
 * Spreads the workers of each projection over the processes that have this layer and the same database. Processes may come and go, and be
 * killed: their workers move. With `Projection.workers(16)`, three processes run 5, 5 and 6 of them.
 *
 * **Details**
 *
 * Worker `i` of all projections with the same number of workers runs in one process: a process that has some of these projections should have all of
 * them. A process that does not reach the database stops its workers until it does.
 *
 * Provide it *to* `Projection.layer`, and once for all projections: `Layer.mergeAll(Orders, Notes).pipe(Layer.provide(ClusterPlacement.layer()))`.
 * A process takes part once for each storage, also where the layer is made or built several times; with other options, the second one dies with a
 * `RangeError`.
 *
 * **Gotchas**
 *
 * While a process is halted or cut off, another takes its workers over, and both may have them for a moment when it comes back. Offsets move by compare-and-set, so that only one
 * of them gets on: exactly once stays so.
 *
 * **Example** (A projection over all processes of a service)
 *
 * ```ts
 * import { ClusterPlacement } from "@sluice/cluster"
 * import { EntityType, EventCodec, Projection, Source } from "@sluice/core"
 * import { SqliteStorage } from "@sluice/sqlite"
 * import { Effect, Layer } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Notes = Source.journal(Note).pipe(
 *   Projection.exactlyOnce("notes", () => Effect.void),
 *   Projection.workers(16)
 * )
 *
 * const Service = Projection.layer(Notes).pipe(
 *   Layer.provide(ClusterPlacement.layer()),
 *   Layer.provide(SqliteStorage.layer({ filename: "notes.db" }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E = never, R = never>(
  options: Options<E, R> = {}
): Layer.Layer<never, E, Database | OwnTables | R> => Layer.effect(Placement, shared(options))
