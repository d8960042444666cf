/**
 * Events, snapshots, durable state and offsets in MySQL or MariaDB, next to the service's own tables.
 *
 * @since 0.1.0
 */
import { defaultMaxEventBytes } from "@sluice/core/Journal"
import * as SliceRange from "@sluice/core/SliceRange"
import { StorageError } from "@sluice/core/StorageError"
import * as JournalIdentity from "@sluice/sql/adapter/JournalIdentity"
import * as Naming from "@sluice/sql/adapter/Naming"
import * as NumericOptions from "@sluice/sql/adapter/NumericOptions"
import * as SqlDurableStateStore from "@sluice/sql/adapter/SqlDurableStateStore"
import * as SqlJournal from "@sluice/sql/adapter/SqlJournal"
import * as SqlStorage from "@sluice/sql/adapter/SqlStorage"
import { fromSqlError, toSqlError } from "@sluice/sql/adapter/SqlStorageError"
import * as StorageSignals from "@sluice/sql/adapter/StorageSignals"
import * as Database from "@sluice/sql/Database"
import * as Migrations from "@sluice/sql/Migrations"
import * as Config from "effect/Config"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createHash } from "node:crypto"
import { addressOf, packetFor, transactionTimeoutOf, type Use } from "./internal/connection.ts"
import { makeDialect } from "./internal/dialect.ts"
import { migrations } from "./internal/migrations.ts"
import { makeMove } from "./internal/move.ts"
import { makePool } from "./internal/pool.ts"
import { makeSessions } from "./internal/sessions.ts"
import { UnderWay } from "./internal/UnderWay.ts"
import { watch } from "./internal/watch.ts"
import type { Options } from "./MysqlOptions.ts"

export type { Options } from "./MysqlOptions.ts"

/** Connections for appends to logs that somebody has locked for long. */
const waiters = 4
const readers = 3

/** Sessions that hold locks end soon after they stop, in seconds; others when they are forgotten. */
const idleTimeout = { writers: 30, readers: 3600 }

const make = Effect.fnUntraced(function*(options: Options) {
  yield* NumericOptions.check(options)
  const naming = Naming.make(options)
  const lanes = options.lanes ?? 2
  const transactionTimeout = transactionTimeoutOf(options)
  const packet = packetFor(options.maxEventBytes ?? defaultMaxEventBytes)
  const known: Use["journal"] = { known: undefined }
  const use = (what: Omit<Use, "packet" | "journal">): Use => ({ ...what, packet, journal: known })
  const pool = yield* makePool(
    options,
    options.poolSize ?? 10,
    use({ statements: false, ownTables: false, idleTimeout: Math.max(1, Math.ceil(transactionTimeout / 1000)) })
  )
  const database = yield* Database.make({
    dialect: "mysql",
    sessions: makeSessions(pool),
    beginTransaction: "START TRANSACTION"
  }).pipe(Effect.mapError(fromSqlError("connect")))
  const server = yield* identify(database)
  // a user's query may change the database (`USE`), and another database may have tables of the same names
  const qualified: Naming.Naming = { ...naming, schema: server.database }
  yield* Migrations.prepare({
    database,
    naming,
    migrations,
    exclusively: exclusively(database, naming),
    migrate: options.migrate,
    where: `${server.product} at ${addressOf(options)}`
  })
  const db = Naming.tables(qualified)
  const identity = yield* Effect.mapError(JournalIdentity.get(database, db), fromSqlError("identify the journal"))
  known.known = { table: Naming.quoted("mysql", qualified, "sluice_meta"), identity }
  const signals = StorageSignals.make()
  const connections = {
    database,
    packet,
    writers: yield* makePool(
      options,
      lanes + waiters,
      use({ statements: true, ownTables: true, idleTimeout: idleTimeout.writers })
    ),
    readers: yield* makePool(
      options,
      readers,
      use({ statements: false, ownTables: true, idleTimeout: idleTimeout.readers }),
      signals.reconnected
    )
  }
  const underWay = new UnderWay()
  const dialect = makeDialect(connections, qualified, (yield* WebCrypto).randomUUID(), underWay)
  yield* watch(
    {
      events: (entityType) => dialect.heads(entityType, SliceRange.full),
      states: (entityType) => SqlDurableStateStore.heads(database, db, entityType, SliceRange.full)
    },
    signals,
    underWay
  )
  const { maxEventBytes } = options
  const journal = yield* SqlJournal.make({ database, db, dialect, signals, identity, maxEventBytes, lanes, waiters })
  return SqlStorage.make({ database, db, journal, signals, ...makeMove(database, qualified), transactionTimeout })
})

/** What the server is, and the database that the session is in. */
const identify = (
  { sql }: Database.Database["Service"]
): Effect.Effect<{ readonly product: string; readonly database: string }, StorageError> =>
  sql<{ name: string | null; version: string }>`SELECT DATABASE() AS name, VERSION() AS version`.pipe(
    Effect.mapError(fromSqlError("connect")),
    Effect.flatMap(([row]) =>
      row?.name
        ? Effect.succeed({ product: row.version.includes("MariaDB") ? "MariaDB" : "MySQL", database: row.name })
        : Effect.fail(noDatabase())
    )
  )

const noDatabase = (): StorageError =>
  new StorageError({
    operation: "connect",
    reason: "Misconfigured",
    advice: "no database is named: name it in 'url', as in 'mysql://user@host/database', or as 'database'",
    cause: new Error("the session is in no database")
  })

/**
 * Statements that change tables cannot be in a transaction. So a named lock keeps other processes away, and each
 * statement can be repeated.
 */
const exclusively = (
  { sql }: Database.Database["Service"],
  { prefix }: Naming.Naming
): Migrations.Options["exclusively"] => {
  const lockName = Effect.map(
    sql<{ name: string }>`SELECT DATABASE() AS name`,
    ([row]) => createHash("sha1").update(`sluice migrations ${prefix} ${row!.name}`).digest("hex")
  )
  const take = Effect.tap(lockName, (name) =>
    sql<{ taken: number | null }>`SELECT GET_LOCK(${name}, 1) AS taken`.pipe(
      Effect.repeat({ until: ([row]) => row?.taken === 1, times: 60 }),
      Effect.filterOrFail(
        ([row]) => row?.taken === 1,
        () => toSqlError("mysql")("migrate")(new Error("another process has been migrating for a minute"))
      )
    ))
  // all on the connection that has the lock, outside of a transaction
  return (effect) =>
    Effect.acquireUseRelease(
      take,
      () => effect,
      (name) => Effect.ignore(sql`SELECT RELEASE_LOCK(${name}) AS released`)
    ).pipe(
      (self) =>
        Effect.flatMap(
          sql.reserve,
          (connection) => Effect.provideService(self, sql.transactionService, [connection, 0])
        ),
      Effect.scoped
    )
}

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
 * import { MysqlStorage } from "@sluice/mysql"
 * import { Config } from "effect"
 *
 * const Storage = MysqlStorage.layerConfig({ url: Config.Redacted("DATABASE_URL"), poolSize: Config.succeed(20) })
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
const print = (options?: Pick<Options, "tablePrefix"> & { readonly from?: number | undefined }): string =>
  Migrations.print("mysql", Naming.make(options ?? {}), migrations, options?.from)

export { print as migrations }
