/**
 * What a database's error means to a journal or an offset store.
 *
 * @since 0.1.0
 */
import { StorageError } from "@sluice/core/StorageError"
import type { SqlError } from "effect/sql/SqlError"
import { classify, classifyConnecting, DatabaseError, storageOf } from "../internal/DatabaseError.ts"
import type { Dialect } from "./Dialect.ts"

/**
 * The storage error for a SQL error that `operation` failed with.
 *
 * @category converting
 * @since 0.1.0
 */
export const fromSqlError = (operation: string) => (error: SqlError): StorageError =>
  make(operation, storageOf(error), error)

const make = (operation: string, reason: StorageError["reason"], error: SqlError): StorageError => {
  const advice = error instanceof DatabaseError ? error.advice : undefined
  const { cause } = error.reason
  return new StorageError({ operation, reason, cause, ...(advice === undefined ? {} : { advice }) })
}

/**
 * As {@link fromSqlError}, for what is done first: where no connection could be made, that is what has failed.
 *
 * @category converting
 * @since 0.1.0
 */
export const connectingFor = (operation: string) => (error: SqlError): StorageError =>
  fromSqlError(error instanceof DatabaseError && !error.isSent ? "connect" : operation)(error)

/**
 * As {@link fromSqlError}, for a statement of the storage itself: nobody else can be to blame for its failure.
 *
 * @category converting
 * @since 0.1.0
 */
export const ofStorage = (operation: string) => (error: SqlError): StorageError => {
  const reason = storageOf(error)
  return make(operation, reason === "Failed" ? "Broken" : reason, error)
}

/**
 * What a driver threw, as a SQL error.
 *
 * @category converting
 * @since 0.1.0
 */
export const toSqlError = (dialect: Dialect) => (operation: string) => (cause: unknown): SqlError =>
  classify(dialect, operation, cause)

/**
 * As {@link toSqlError}, for an attempt to connect: nothing was sent, and whoever wanted the connection is not to
 * blame.
 *
 * @category converting
 * @since 0.1.0
 */
export const toConnectError = (dialect: Dialect) => (operation: string) => (cause: unknown): SqlError =>
  classifyConnecting(dialect, operation, cause)

/**
 * As {@link fromSqlError}, from what a driver threw.
 *
 * @category converting
 * @since 0.1.0
 */
export const fromCause = (dialect: Dialect) => (operation: string) => (cause: unknown): StorageError =>
  fromSqlError(operation)(toSqlError(dialect)(operation)(cause))
