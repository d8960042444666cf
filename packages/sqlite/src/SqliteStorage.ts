/**
 * Events, snapshots, durable state and offsets in a SQLite file, next to the service's own tables.
 *
 * SQLite has one writer at a time: a transaction that is open stops all other writers of the file, in this process and
 * in others, for as long as it lasts. Readers of the journal are not stopped.
 *
 * @since 0.1.0
 */
import type { StorageError } from "@sluice/core/StorageError"
import * as Naming from "@sluice/sql/adapter/Naming"
import * as NumericOptions from "@sluice/sql/adapter/NumericOptions"
import * as SqlStorage from "@sluice/sql/adapter/SqlStorage"
import { fromSqlError } from "@sluice/sql/adapter/SqlStorageError"
import * as StorageSignals from "@sluice/sql/adapter/StorageSignals"
import * as Database from "@sluice/sql/Database"
import * as Migrations from "@sluice/sql/Migrations"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { type Connection, failed, open } from "./internal/connection.ts"
import { makeJournal } from "./internal/journal.ts"
import { migrations } from "./internal/migrations.ts"
import { makeMove } from "./internal/move.ts"
import { OpenFile } from "./internal/openFile.ts"
import { SameJournal } from "./internal/sameJournal.ts"
import { makeSessions } from "./internal/sessions.ts"
import type { Options } from "./SqliteOptions.ts"

export type { Options } from "./SqliteOptions.ts"

/** Reading and writing need two connections, which cannot share a database that SQLite keeps in memory. */
const temporaryFile = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "sluice-"))),
    (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true }))
  ),
  (folder) => Path.join(folder, "memory.db")
)

const closing = (connection: Connection) => Effect.sync(() => connection.close())

/** Two connections to the same file, one for writing and one for reading. */
const connections = Effect.fnUntraced(function*(filename: string, lockTimeout: number) {
  // the last that is closed copies the log into the file, unless it only reads; and others may have written into that log
  let last: Connection | undefined
  yield* Effect.addFinalizer(() => last === undefined ? Effect.void : closing(last))
  const writer = yield* Effect.acquireRelease(open(filename, { readonly: false, lockTimeout }), closing)
  const file = yield* Effect.try({ try: () => new OpenFile(filename), catch: failed(`open '${filename}'`) })
  const reader = yield* Effect.acquireRelease(
    open(file.real, { readonly: true, lockTimeout }),
    (reader) => file.isReplaced ? Effect.sync(() => void (last = reader)) : closing(reader)
  )
  return { file, reader, writer }
})

const make = Effect.fnUntraced(function*(options: Options) {
  yield* NumericOptions.check(options)
  const lockTimeout = options.lockTimeout ?? 5000
  const isTemporary = options.filename === ":memory:"
  // wherever the process goes later
  const filename = isTemporary ? yield* temporaryFile : Path.resolve(options.filename)
  const { file, reader, writer } = yield* connections(filename, lockTimeout)
  if (isTemporary) writer.pragma("synchronous = OFF")
  const sameJournal = new SameJournal(writer)
  const sessions = makeSessions(writer, file, sameJournal)
  const database = yield* Database.make({
    dialect: "sqlite",
    sessions,
    // a deferred transaction that begins with a read fails at its first write if another process has committed
    // meanwhile
    beginTransaction: "BEGIN IMMEDIATE",
    busyTimeout: lockTimeout
  }).pipe(Effect.mapError(fromSqlError("connect")))
  const naming = Naming.make(options)
  yield* Migrations.prepare({
    database,
    naming,
    migrations,
    exclusively: database.withTransaction,
    migrate: options.migrate,
    where: isTemporary ? "SQLite in memory" : `SQLite file '${filename}'`
  })
  const db = Naming.tables(naming)
  const signals = StorageSignals.make()
  const journal = yield* makeJournal(
    { ...options, lockTimeout },
    sameJournal,
    sessions,
    reader,
    file,
    database,
    db,
    signals
  )
  return SqlStorage.make({ database, db, journal, signals, move: makeMove(writer, database, db) })
})

/**
 * Opens the file, creates its tables if need be, and closes it with the layer. It also provides the database itself, for
 * the service's own tables.
 *
 * **Example** (A journal in a file)
 *
 * ```ts
 * import { SqliteStorage } from "@sluice/sqlite"
 *
 * const Storage = SqliteStorage.layer({ filename: "cart.db" })
 * ```
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
 * import { SqliteStorage } from "@sluice/sqlite"
 * import { Config } from "effect"
 *
 * const Storage = SqliteStorage.layerConfig({ filename: Config.String("CART_DATABASE") })
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
  Migrations.print("sqlite", Naming.make(options ?? {}), migrations, options?.from)

export { print as migrations }
