import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"

/** So many turns of the event loop in a row may be those of what is new. */
const mostTurns = 4

/**
 * @internal
 * Keeps what is read of entities out of the way of what is new. What is written to a connection leaves with the next turn of the event loop: whatever else
 * this turn has to do, it waits for. So a page of an entity is neither read nor written in a turn in which something new was.
 */
export class Gap {
  readonly #one = Semaphore.makeUnsafe(1)
  #isUnsent = false

  /** Something new was written. */
  readonly wrote: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#isUnsent) return Effect.void
    this.#isUnsent = true
    const sent = Effect.ensuring(Effect.yieldNow, Effect.sync(() => (this.#isUnsent = false)))
    return Effect.asVoid(Effect.forkChild(sent, { startImmediately: true }))
  })

  /** Ends with a turn of the event loop in which nothing new was written, for one after the other. */
  readonly turn: Effect.Effect<void> = Semaphore.withPermit(this.#one, this.#next(mostTurns))

  #next(turns: number): Effect.Effect<void> {
    return Effect.flatMap(
      Effect.yieldNow,
      () => this.#isUnsent && turns > 1 ? this.#next(turns - 1) : Effect.void
    )
  }
}
