import * as Effect from "effect/Effect"
import type { Database } from "../Database.ts"

/** The part of the server's limit that is used, as messages take some time on their way. */
const idleShare = 0.9

/**
 * @internal
 * Interrupts an effect that leaves its transaction idle, before the server ends the transaction after so many milliseconds: the server's error would not
 * say whose fault it was. The error is told how long it was idle at most.
 */
export const unlessIdle = <A, E, R, E2>(
  database: Database["Service"],
  transactionTimeout: number,
  effect: Effect.Effect<A, E, R>,
  tooSlow: (limit: number) => E2
): Effect.Effect<A, E | E2, R> => {
  const limit = Math.floor(transactionTimeout * idleShare)
  const watch: Effect.Effect<never, E2> = Effect.flatMap(database.idle, (idle) =>
    idle >= limit
      ? Effect.suspend(() => Effect.fail(tooSlow(limit)))
      : Effect.andThen(Effect.sleep(Math.max(limit - idle, 1)), watch))
  return Effect.raceFirst(effect, watch)
}
