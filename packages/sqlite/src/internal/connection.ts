import { StorageError } from "@sluice/core/StorageError"
import { compile, type Query } from "@sluice/sql/adapter/Dialect"
import { fromCause, toSqlError } from "@sluice/sql/adapter/SqlStorageError"
import { retryWhileBusy } from "@sluice/sql/Database"
import type { SluiceTables } from "@sluice/sql/SluiceTables"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import type { Kysely } from "kysely"
import * as Fs from "node:fs"
import * as Path from "node:path"

/** @internal */
export type Connection = Sqlite.Database

/** @internal Builds queries over Sluice's tables. */
export type Db = Kysely<SluiceTables>

/**
 * @internal
 * A statement compiled once; its parameters are in the order in which Kysely writes them. Each has a plus sign, which does nothing: where
 * a bare parameter may decide how a statement is planned, SQLite compiles it again whenever it is given another value, which takes several
 * times as long as to run it.
 */
export const prepare = (connection: Connection, query: Query<unknown>): Sqlite.Statement<Array<unknown>, any> =>
  connection.prepare(compile("sqlite", query).sql.replaceAll("?", "+?"))

/** @internal */
export const failed = fromCause("sqlite")

/** @internal */
export const sqlError = toSqlError("sqlite")

/** More than `wal_autocheckpoint` makes of it, so that the file is not cut off and grown again and again. */
const maxLogBytes = 64 * 1024 * 1024

/** Whether the file, if it exists, and its folder are writable. SQLite's error does not say so. */
const isWritable = (filename: string): boolean =>
  [filename, Path.dirname(Path.resolve(filename))].every((path) => {
    try {
      Fs.accessSync(path, Fs.constants.W_OK)
      return true
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "ENOENT"
    }
  })

/**
 * @internal
 * Every setting belongs to the connection, except WAL, which stays with the file. The driver's own waiting for a lock
 * would block the event loop, so it is off. `synchronous` is FULL: with the default for a WAL file, a power failure
 * loses acknowledged events.
 */
export const open = (
  filename: string,
  options: { readonly readonly: boolean; readonly lockTimeout: number }
): Effect.Effect<Connection, StorageError> =>
  Effect.try({
    try: () => {
      const connection = new Sqlite(filename, {
        timeout: 0,
        readonly: options.readonly,
        fileMustExist: options.readonly
      })
      try {
        if (!options.readonly) {
          connection.pragma("journal_mode = WAL")
          connection.pragma("synchronous = FULL")
          connection.pragma("wal_autocheckpoint = 10000")
          // after somebody has read for so long that the log could not be begun again, the next writers cut it off
          connection.pragma(`journal_size_limit = ${maxLogBytes}`)
        }
        connection.pragma("cache_size = -65536")
        // whoever has read has the log and its index open, and a lock that says so to others
        connection.prepare("SELECT count(*) FROM sqlite_schema").get()
        return connection
      } catch (error) {
        connection.close()
        throw error
      }
    },
    catch: (cause) => {
      const operation = `open '${Path.resolve(filename)}'`
      // the driver itself checks whether the folder exists, and its error has no code
      if (cause instanceof TypeError) {
        const advice = "its folder does not exist, or the name is none: create the folder, or correct 'filename'"
        return new StorageError({ operation, reason: "Misconfigured", advice, cause })
      }
      return cause instanceof Sqlite.SqliteError && cause.code.startsWith("SQLITE_CANTOPEN") && !isWritable(filename)
        ? new StorageError({ operation, reason: "ReadOnly", cause })
        : failed(operation)(cause)
    }
  }).pipe(retryWhileBusy(options.lockTimeout))
