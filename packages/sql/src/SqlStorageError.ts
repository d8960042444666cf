/**
 * What a database's error means to a journal or an offset store.
 *
 * @since 0.1.0
 */
import { type Reason, StorageError } from "@sluice/core/StorageError"
import { SqlError } from "effect/sql/SqlError"
import type { Dialect } from "./Dialect.ts"
import { classify } from "./internal/classify.ts"

/**
 * The storage error that a SQL error is, to whoever did `operation`.
 *
 * @category converting
 * @since 0.1.0
 */
export const fromSqlError = (operation: string) => (error: SqlError): StorageError =>
  new StorageError({ operation, reason: reasonOf(error), cause: error.reason.cause })

const reasonOf = (error: SqlError): Reason => {
  switch (error.reason._tag) {
    case "LockTimeoutError":
    case "DeadlockError":
    case "SerializationError":
    case "StatementTimeoutError":
      return "Busy"
    default: {
      const { cause } = error.reason
      const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""
      return sqliteReasons.find(([prefix]) => code.startsWith(prefix))?.[1] ??
        (error.reason._tag === "ConnectionError" ? "Unavailable" : "Failed")
    }
  }
}

const sqliteReasons = [
  ["SQLITE_FULL", "Full"],
  // as it is found after a commit
  ["SQLITE_READONLY_DBMOVED", "Unavailable"],
  ["SQLITE_READONLY", "ReadOnly"],
  ["SQLITE_CORRUPT", "Damaged"],
  ["SQLITE_NOTADB", "Damaged"],
  ["SQLITE_CANTOPEN", "Failed"],
  ["SQLITE_IOERR", "Unavailable"]
] as const satisfies ReadonlyArray<readonly [string, Reason]>

/**
 * What a driver threw, as a SQL error.
 *
 * @category converting
 * @since 0.1.0
 */
export const toSqlError = (dialect: Dialect) => (operation: string) => (cause: unknown): SqlError =>
  new SqlError({ reason: classify(dialect, cause, operation) })

/**
 * As {@link fromSqlError}, from what a driver threw.
 *
 * @category converting
 * @since 0.1.0
 */
export const fromCause = (dialect: Dialect) => (operation: string) => (cause: unknown): StorageError =>
  fromSqlError(operation)(toSqlError(dialect)(operation)(cause))
