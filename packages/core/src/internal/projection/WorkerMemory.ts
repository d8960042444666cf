import * as Effect from "effect/Effect"
import type { Envelope } from "../../Envelope.ts"
import type { Basis, Move } from "../../OffsetStore.ts"
import { errorOf } from "./failures.ts"

/** @internal What a worker remembers from one beginning to the next, and nobody else sees. */
export class WorkerMemory {
  #sourceError: unknown
  #stumble = { at: "", times: 0 }
  /** When events that have waited in a group as a command came are to be handled, by the monotonic clock in milliseconds. */
  groupDue = Infinity
  /** When a command came while it had caught up, by the same clock, if it has begun for nothing else since. */
  ranUntil = -Infinity
  /** Events that are handed over at most once, and were not, as nobody has answered whether the moves past them were made. */
  unsure:
    | { readonly envelopes: ReadonlyArray<Envelope<any>>; readonly moves: ReadonlyArray<Move>; readonly basis: Basis }
    | undefined

  /** Remembers the errors of the source itself, and not those of a stage or a handler. */
  readonly ofSource = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.tapCause(effect, (cause) => Effect.sync(() => void (this.#sourceError = errorOf(cause))))

  /** Whether the error is one of the source. */
  isOfSource(error: unknown): boolean {
    return error !== undefined && error === this.#sourceError
  }

  /** Counts how often in a row a stage has failed at the place. */
  stumbleAt(at: string): number {
    this.#stumble = { at, times: this.#stumble.at === at ? this.#stumble.times + 1 : 1 }
    return this.#stumble.times
  }
}
