import { StorageError } from "@sluice/core/StorageError"
import { retryWhileBusy } from "@sluice/sql/Database"
import { compile, type Query } from "@sluice/sql/Dialect"
import type { SluiceTables } from "@sluice/sql/SluiceTables"
import { fromCause, toSqlError } from "@sluice/sql/SqlStorageError"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import type { Kysely } from "kysely"
import * as Path from "node:path"

/** @internal */
export type Connection = Sqlite.Database

/** @internal Builds queries over Sluice's tables. */
export type Db = Kysely<SluiceTables>

/** @internal A statement compiled once; its parameters are in the order in which Kysely writes them. */
export const prepare = (connection: Connection, query: Query<unknown>): Sqlite.Statement<Array<unknown>, any> =>
  connection.prepare(compile("sqlite", query).sql)

/** @internal */
export const failed = fromCause("sqlite")

/** @internal */
export const sqlError = toSqlError("sqlite")

/**
 * @internal
 * Every setting belongs to the connection, except WAL, which stays with the file. The driver's own waiting for a lock would block the
 * event loop, so it is off. `synchronous` is FULL, as its default for a WAL file loses acknowledged events with the power.
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
        }
        connection.pragma("cache_size = -65536")
        return connection
      } catch (error) {
        connection.close()
        throw error
      }
    },
    catch: (cause) =>
      cause instanceof TypeError
        // the driver checks the folder itself, and says so without a code
        ? new StorageError({ operation: `open '${Path.resolve(filename)}'`, reason: "Failed", cause })
        : failed(`open '${Path.resolve(filename)}'`)(cause)
  }).pipe(retryWhileBusy(options.lockTimeout))
