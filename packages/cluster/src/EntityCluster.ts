/**
 * Entities that are spread over the processes of a service: each runs in one of them at a time, and commands find it.
 *
 * Effect Cluster decides which process has which entities: they belong to 256 shards, which are leased in the service's own database. Commands go from process to process
 * by gRPC. The journal is the durability, and its numbers are the fence: whoever has lost an entity without knowing it writes nothing wrong.
 *
 * @since 0.1.0
 */
import { isLoopback } from "@sluice/core/Loopback"
import * as Activations from "@sluice/entity/Activations"
import type { Entity } from "@sluice/entity/Entity"
import { outsideTransactions, type Runner, Runs } from "@sluice/entity/EntityClient"
import type { EntityUnreachable, InvalidCommand } from "@sluice/entity/EntityError"
import type { ClientTls } from "@sluice/grpc/Tls"
import type { OwnTables } from "@sluice/sql/adapter/OwnTables"
import type { Database } from "@sluice/sql/Database"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Context from "effect/Context"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Scope from "effect/Scope"
import type { Elsewhere, EntityAnswer, EntityCommand, Unknown } from "./EntityMessage.ts"
import { certificatesOf } from "./internal/calls/certificates.ts"
import { Connections } from "./internal/calls/Connections.ts"
import { listen } from "./internal/calls/listen.ts"
import * as ClusterDatabase from "./internal/ClusterDatabase.ts"
import * as codecs from "./internal/entities/codecs.ts"
import { closeWithin, EntityShards } from "./internal/entities/EntityShards.ts"
import { guarded } from "./internal/entities/guarded.ts"
import { Node } from "./internal/entities/Node.ts"
import { hostOf, reachedAt } from "./internal/entities/nodeName.ts"
import { Routes } from "./internal/entities/Routes.ts"
import * as placedShards from "./internal/placedShards.ts"
import type { ListenError } from "./ListenError.ts"
import type { InvalidCertificate, NodeTls } from "./NodeTls.ts"

/**
 * A process that sends commands to the entities of its cluster, wherever they are.
 *
 * @category services
 * @since 0.1.0
 */
export class Cluster extends Context.Service<Cluster, {
  /** Sends a command to the process that has the entity, and to another one where that has it no more. Gives up after `within`. */
  readonly send: (
    command: EntityCommand,
    within: Duration.Duration
  ) => Effect.Effect<EntityAnswer, EntityUnreachable | InvalidCommand>
  /** Whether the fiber is in a transaction of the storage. */
  readonly inTransaction: Effect.Effect<boolean>
}>()("@sluice/cluster/EntityCluster/Cluster") {}

/**
 * A process of a cluster that entities run in.
 *
 * @category services
 * @since 0.1.0
 */
export class Host extends Context.Service<Host, {
  /** Whether the entity belongs to this process, and no other process can have it. */
  readonly has: (entityType: string, id: string) => boolean
  /** Entities of a type run in this process for as long as the scope. */
  readonly serve: (entityType: string, served: {
    /** The name of the command that events of other replicas come with, where they are replicated. */
    readonly arrival?: string | undefined
    /** Answers once the entity has, or it is clear that it does not. */
    readonly handle: (command: EntityCommand) => Effect.Effect<EntityAnswer | Elsewhere | Unknown>
    /** Ends once nothing is in hand for the entities that are meant, and nothing is kept of them. */
    readonly close: (isMeant: (id: string) => boolean) => Effect.Effect<void>
    /** Keeps nothing of the entities that are meant, and answers what is in hand for them at once. */
    readonly abandon: (isMeant: (id: string) => boolean) => Effect.Effect<void>
  }) => Effect.Effect<void, never, Scope.Scope>
  /** How long commands in hand are waited for when the process ends, or gives entities away: others wait for these meanwhile. */
  readonly closeWithin: Duration.Duration
}>()("@sluice/cluster/EntityCluster/Host") {}

