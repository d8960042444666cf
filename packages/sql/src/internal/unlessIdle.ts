import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as RealTime from "../adapter/RealTime.ts"
import type { Database } from "../Database.ts"

/** The part of the server's limit that is used, as messages take some time on their way. */
const idleShare = 0.9

/**
 * @internal
 * Interrupts an effect that leaves its transaction idle, before the server ends the transaction after so many milliseconds: the server's error would not
 * say whose fault it was. The error is told how long it was idle at most.
 */
export const unlessIdle = <A, E, R, E2>(
  database: Pick<Database["Service"], "idle">,
  transactionTimeout: number,
  effect: Effect.Effect<A, E, R>,
  tooSlow: (limit: number) => E2
): Effect.Effect<A, E | E2, R> => {
  const limit = Math.floor(transactionTimeout * idleShare)
  return Effect.withFiber((parent) =>
    // a timer and not a second fiber in a race with the first: there is one for each event that is handled exactly once
    Effect.callback<A, E | E2, R>((resume) => {
      let cancel: (() => void) | undefined
      let isTooSlow = false
      const fiber = Effect.runForkWith(parent.context)(effect as Effect.Effect<A, E>)
      const lookIn = (millis: number) => {
        cancel = RealTime.after(millis, () => {
          const idle = Effect.runSyncWith(parent.context)(database.idle)
          if (idle < limit) return lookIn(Math.max(limit - idle, 1))
          isTooSlow = true
          fiber.interruptUnsafe(parent.id)
        })
      }
      lookIn(limit)
      fiber.addObserver((exit) => {
        cancel?.()
        resume(isTooSlow ? Effect.suspend(() => Effect.fail(tooSlow(limit))) : exit)
      })
      // the transaction ends after it
      return Fiber.interrupt(fiber)
    })
  )
}
