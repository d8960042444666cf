/**
 * The services that a SQL database provides, once it has a journal.
 *
 * @since 0.1.0
 */
import { ConsumerFilter } from "@sluice/core/ConsumerFilter"
import { DurableStateStore } from "@sluice/core/DurableStateStore"
import { HeartbeatStore } from "@sluice/core/HeartbeatStore"
import { Journal } from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import { SnapshotStore } from "@sluice/core/SnapshotStore"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import type { Kysely } from "kysely"
import { Database } from "../Database.ts"
import type { SluiceTables } from "../SluiceTables.ts"
import { OwnTables } from "./OwnTables.ts"
import * as SqlConsumerFilter from "./SqlConsumerFilter.ts"
import * as SqlDurableStateStore from "./SqlDurableStateStore.ts"
import * as SqlHeartbeatStore from "./SqlHeartbeatStore.ts"
import * as SqlOffsetStore from "./SqlOffsetStore.ts"
import * as SqlProjectionManagement from "./SqlProjectionManagement.ts"
import * as SqlSnapshotStore from "./SqlSnapshotStore.ts"
import type { StorageSignals } from "./StorageSignals.ts"

/**
 * The stores, which are in one database, and that database for the service's own tables.
 *
 * @category models
 * @since 0.1.0
 */
export type SqlStorage = JournalStorage | OffsetStorage

/**
 * The stores of a database beside its journal.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: {
  readonly database: Database["Service"]
  /** Builds queries over Sluice's tables. */
  readonly db: Kysely<SluiceTables>
  readonly journal: Journal["Service"]
  readonly signals: StorageSignals
  readonly move: SqlOffsetStore.Options["move"]
  readonly moveStatement?: NonNullable<SqlOffsetStore.Options["moveStatement"]>
  readonly numbers?: SqlOffsetStore.Options["numbers"]
  readonly transactionTimeout?: number | undefined
}): Context.Context<SqlStorage> => {
  const management = SqlProjectionManagement.make(options)
  return Context.make(Journal, options.journal).pipe(
    Context.add(SnapshotStore, SqlSnapshotStore.make(options)),
    Context.add(DurableStateStore, SqlDurableStateStore.make(options)),
    Context.add(OffsetStore, SqlOffsetStore.make(options)),
    Context.add(ProjectionManagement, management),
    Context.add(ConsumerFilter, SqlConsumerFilter.make({ ...options, management })),
    Context.add(HeartbeatStore, SqlHeartbeatStore.make(options)),
    Context.add(Database, options.database),
    Context.add(OwnTables, options.db),
    Context.add(SqlClient, options.database.sql)
  )
}

/**
 * The stores of a service's events and states, without its database.
 *
 * @category models
 * @since 0.1.0
 */
export type JournalStorage = Journal | SnapshotStore | DurableStateStore

/**
 * What projections write to.
 *
 * @category models
 * @since 0.1.0
 */
export type OffsetStorage =
  | OffsetStore
  | ProjectionManagement
  | ConsumerFilter
  | HeartbeatStore
  | Database
  | OwnTables
  | SqlClient

/**
 * Only the journal, snapshots and durable state of a storage, for a process whose projections are in another database.
 *
 * @category layers
 * @since 0.1.0
 */
export const onlyJournal = <E, R>(storage: Layer.Layer<SqlStorage, E, R>): Layer.Layer<JournalStorage, E, R> =>
  only(storage, Context.pick(Journal, SnapshotStore, DurableStateStore))

/**
 * Only the offsets of a storage, and its database for what projections write, for a process whose journal is in another
 * database.
 *
 * @category layers
 * @since 0.1.0
 */
export const onlyOffsetStore = <E, R>(storage: Layer.Layer<SqlStorage, E, R>): Layer.Layer<OffsetStorage, E, R> =>
  only(
    storage,
    Context.pick(OffsetStore, ProjectionManagement, ConsumerFilter, HeartbeatStore, Database, OwnTables, SqlClient)
  )

const only = <E, R, A>(
  storage: Layer.Layer<SqlStorage, E, R>,
  pick: (context: Context.Context<SqlStorage>) => Context.Context<A>
): Layer.Layer<A, E, R> => Layer.effectContext(Effect.map(Layer.build(storage), pick))
