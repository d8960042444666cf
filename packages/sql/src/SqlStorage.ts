/**
 * All that a SQL database provides, once it has a journal.
 *
 * @since 0.1.0
 */
import { DurableStateStore } from "@sluice/core/DurableStateStore"
import { Journal } from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import { SnapshotStore } from "@sluice/core/SnapshotStore"
import * as Context from "effect/Context"
import { SqlClient } from "effect/sql/SqlClient"
import type { Kysely } from "kysely"
import type { AppendSignals } from "./AppendSignals.ts"
import { Database } from "./Database.ts"
import type { SluiceTables } from "./SluiceTables.ts"
import * as SqlDurableStateStore from "./SqlDurableStateStore.ts"
import * as SqlOffsetStore from "./SqlOffsetStore.ts"
import * as SqlSnapshotStore from "./SqlSnapshotStore.ts"

/**
 * The stores, which are in one database, and that database for the service's own tables.
 *
 * @category models
 * @since 0.1.0
 */
export type SqlStorage = Journal | SnapshotStore | DurableStateStore | OffsetStore | Database | SqlClient

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
  readonly signals: AppendSignals
  readonly move: SqlOffsetStore.Options["move"]
}): Context.Context<SqlStorage> =>
  Context.make(Journal, options.journal).pipe(
    Context.add(SnapshotStore, SqlSnapshotStore.make(options)),
    Context.add(DurableStateStore, SqlDurableStateStore.make(options)),
    Context.add(OffsetStore, SqlOffsetStore.make(options)),
    Context.add(Database, options.database),
    Context.add(SqlClient, options.database.sql)
  )
