import * as Effect from "effect/Effect"
import { maxCalls } from "./method.ts"

/** Of the commands that are in hand; of their answers twice as many, as nobody can refuse a command any more that has one. */
const maxBytes = 64 * 1024 * 1024

/**
 * @internal
 * Commands that are in hand, and the bytes of them and of their answers. Where there is no room for another it is not begun, so that none waits for others.
 */
export class InHand {
  #calls = 0
  #bytes = 0

  /** Whether no more commands should be begun, as the answers of others have come meanwhile. */
  get isFull(): boolean {
    return this.#bytes > maxBytes
  }

  /** Runs the effect where there is room for a command of so many bytes, and else the other one. */
  command<A>(bytes: number, effect: Effect.Effect<A>, full: Effect.Effect<A>): Effect.Effect<A> {
    return Effect.suspend(() =>
      this.#calls >= maxCalls || this.#bytes + bytes > maxBytes ? full : this.#hold(1, bytes, effect)
    )
  }

  /** The same with the answer to one that is in hand. */
  answer<A>(bytes: number, effect: Effect.Effect<A>, full: Effect.Effect<A>): Effect.Effect<A> {
    return Effect.suspend(() => this.#bytes + bytes > 2 * maxBytes ? full : this.#hold(0, bytes, effect))
  }

  #hold<A>(calls: number, bytes: number, effect: Effect.Effect<A>): Effect.Effect<A> {
    this.#calls += calls
    this.#bytes += bytes
    return Effect.ensuring(
      effect,
      Effect.sync(() => {
        this.#calls -= calls
        this.#bytes -= bytes
      })
    )
  }
}
