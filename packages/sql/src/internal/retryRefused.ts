import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { SqlError } from "effect/sql/SqlError"

const policy = {
  while: ({ reason }: SqlError) => reason._tag === "DeadlockError" || reason._tag === "SerializationError",
  schedule: Schedule.jittered(Schedule.exponential("2 millis")),
  times: 10
}

/** @internal Two transactions took the same locks in another order, and the database ended this one: nothing was written. */
export const retryRefused = <A, R>(self: Effect.Effect<A, SqlError, R>): Effect.Effect<A, SqlError, R> =>
  Effect.retry(self, policy)
