import type * as Effect from "effect/Effect"
import type * as Semaphore from "effect/Semaphore"
import type { Offer } from "../../Offer.ts"

/** @internal A stream that a server offers. */
export interface OfferedStream extends Offer {
  /** The replicas that have called and are not known here, as far as the log tells of them. */
  readonly strangers: Set<string>
  /** Opening costs the database: a few do so at a time. */
  readonly opening: Semaphore.Semaphore
  /** Ends with a turn of the event loop, for one after the other. So what is new has its turn between two pages of entities. */
  readonly gap: Effect.Effect<void>
  /** Runs what a call does. It is interrupted, and waited for, when the stream is offered no longer. */
  readonly within: <A>(effect: Effect.Effect<A, unknown>) => Effect.Effect<A, unknown>
}
