import type { StorageError } from "@sluice/core/StorageError"
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

/** How long the database may take to answer a write. It is longer than it gives itself, as it knows better whether anything was written. */
const writeWithin = Duration.seconds(60)

/** Which entity something is of. */
interface OfEntity {
  readonly entityType: string
  readonly id: string
}

/** @internal What is said of a database that fails. */
export const unavailable = ({ entityType, id }: OfEntity, isUnknown: boolean, cause: unknown): JournalUnavailable =>
  new JournalUnavailable({ entityType, id, isUnknown, cause })

/** @internal What is said of a database that does not answer. */
export const unanswered = (of: OfEntity, isUnknown: boolean, within: Duration.Duration): JournalUnavailable =>
  unavailable(
    of,
    isUnknown,
    new Cause.TimeoutError(`the database has not answered within ${Duration.format(within)}`)
  )

/** @internal What is read from the database, which is unavailable where it fails, or does not answer in time. */
export const readInTime = <A>(
  of: OfEntity,
  read: Effect.Effect<A, StorageError>,
  within: Duration.Duration
): Effect.Effect<A, JournalUnavailable> =>
  Effect.flatMap(
    inTime(Effect.mapError(read, (cause) => unavailable(of, false, cause)), within),
    (exit): Effect.Effect<A, JournalUnavailable> => exit ?? Effect.fail(unanswered(of, false, within))
  )

/**
 * @internal
 * What is written to the database, of which nobody knows whether it was where it does not answer in time. In a transaction of the sender's that one's time counts.
 */
export const writeInTime = <A, E>(
  of: OfEntity,
  inTransaction: Effect.Effect<boolean>,
  write: Effect.Effect<A, E>
): Effect.Effect<A, E | JournalUnavailable> =>
  Effect.flatMap(inTransaction, (inTransaction): Effect.Effect<A, E | JournalUnavailable> =>
    inTransaction
      ? write
      : Effect.flatMap(
        inTime(write, writeWithin),
        (exit): Effect.Effect<A, E | JournalUnavailable> => exit ?? Effect.fail(unanswered(of, true, writeWithin))
      ))
