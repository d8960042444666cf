import { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import { SqlError } from "effect/sql/SqlError"
import { toSqlError } from "../adapter/SqlStorageError.ts"
import * as SqlTransaction from "../adapter/SqlTransaction.ts"
import type { Database } from "../Database.ts"
import { retryRefusedAs } from "./retryRefused.ts"

/**
 * @internal
 * A transaction that is tried again where the database refuses it at once. An error that breaks somebody else's transaction is theirs to
 * try again.
 */
export const retriedTransaction = <A, E, R>(
  database: Database["Service"],
  operation: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StorageError, R> => {
  /** What runs in it may fail with either kind of error. */
  const sqlErrorOf = (error: unknown): SqlError | undefined =>
    error instanceof SqlError
      ? error
      : error instanceof StorageError
      ? toSqlError(database.dialect)(error.operation)(error.cause)
      : undefined
  const once = SqlTransaction.run(database, operation, effect)
  return Effect.flatMap(
    database.inTransaction,
    (inTransaction) => inTransaction ? once : retryRefusedAs(sqlErrorOf)(once)
  )
}
