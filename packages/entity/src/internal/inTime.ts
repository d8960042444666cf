import type { StorageError } from "@sluice/core/StorageError"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { JournalUnavailable } from "../EntityError.ts"
import { Deadline, Deadlines } from "./Deadlines.ts"

/** How long an effect that was interrupted has to end. */
const grace = "1 second"

/**
 * @internal
 * How an effect has ended, of the user's or of the database's, or undefined where it has not within the time. Then it is interrupted, and where it does not let itself be, nobody
 * waits for it.
 */
export type InTime = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.Duration
) => Effect.Effect<Exit.Exit<A, E> | undefined, never, R>

/** Interrupts, and waits for the end a little while. */
const giveUp = (fiber: Fiber.Fiber<unknown, unknown>): Effect.Effect<void> =>
  Effect.suspend(() => {
    fiber.interruptUnsafe()
    return Effect.timeoutOrElse(Effect.asVoid(Fiber.await(fiber)), { duration: grace, orElse: () => Effect.void })
  })

/**
 * @internal
 * The effects of an entity type mostly end long before their time, and there are very many. So they share the timers, one for each duration, which sleep on while
 * they come and go.
 */
export const makeInTime: Effect.Effect<InTime, never, Scope.Scope> = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const run = Effect.runForkWith(yield* Effect.context())
  const now = (): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const timers = new Map<number, Deadlines>()
  const sleeping = new Set<Fiber.Fiber<void>>()
  // before what is added later ends, deadlines hold
  yield* Effect.addFinalizer(() => Effect.suspend(() => Fiber.interruptAll(sleeping)))

  const watching = Effect.fnUntraced(function*(millis: number, deadlines: Deadlines) {
    for (let { next } = deadlines; next !== undefined; { next } = deadlines) {
      yield* Effect.sleep(Math.max(1, next - now()))
      deadlines.expire(now())
    }
    timers.delete(millis)
  })

  const set = (deadline: Deadline, millis: number): Deadlines => {
    let deadlines = timers.get(millis)
    if (deadlines !== undefined) {
      deadlines.set(deadline, now())
      return deadlines
    }
    timers.set(millis, deadlines = new Deadlines(millis))
    deadlines.set(deadline, now())
    const fiber = run(watching(millis, deadlines))
    sleeping.add(fiber)
    fiber.addObserver(() => sleeping.delete(fiber))
    return deadlines
  }

  return <A, E, R>(effect: Effect.Effect<A, E, R>, duration: Duration.Duration) =>
    Effect.withFiber((parent): Effect.Effect<Exit.Exit<A, E> | undefined, never, R> => {
      // not a child, as the end of a fiber waits for its children
      const fiber = Effect.runForkWith(parent.context as Context.Context<R>)(effect)
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return Effect.succeed(exit)
      return Effect.callback((resume) => {
        const millis = Duration.toMillis(duration)
        const deadline = new Deadline(() => resume(Effect.as(giveUp(fiber), undefined)))
        const deadlines = millis < Infinity ? set(deadline, millis) : undefined
        fiber.addObserver((exit) => {
          deadlines?.callOff(deadline)
          resume(Effect.succeed(exit))
        })
        return Effect.suspend(() => {
          deadlines?.callOff(deadline)
          return giveUp(fiber)
        })
      })
    })
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
  inTime: InTime,
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
  inTime: InTime,
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
