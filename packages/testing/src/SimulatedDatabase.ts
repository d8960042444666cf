/**
 * A database that the processes of a simulation share, with the faults that databases have.
 *
 * @since 0.1.0
 */
import type { ConsumerFilter } from "@sluice/core/ConsumerFilter"
import type { DurableStateStore } from "@sluice/core/DurableStateStore"
import type { HeartbeatStore } from "@sluice/core/HeartbeatStore"
import { Journal } from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import type { OffsetStore } from "@sluice/core/OffsetStore"
import type { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import type { StorageError } from "@sluice/core/StorageError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { connect } from "./internal/simulation/connect.ts"
import { type Database, internals } from "./internal/simulation/Database.ts"
import type { Observation } from "./internal/simulation/Observation.ts"
import { place } from "./internal/simulation/runners.ts"
import { Call, CurrentTransaction, fair, Server, SimulatedTransaction } from "./internal/simulation/Server.ts"
import type { Simulation } from "./Simulation.ts"

/**
 * What a storage provides.
 *
 * @category models
 * @since 0.1.0
 */
export type Storage =
  | Journal
  | OffsetStore
  | ProjectionManagement
  | ConsumerFilter
  | HeartbeatStore
  | SnapshotStore
  | DurableStateStore

/**
 * What a database does to those who use it, until it is told otherwise.
 *
 * @category models
 * @since 0.1.0
 */
export interface Faults {
  /** How many milliseconds a message takes at most, each way. */
  readonly latency?: number | undefined
  /** Whether nobody can reach it. */
  readonly absent?: boolean | undefined
  /** How often, from 0 to 1, a statement or a commit is refused, and does nothing. */
  readonly refuses?: number | undefined
  /** How often an append or a commit is done, and whoever has sent it is told that the connection was lost. */
  readonly losesAnswers?: number | undefined
  /** How often a process is not notified of what was committed. Only a database that was made `lossy` does that. */
  readonly losesNotifications?: number | undefined
}

/**
 * A database, which outlives the processes that use it.
 *
 * @category models
 * @since 0.1.0
 */
export interface SimulatedDatabase {
  readonly name: string
  /** The storage as a process has it that is connected to the database. Each process connects for itself. */
  readonly layer: Layer.Layer<Storage, never, Simulation>
  /** The same for the test itself: no fault reaches it, and nothing that it does is sent. */
  readonly inspect: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, Storage>>
  /** Makes the database suffer from those faults, and from no others. */
  readonly suffer: (faults: Faults) => Effect.Effect<void>
  /** Breaks every connection. What had not been committed is undone. */
  readonly disconnect: Effect.Effect<void>
  /** Answers nobody until it is thawed. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  /** Sets its time of day so many milliseconds ahead, or behind. */
  readonly setClock: (ahead: number) => Effect.Effect<void>
}

/**
 * A table of a simulated database, for what handlers write: memory storage has none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Table<V> {
  /** The row as the transaction of the fiber has it, if there is one, else as it is committed. */
  readonly get: (key: string) => Effect.Effect<V | undefined>
  /** Writes a row, or removes it, in the transaction of the fiber, or one of its own. */
  readonly set: (key: string, row: V | undefined) => Effect.Effect<void, StorageError, Journal>
  /** The rows as they are committed. */
  readonly rows: Effect.Effect<ReadonlyMap<string, V>>
}

