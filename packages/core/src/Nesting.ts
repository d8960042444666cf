/**
 * Waiting while a nested transaction is open. Every storage adapter needs this part of transactions.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"

/**
 * The levels of one transaction: 0 is the outermost one, and each nested one is one more.
 *
 * A rollback of a nested transaction undoes everything since it began, also what others have written at an outer level. So statements of
 * outer levels wait while it is open, and so do other transactions nested in the same level. When it has been open for 10 seconds, they
 * fail, as it may itself be waiting for them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Nesting<E> {
  /**
   * Runs an effect of a level once no transaction nested in that level is open. This is checked again when its turn
   * comes.
   */
  readonly at: <A, E1, R>(
    level: number,
    effect: Effect.Effect<A, E1, R>,
    inTurn?: <B, E2, R2>(effect: Effect.Effect<B, E2, R2>) => Effect.Effect<B, E2, R2>
  ) => Effect.Effect<A, E | E1, R>
  /** Runs a transaction within a level, once no other is open there. */
  readonly within: <A, E1, R>(level: number, transaction: Effect.Effect<A, E1, R>) => Effect.Effect<A, E | E1, R>
}

const timeout = Duration.seconds(10)

const notYet: unique symbol = Symbol()

/**
 * No transaction within the transaction yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <E>(timedOut: (cause: Error) => E): Nesting<E> => {
  /** The level of the innermost transaction. */
  let innermost = 0
  const waiting = new Map<object, { readonly level: number; readonly wake: () => void }>()

  const leave = (to: number) => {
    innermost = to
    for (const [key, { level, wake }] of waiting) {
      if (level < innermost) continue
      waiting.delete(key)
      wake()
    }
  }

  /** Waits for the transaction that is open within the level. Then the next one may already be open. */
  const wait = (level: number): Effect.Effect<void, E> =>
    Effect.callback<void>((resume) => {
      if (innermost <= level) return resume(Effect.void)
      const key = {}
      waiting.set(key, { level, wake: () => resume(Effect.void) })
      return Effect.sync(() => waiting.delete(key))
    }).pipe(
      Effect.timeoutOption(timeout),
      Effect.flatMap((done) => Option.isSome(done) ? Effect.void : Effect.fail(timedOut(new Error(tooLong))))
    )

  return {
    at: <A, E1, R>(
      level: number,
      effect: Effect.Effect<A, E1, R>,
      inTurn: <B, E2, R2>(effect: Effect.Effect<B, E2, R2>) => Effect.Effect<B, E2, R2> = identity
    ) => {
      const attempt = inTurn(
        Effect.suspend((): Effect.Effect<A | typeof notYet, E1, R> =>
          innermost > level ? Effect.succeed(notYet) : effect
        )
      )
      const loop: Effect.Effect<A, E | E1, R> = Effect.flatMap(
        attempt,
        (result) => result === notYet ? Effect.andThen(wait(level), loop) : Effect.succeed(result)
      )
      return loop
    },
    within: <A, E1, R>(level: number, transaction: Effect.Effect<A, E1, R>) =>
      Effect.uninterruptibleMask((restore) => {
        const loop: Effect.Effect<A, E | E1, R> = Effect.suspend(() => {
          if (innermost > level) return Effect.andThen(restore(wait(level)), loop)
          const before = innermost
          innermost = level + 1
          return Effect.onExit(restore(transaction), () => Effect.sync(() => leave(before)))
        })
        return loop
      })
  }
}

const tooLong =
  `a transaction within this one has been open for ${Duration.format(timeout)}, and nothing else of this one runs ` +
  "meanwhile, as it would be undone with that: let that one end first, or do all of it within that one"
