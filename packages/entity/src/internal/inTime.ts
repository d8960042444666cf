import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { JournalUnavailable } from "../EntityError.ts"

/** How long an effect that was interrupted has to end. */
const grace = "1 second"

/**
 * @internal
 * How an effect has ended, of the user's or of the database's, or undefined where it has not within the time. Then it is interrupted, and where it does not let itself be, nobody
 * waits for it.
 */
export const inTime = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.Duration
): Effect.Effect<Exit.Exit<A, E> | undefined, never, R> =>
  // not a child, as the end of a fiber waits for its children
  Effect.flatMap(Effect.forkDetach(effect, { startImmediately: true }), (fiber) => {
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return Effect.succeed(exit)
    const given = Effect.suspend(() => {
      fiber.interruptUnsafe()
      return Effect.timeoutOrElse(Effect.asVoid(Fiber.await(fiber)), { duration: grace, orElse: () => Effect.void })
    })
    return Effect.timeoutOrElse(Fiber.await(fiber), { duration, orElse: () => Effect.as(given, undefined) }).pipe(
      Effect.onInterrupt(() => given)
    )
  })

/** @internal What is said of a database that does not answer: nothing was written. */
export const unanswered = (entityType: string, id: string, within: Duration.Duration): JournalUnavailable =>
  new JournalUnavailable({
    entityType,
    id,
    isUnknown: false,
    cause: new Cause.TimeoutError(`the database has not answered within ${Duration.format(within)}`)
  })

/** @internal What is read from the database, which is unavailable where it does not answer in time. */
export const readInTime = <A, E>(
  about: { readonly entityType: string; readonly id: string },
  read: Effect.Effect<A, E>,
  within: Duration.Duration
): Effect.Effect<A, E | JournalUnavailable> =>
  Effect.flatMap(
    inTime(read, within),
    (exit): Effect.Effect<A, E | JournalUnavailable> =>
      exit ?? Effect.fail(unanswered(about.entityType, about.id, within))
  )
