import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { SqlError } from "effect/sql/SqlError"
import { fromSqlError } from "../../adapter/SqlStorageError.ts"
import { mayBeDone } from "../DatabaseError.ts"
import { retryFor } from "../retryFor.ts"

/** For how long appends wait for a database that is away, in milliseconds. */
const patience = 30_000

const backoff = Schedule.jittered(Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]))

/** After a failover the connection may lead to the old server for a moment, which takes no writes. */
const isAway = (error: SqlError): boolean => {
  const { reason } = fromSqlError("append")(error)
  return reason === "Unavailable" || reason === "ReadOnly"
}

/** @internal Tries again while the database is away. Logs that once, if it is known that nothing was written. */
export const retryAway = <A>(self: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
  Effect.suspend(() => {
    let isTold = false
    return Effect.tapError(self, (error) => {
      if (isTold || !isAway(error) || mayBeDone(error)) return Effect.void
      isTold = true
      return Effect.logWarning("Waits for the database, and then appends: nothing was written", error)
    }).pipe(retryFor<SqlError>({ atMost: patience, while: isAway, schedule: backoff }))
  })
