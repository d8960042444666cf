import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"

/** Whoever has its turn, and those that wait. */
interface Turn {
  readonly semaphore: Semaphore.Semaphore
  count: number
}

/** @internal Whether the fiber works for an entity, of whatever type, which waits for it. */
export const HasTurn = Context.Reference<boolean>("@sluice/entity/HasTurn", { defaultValue: () => false })

/**
 * @internal
 * Effects of one key take turns, in the order in which they come; those of others do not wait for them. Nothing is kept of a key that nobody has.
 *
 * Whoever works for an entity waits for no turn, as who has that could wait for it: its effects run at once.
 */
export class Turns {
  readonly #capacity: number
  readonly #turns = new Map<string, Turn>()

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** How many keys somebody has. */
  get size(): number {
    return this.#turns.size
  }

  /** How many wait for a key; undefined where nobody has it. */
  waiting(key: string): number | undefined {
    const turn = this.#turns.get(key)
    return turn && turn.count - 1
  }

  /** Runs the effect in its turn, and `refused` instead where as many wait for the key as may. */
  run<A, E, E2>(key: string, effect: Effect.Effect<A, E>, refused: Effect.Effect<never, E2>): Effect.Effect<A, E | E2> {
    return Effect.withFiber(({ context }) =>
      Context.get(context, HasTurn) ? effect : Effect.uninterruptibleMask((restore): Effect.Effect<A, E | E2> => {
        let turn = this.#turns.get(key)
        if (turn === undefined) this.#turns.set(key, turn = { semaphore: Semaphore.makeUnsafe(1), count: 0 })
        // one of them has its turn
        else if (turn.count > this.#capacity) return refused
        const { semaphore } = turn
        turn.count++
        const ended = Effect.sync(() => {
          if (--turn.count === 0) this.#turns.delete(key)
        })
        return Effect.ensuring(
          restore(semaphore.withPermit(Effect.provideService(effect, HasTurn, true))),
          ended
        )
      })
    )
  }
}
