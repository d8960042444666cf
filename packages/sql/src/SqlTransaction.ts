/**
 * A transaction whose own failures are the storage's, and whose effect's failures stay the effect's, `SqlError`s
 * included.
 *
 * @since 0.1.0
 */
import type { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import type { Database } from "./Database.ts"
import { fromSqlError } from "./SqlStorageError.ts"

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