/**
 * What a process that only calls has to be told.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallerOptions {
  /** How the processes know each other. Without it, only processes of this machine are called. */
  readonly tls?: NodeTls | undefined
  /**
   * How long a process may be silent before others take its entities over; 6 seconds by default, and 1 second at least. All processes should
   * have the same.
   */
  readonly takeover?: Duration.Input | undefined
}

/**
 * What a process that has entities has to be told.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProcessOptions<E = never, R = never> extends CallerOptions {
  /** The host name or IP address at which the others reach this process; `127.0.0.1` by default. Any other than of this machine alone needs `tls`. */
  readonly host?: string | undefined
  /** The port that it listens on; a free one by default, which the others learn from the database. */
  readonly port?: number | undefined
  /** The address that it listens at, where that is not `host`, such as `0.0.0.0` in a container. */
  readonly listenAt?: string | undefined
  /** How many entities this process takes, compared to others; 1 by default. */
  readonly weight?: number | undefined
  /**
   * Who of the processes that renew their leases is well enough to have entities, such as `RunnerHealth.layerK8s`; by default all of them are. A
   * process that has died is noticed without.
   */
  readonly health?: Layer.Layer<RunnerHealth.RunnerHealth, E, R> | undefined
}

const takeoverOf = (options: CallerOptions): Duration.Duration => {
  const takeover = Duration.fromInputUnsafe(options.takeover ?? "6 seconds")
  if (!(Duration.toMillis(takeover) >= 1_000 && Duration.toMillis(takeover) <= 3_600_000)) {
    throw new RangeError(
      `takeover is ${Duration.format(takeover)}: it has to be 1 second at least, and an hour at most`
    )
  }
  return takeover
}

const settingsOf = <E, R>(options: ProcessOptions<E, R>) => {
  const { health, host = "127.0.0.1", listenAt = host, port = 0, tls, weight = 1 } = options
  if (!(weight > 0 && weight <= 100)) {
    throw new RangeError(`weight is ${weight}: it has to be above 0, and 100 at most`)
  }
  if (host.length === 0 || host.length > 253 || host.includes("@")) {
    throw new RangeError(`host is '${host.slice(0, 300)}': it has to be a host name or an IP address`)
  }
  if (!(Number.isInteger(port) && port >= 0 && port < 65_536)) {
    throw new RangeError(`port is ${port}: it has to be 1 to 65535, or 0 for any that is free`)
  }
  if (tls === undefined && !(isLoopback(host) && isLoopback(listenAt))) {
    throw new RangeError(
      `host is '${host}', and it listens at '${listenAt}': beyond this machine, commands only come and go with tls, by which processes know each other`
    )
  }
  return { health, host, listenAt, port, takeover: takeoverOf(options), tls, weight }
}

/** What both kinds of process have. */
const makeNode = (
  { takeover, tls }: { readonly takeover: Duration.Duration; readonly tls: ClientTls | undefined }
): Effect.Effect<
  { readonly node: Node; readonly cluster: ClusterDatabase.ClusterDatabase; readonly silence: number },
  never,
  Database | OwnTables | Scope.Scope
> =>
  Effect.gen(function*() {
    // so that a process that was halted is given up before others have its entities
    const silence = Duration.toMillis(takeover) * 3 / 4
    const cluster = yield* ClusterDatabase.make({
      pollEvery: placedShards.timesOf(takeover).pollEvery,
      takeover,
      what: "entities"
    })
    const node = new Node({
      routes: yield* Routes.make(cluster),
      connections: yield* Connections.make({ silence, tls }),
      crypto: yield* WebCrypto
    })
    return { node, cluster, silence }
  })

const clusterOf = (node: Node, { database }: ClusterDatabase.ClusterDatabase): Cluster["Service"] => ({
  send: (command, within) => node.send(command, Duration.toMillis(within)),
  inTransaction: database.inTransaction
})