/**
 * Makes an empty database.
 *
 * **Details**
 *
 * It is memory storage behind messages: each call of a process goes to the database, runs there, and is answered, and each of the three takes its
 * time. When a process is killed, the database undoes the transactions that the process has not committed.
 *
 * A process is notified of every commit, unless the database is made `lossy` or `mute`: then it also looks for itself, once a second, as adapters
 * do.
 *
 * Processes do not report on their workers: `HeartbeatStore.Heartbeat` has no interval there. Provide one to a process that shall.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  name: string,
  options?: {
    readonly lossy?: boolean | undefined
    /** Whether it notifies nobody, as databases do that cannot. */
    readonly mute?: boolean | undefined
    /** How many milliseconds a message takes at most, each way, when nothing goes wrong: none by default. */
    readonly latency?: number | undefined
  }
): Effect.Effect<SimulatedDatabase, never, Simulation> =>
  Effect.gen(function*() {
    const { engine, runner } = yield* place
    const server = new Server(engine, name, options?.latency ?? 0)
    const scope = Scope.makeUnsafe()
    const storage = yield* Layer.buildWithScope(Layer.fresh(MemoryStorage.layer), scope)
    const observers = new Set<(observation: Observation) => void>()
    const heard = new Set<string>()
    const journal = yield* Effect.provideContext(Journal, storage)
    const shared = {
      isLossy: options?.lossy === true,
      isMute: options?.mute === true,
      observe: (observation: Observation) => {
        for (const observer of observers) observer(observation)
      },
      listen: (entityType: string) => {
        if (heard.has(entityType)) return
        heard.add(entityType)
        Effect.runSync(Scope.provide(
          journal.committed(entityType, (events) => server.collect(entityType, events)),
          scope
        ))
      }
    }
    const inspected = Context.add(storage, Journal, {
      ...journal,
      transaction: (effect) =>
        Effect.flatMap(CurrentTransaction, (parent) =>
          journal.transaction(
            new SimulatedTransaction(new Call(server.sessionOf(runner)), parent).during(effect)
          ))
    })
    const database: SimulatedDatabase = {
      name,
      layer: Layer.effectContext(
        Effect.map(place, ({ runner }) => connect(server, storage, server.sessionOf(runner), shared))
      ),
      inspect: Effect.provideContext(inspected),
      suffer: (faults) =>
        Effect.sync(() => {
          engine.note(name, () => `suffers from ${JSON.stringify(faults)}`)
          Object.assign(server.weather, fair(), {
            latency: faults.latency ?? 0,
            isAbsent: faults.absent ?? false,
            refuses: faults.refuses ?? 0,
            losesAnswers: faults.losesAnswers ?? 0,
            losesNotifications: shared.isLossy ? faults.losesNotifications ?? 0 : 0
          })
          if (faults.absent === true) server.disconnect()
        }),
      disconnect: Effect.sync(() => {
        engine.note(name, "breaks its connections")
        server.disconnect()
      }),
      freeze: Effect.sync(() => {
        engine.note(name, "is frozen")
        server.runner.freeze()
      }),
      thaw: Effect.sync(() => {
        engine.note(name, "is thawed")
        server.runner.thaw()
      }),
      setClock: (ahead) =>
        Effect.sync(() => {
          engine.note(name, () => `has its clock ${ahead} ms ahead`)
          server.runner.ahead = ahead
        })
    }
    internals.set(database, { server, storage, observers })
    return database
  })

/**
 * Makes an empty table in the database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const table = <V>(database: SimulatedDatabase): Table<V> => {
  const { server } = internals.get(database) as Database
  const committed = new Map<string, V>()
  /** What open transactions have written. */
  const written = new WeakMap<object, Map<string, V | undefined>>()
  const put = (key: string, row: V | undefined): void => {
    if (row === undefined) committed.delete(key)
    else committed.set(key, row)
  }
  const set = (key: string, row: V | undefined): Effect.Effect<void, StorageError, Journal> =>
    Effect.flatMap(CurrentTransaction, (transaction): Effect.Effect<void, StorageError, Journal> => {
      if (transaction === undefined) return Journal.use((journal) => journal.transaction(set(key, row)))
      if (transaction.call.session.isOver) return Effect.never
      if (transaction.isOver) {
        return Effect.die(
          new Error(
            "A fiber runs a query in a transaction that is over: it has outlived the effect that the transaction was for"
          )
        )
      }
      const changes = written.get(transaction) ?? new Map<string, V | undefined>()
      written.set(transaction, changes.set(key, row))
      transaction.onCommit.push(() => put(key, row))
      server.engine.note(transaction.call.session.runner.name, () => `${database.name}: writes ${key}`)
      return Effect.void
    })
  return {
    get: (key) =>
      Effect.map(CurrentTransaction, (transaction) => {
        for (let level = transaction; level !== undefined; level = level.parent) {
          const changes = written.get(level)
          if (changes?.has(key) === true) return changes.get(key)
        }
        return committed.get(key)
      }),
    set,
    rows: Effect.sync(() => new Map(committed))
  }
}
