import * as Effect from "effect/Effect"
import { maxCalls, maxMessageBytes } from "./method.ts"
import { Shares } from "./Shares.ts"

/** Of the commands that are in hand; of their answers twice as many, as nobody can refuse a command any more that has one. */
const maxBytes = 64 * 1024 * 1024

/** So much room there has to be for more answers before another command is begun: others have begun whose answers will come. */
const spare = maxBytes / 2

/**
 * @internal
 * Commands that are in hand, and the bytes of them and of their answers, which are held until they are taken. Where there is no room for another it is not begun, so that
 * none waits for others. A process leaves as much of it as it takes to others.
 */
export class InHand {
  readonly #calls = new Shares(maxCalls)
  readonly #commands = new Shares(maxBytes)
  readonly #answers = new Shares(2 * maxBytes)

  /** Whether no more commands of a process should be begun, as it does not take the answers to others. */
  isFull(peer: string): boolean {
    // of one that holds no room there is to be as much as its answer may take, whatever the others hold
    return !this.#answers.hasRoom(peer, this.#answers.hasSome(peer) ? spare : maxMessageBytes)
  }

  /** Runs the effect where there is room for a command of so many bytes of a process, and else the other one. */
  command<A>(peer: string, bytes: number, effect: Effect.Effect<A>, full: Effect.Effect<A>): Effect.Effect<A> {
    return Effect.suspend(() => {
      if (this.isFull(peer) || !this.#calls.hasRoom(peer, 1) || !this.#commands.hasRoom(peer, bytes)) {
        return full
      }
      this.#calls.take(peer, 1)
      this.#commands.take(peer, bytes)
      return Effect.ensuring(
        effect,
        Effect.sync(() => {
          this.#calls.give(peer, 1)
          this.#commands.give(peer, bytes)
        })
      )
    })
  }

  /** The same with the answer to one that is in hand. */
  answer<A>(peer: string, bytes: number, effect: Effect.Effect<A>, full: Effect.Effect<A>): Effect.Effect<A> {
    return Effect.suspend(() => {
      if (!this.#answers.hasRoom(peer, bytes)) return full
      this.#answers.take(peer, bytes)
      return Effect.ensuring(effect, Effect.sync(() => this.#answers.give(peer, bytes)))
    })
  }
}
