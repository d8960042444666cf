import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { SqlError } from "effect/sql/SqlError"

/**
 * Whether the database has refused it at once. A lock that was not free in time is not meant, as it has been waited for
 * already.
 */
const isRefused = ({ reason }: SqlError): boolean =>
  reason._tag === "DeadlockError" || reason._tag === "SerializationError"

/**
 * @internal
 * Tries again if two transactions took the same locks in another order and the database ended this one. Nothing was
 * written.
 */
export const retryRefusedAs =
  (sqlErrorOf: (error: unknown) => SqlError | undefined) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.retry(self, {
      while: (error) => {
        const sqlError = sqlErrorOf(error)
        return sqlError !== undefined && isRefused(sqlError)
      },
      schedule: Schedule.jittered(Schedule.exponential("2 millis")),
      times: 10
    })

/** @internal As {@link retryRefusedAs}. */
export const retryRefused: <A, R>(self: Effect.Effect<A, SqlError, R>) => Effect.Effect<A, SqlError, R> =
  retryRefusedAs((error) => error as SqlError)
