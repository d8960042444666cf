/**
 * A transaction that tells its own failures from those of its effect: its own become a `StorageError`, the effect's
 * stay as they are, even if they are a `SqlError`.
 *
 * @since 0.1.0
 */
import type { StorageError } from "@sluice/core/StorageError"
import { Transaction } from "@sluice/core/Transaction"
import * as Effect from "effect/Effect"
import type { Database } from "../Database.ts"
import { fromSqlError } from "./SqlStorageError.ts"

/**
 * The `Transaction` for handlers, which write in the transaction of the offsets: it runs statements in the fiber's
 * transaction.
 *
 * @category constructors
 * @since 0.1.0
 */
export const service = (database: Database["Service"]): Transaction["Service"] =>
  Transaction.of({
    dialect: database.dialect,
    execute: (statement) => Effect.mapError(database.execute(statement), fromSqlError("run a statement"))
  })

/**
 * Runs the effect in a transaction, and tells the failures of the two apart.
 *
 * @category running
 * @since 0.1.0
 */
export const run = <A, E, R>(
  database: Database["Service"],
  operation: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StorageError, R> =>
  Effect.mapError(effect, (error) => new Failed(error)).pipe(
    database.withTransaction,
    Effect.mapError((error) => error instanceof Failed ? error.error : fromSqlError(operation)(error))
  )

class Failed<E> {
  readonly error: E
  constructor(error: E) {
    this.error = error
  }
}