/**
 * This process takes part in a cluster: entities run in it, and it calls those of the others. Build it once for each storage, and provide it to the
 * `EntityCluster.layer` of each entity type. Dies with a `RangeError` for options that cannot be, such as a `host` beyond this machine without `tls`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerProcess = <E = never, R = never>(
  options: ProcessOptions<E, R> = {}
): Layer.Layer<Cluster | Host, InvalidCertificate | ListenError | E, Database | OwnTables | R> =>
  Layer.effectContext(Effect.gen(function*() {
    const { health, host, listenAt, port, takeover, tls, weight } = yield* Effect.sync(() => settingsOf(options))
    const healthy = Context.get(yield* Layer.build(health ?? RunnerHealth.layerNoop), RunnerHealth.RunnerHealth)
    const { client, server } = yield* certificatesOf(tls, host)
    const { cluster, node, silence } = yield* makeNode({ takeover, tls: client })
    // nobody else has this name, so that leases of an earlier start of this process are not taken for its own
    const secret = Buffer.from((yield* WebCrypto).getRandomValues(new Uint8Array(16))).toString("hex")
    const state = { name: "" }
    const listening = yield* listen({
      host: listenAt,
      port,
      tls: server,
      silence,
      // it has no name yet while it begins
      isMe: (name) => state.name !== "" && name === state.name,
      serve: node.answer
    })
    const address = RunnerAddress.make(hostOf(secret, host), listening)
    state.name = `${address.host}:${address.port}`
    const shards = yield* EntityShards.make({
      cluster,
      takeover,
      address,
      weight,
      // by what others reach it at: its secret is nobody's matter
      health: Context.make(
        RunnerHealth.RunnerHealth,
        RunnerHealth.RunnerHealth.of({
          isAlive: ({ host, port }) => healthy.isAlive(RunnerAddress.make(reachedAt(host), port))
        })
      ),
      close: (shards) => node.close(shards),
      abandon: (shards) => node.abandon(shards)
    })
    node.begins(state.name, shards)
    yield* Effect.logInfo(
      `Takes part in running entities, as ${host}:${listening}, with a takeover of ${Duration.format(takeover)}`
    )
    return Context.make(Cluster, clusterOf(node, cluster)).pipe(
      Context.add(Host, {
        has: (entityType, id) => node.has(entityType, id),
        serve: (entityType, served) => node.serve(entityType, served),
        closeWithin: closeWithin(takeover)
      })
    )
  }))

/**
 * This process only calls the entities of a cluster. It needs the cluster's database, which says where they are, and listens at no port.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerCaller = (
  options: CallerOptions = {}
): Layer.Layer<Cluster, InvalidCertificate, Database | OwnTables> =>
  Layer.effect(
    Cluster,
    Effect.gen(function*() {
      const takeover = yield* Effect.sync(() => takeoverOf(options))
      const { client } = yield* certificatesOf(options.tls, undefined)
      const { cluster, node } = yield* makeNode({ takeover, tls: client })
      return clusterOf(node, cluster)
    })
  )

/**
 * How entities of a type are called.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClientOptions {
  /**
   * How long a command may take until it is answered, with all that it waits for, such as a takeover; 30 seconds by default. Then it fails with `EntityUnreachable`.
   */
  readonly within?: Duration.Input | undefined
}

