/**
 * Events, snapshots, durable state and offsets in PostgreSQL, next to the service's own tables.
 *
 * @since 0.1.0
 */
import type { StorageError } from "@sluice/core/StorageError"
import * as JournalIdentity from "@sluice/sql/adapter/JournalIdentity"
import * as Naming from "@sluice/sql/adapter/Naming"
import * as NumericOptions from "@sluice/sql/adapter/NumericOptions"
import * as SqlJournal from "@sluice/sql/adapter/SqlJournal"
import * as SqlStorage from "@sluice/sql/adapter/SqlStorage"
import { fromSqlError, toConnectError } from "@sluice/sql/adapter/SqlStorageError"
import * as StorageSignals from "@sluice/sql/adapter/StorageSignals"
import * as Database from "@sluice/sql/Database"
import * as Migrations from "@sluice/sql/Migrations"
import * as Config from "effect/Config"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { addressOf, type KnownJournal, transactionTimeoutOf } from "./internal/client.ts"
import { makeDialect } from "./internal/dialect.ts"
import { migrations } from "./internal/migrations.ts"
import { makeMove } from "./internal/move.ts"
import { watch } from "./internal/notify.ts"
import { makeNumbers } from "./internal/numbers.ts"
import { ownFunction } from "./internal/ownFunction.ts"
import { makePool } from "./internal/pool.ts"
import { alongIndexes } from "./internal/session.ts"
import { makeSessions } from "./internal/sessions.ts"
import type { Options } from "./PostgresOptions.ts"

export type { Options } from "./PostgresOptions.ts"

/** Connections for appends to logs that somebody has locked for long. */
const waiters = 4
const readers = 3

const make = Effect.fnUntraced(function*(options: Options) {
  yield* NumericOptions.check(options)
  const lanes = options.lanes ?? 2
  const opened: KnownJournal = { known: undefined }
  // what the options say may be nothing to connect to
  const address = yield* Effect.mapError(
    Effect.try({ try: () => addressOf(options), catch: toConnectError("postgres")("connect") }),
    fromSqlError("connect")
  )
  const pool = yield* makePool(options, "service", options.poolSize ?? 10, opened)
  const database = yield* Database.make({
    dialect: "postgres",
    sessions: makeSessions(pool),
    beginTransaction: "BEGIN ISOLATION LEVEL READ COMMITTED"
  }).pipe(Effect.mapError(fromSqlError("connect")))
  const naming = yield* located(database, Naming.make(options))

  yield* Migrations.prepare({
    database,
    naming,
    migrations: migrations(naming.schema),
    exclusively: exclusively(database, naming),
    migrate: options.migrate,
    where: `PostgreSQL at ${address}`
  })
  yield* ownFunction({ database, naming, exclusively: exclusively(database, naming), migrate: options.migrate })
  const db = Naming.tables(naming)
  const identity = yield* Effect.mapError(JournalIdentity.get(database, db), fromSqlError("identify the journal"))
  opened.known = { table: Naming.quoted("postgres", naming, "sluice_meta"), identity }
  const signals = StorageSignals.make()
  const connections = {
    database,
    writers: yield* makePool(options, "appends", lanes + waiters, opened),
    readers: yield* makePool(options, "reads", readers, opened, alongIndexes, signals.reconnected)
  }
  yield* watch(options, naming, opened, signals)
  const journal = yield* SqlJournal.make({
    database,
    db,
    dialect: makeDialect(connections, naming, (yield* WebCrypto).randomUUID()),
    signals,
    identity,
    maxEventBytes: options.maxEventBytes,
    lanes,
    waiters
  })
  return SqlStorage.make({
    database,
    db,
    journal,
    signals,
    ...makeMove(database, naming),
    numbers: makeNumbers(database, naming),
    transactionTimeout: transactionTimeoutOf(options)
  })
})

/** Names say which schema they are in, as the search path may differ from query to query. */
const located = (
  { sql }: Database.Database["Service"],
  naming: Naming.Naming
): Effect.Effect<Naming.Naming, StorageError> =>
  naming.schema !== undefined ? Effect.succeed(naming) : Effect.mapBoth(
    sql<{ schema: string | null }>`SELECT coalesce(
      (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = to_regclass(${Naming.quoted("postgres", naming, "sluice_migration")})),
      current_schema()
    )::text AS schema`,
    {
      onFailure: fromSqlError("connect"),
      onSuccess: ([row]) => ({ ...naming, schema: row?.schema ?? undefined })
    }
  )

const exclusively =
  (database: Database.Database["Service"], { prefix, schema }: Naming.Naming): Migrations.Options["exclusively"] =>
  (effect) =>
    database.withTransaction(Effect.andThen(
      database.sql`SELECT pg_advisory_xact_lock(hashtext(${`sluice migrations ${schema ?? ""} ${prefix}`}))`,
      effect
    ))

/**
 * Connects, creates its tables if need be, and disconnects with the layer. It also provides the database itself, for the
 * service's own tables.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<SqlStorage.SqlStorage, StorageError | Migrations.MigrationError> => Layer.effectContext(make(options))

/**
 * As {@link layer}, with options from Effect's `Config`.
 *
 * **Example** (Settings from the environment)
 *
 * ```ts
 * import { PostgresStorage } from "@sluice/postgres"
 * import { Config } from "effect"
 *
 * const Storage = PostgresStorage.layerConfig({ url: Config.Redacted("DATABASE_URL"), poolSize: Config.succeed(20) })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<SqlStorage.SqlStorage, StorageError | Migrations.MigrationError | Config.ConfigError> =>
  Layer.effectContext(Effect.gen(function*() {
    return yield* make(yield* Config.unwrap(options))
  }))

/**
 * Only the journal, snapshots and durable state, for a process whose projections write to another database.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerJournal = (
  options: Options
): Layer.Layer<SqlStorage.JournalStorage, StorageError | Migrations.MigrationError> =>
  SqlStorage.onlyJournal(layer(options))

/**
 * Only the offset store, and the database for what projections write, for a process whose journal is in another.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOffsetStore = (
  options: Options
): Layer.Layer<SqlStorage.OffsetStorage, StorageError | Migrations.MigrationError> =>
  SqlStorage.onlyOffsetStore(layer(options))

/**
 * The SQL that creates the tables, or leads from a version of them to the latest, for whoever applies it by hand.
 *
 * @category migrations
 * @since 0.1.0
 */
const print = (options?: Pick<Options, "schema" | "tablePrefix"> & { readonly from?: number | undefined }): string => {
  const naming = Naming.make(options ?? {})
  return Migrations.print("postgres", naming, migrations(naming.schema), options?.from)
}

export { print as migrations }
