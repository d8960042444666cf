import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Health } from "../../Feed.ts"
import { StorageError } from "../../StorageError.ts"

/**
 * For how long a reader waits for an answer before it reports that, in milliseconds. The time-out of a statement is
 * many times as long.
 */
const patience = 4_000

/**
 * @internal
 * Reads, and reports a disruption while there is no answer. A database may accept connections and stay silent, which
 * looks as if nothing happened in it. If the read fails after all, its caller gets the error.
 */
export const answering = <A, E, R>(
  health: Health,
  operation: string,
  read: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.gen(function*() {
    let isLate = false
    const watching = yield* Effect.forkChild(Effect.andThen(
      Effect.sleep(patience),
      Effect.sync(() => {
        isLate = true
        const cause = new Error(`no answer for ${patience} ms`)
        health.disrupted(Cause.fail(new StorageError({ operation, reason: "Unavailable", cause })))
      })
    ))
    return yield* Effect.onExit(read, (exit) => {
      if (isLate && Exit.isSuccess(exit)) health.restored()
      return Fiber.interrupt(watching)
    })
  })