/**
 * How entities of a type run and are called.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends ClientOptions, Activations.Options {}

const runnerOf = (
  entityType: string,
  cluster: Cluster["Service"],
  { decodeAnswer, encodeCommand }: codecs.Codecs,
  options: ClientOptions
): Runner => {
  const within = Duration.fromInputUnsafe(options.within ?? "30 seconds")
  if (!(Duration.toMillis(within) >= 1 && Duration.toMillis(within) <= 3_600_000)) {
    throw new RangeError(
      `within is ${Duration.format(within)}: it has to be 1 millisecond at least, and an hour at most`
    )
  }
  return outsideTransactions(entityType, cluster.inTransaction, {
    send: (id, command) =>
      Effect.flatMap(
        encodeCommand(id, command),
        (command) => Effect.flatMap(cluster.send(command, within), (answer) => decodeAnswer(command, answer))
      )
  })
}

/**
 * Runs the entities of a type in the processes that have this layer, each in one of them at a time.
 *
 * **Details**
 *
 * A command that leaves the process has a command id: the caller's, or one that is given here, so that it is sent again when its answer is lost, and happens once.
 * After `within` it fails with `EntityUnreachable`, which says whether it may have happened.
 *
 * When the scope ends, others wait for the entities that are here. So the commands in hand have a third of `takeover` at most, however long `shutdownWithin` is.
 *
 * **Gotchas**
 *
 * All processes of a cluster should have the same entity types: entities are spread over them whatever their types.
 *
 * A command that is sent in a transaction of the storage fails with `InvalidCommand`, as it would be no part of that.
 *
 * **Example** (Counters in all processes of a service)
 *
 * ```ts
 * import { EntityCluster } from "@sluice/cluster"
 * import { EntityType } from "@sluice/core"
 * import { Decision, EventSourced } from "@sluice/entity"
 * import { SqliteStorage } from "@sluice/sqlite"
 * import { Effect, Layer, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 *
 * class Counted extends Schema.TaggedClass<Counted>()("Counted", { by: Schema.Int }) {}
 *
 * const Counter = EventSourced.make(EntityType.make("counter", { event: Counted }), {
 *   state: Schema.Int,
 *   initial: 0,
 *   commands: [Rpc.make("Add", { payload: { by: Schema.Int }, success: Schema.Int })],
 *   decide: { Add: ({ payload }) => Decision.persist([new Counted(payload)], (count) => count) },
 *   evolve: (count, { by }) => count + by
 * })
 *
 * const Counters = EntityCluster.layer(Counter).pipe(
 *   Layer.provide(EntityCluster.layerProcess()),
 *   Layer.provide(SqliteStorage.layer({ filename: ":memory:" }))
 * )
 * const program = Effect.gen(function*() {
 *   const counters = yield* EventSourced.client(Counter)
 *   return yield* counters("c-1").Add({ by: 2 })
 * })
 * await Effect.runPromise(Effect.provide(program, Counters)) // => 2
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Name extends string, Rpcs extends Rpc.Any, R>(
  entity: Entity<Name, Rpcs, R>,
  options: Options = {}
): Layer.Layer<Runs<Name>, never, Cluster | Host | Exclude<R, Scope.Scope>> =>
  Layer.effect(
    Runs(entity.name),
    Effect.gen(function*() {
      const { name } = entity
      const host = yield* Host
      const coding = codecs.make(entity)
      const runner = yield* Effect.map(Cluster, (cluster) => runnerOf(name, cluster, coding, options))
      const activations = yield* Activations.make(guarded(yield* entity.behaviour, (id) => host.has(name, id)), {
        ...options,
        shutdownWithin: Duration.min(Duration.fromInputUnsafe(options.shutdownWithin ?? "10 seconds"), host.closeWithin)
      })
      yield* host.serve(name, {
        arrival: entity.arrival?._tag,
        handle: (command) =>
          coding.encodeAnswer(
            command,
            Effect.flatMap(
              coding.decodeCommand(command),
              (decoded) => activations.send(command.id, decoded)
            )
          ),
        close: activations.passivate,
        abandon: activations.abandon
      })
      return runner
    })
  )

/**
 * Calls the entities of a type, which run in other processes.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerClient = <Name extends string, Rpcs extends Rpc.Any, R>(
  entity: Entity<Name, Rpcs, R>,
  options: ClientOptions = {}
): Layer.Layer<Runs<Name>, never, Cluster> =>
  Layer.effect(
    Runs(entity.name),
    Effect.map(Cluster, (cluster) => runnerOf(entity.name, cluster, codecs.make(entity), options))
  )
