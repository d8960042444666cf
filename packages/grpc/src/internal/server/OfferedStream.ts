import type * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import type * as Semaphore from "effect/Semaphore"
import type { Offer } from "../../Offer.ts"
import type { Refusal } from "../../ReplicaInfo.ts"
import type { Gap } from "./Gap.ts"

/** @internal The looks at a replica that is given a stream: one for all its calls of the stream. */
export interface Looks {
  calls: number
  /** Held by the call that looks. */
  readonly one: Semaphore.Semaphore
  readonly refused: Deferred.Deferred<never, unknown>
}

/** @internal A stream that a server offers. */
export interface OfferedStream extends Offer {
  /** The replicas that have called and are not known here, as far as the log tells of them. */
  readonly strangers: Set<string>
  /** The replicas that are not given the stream, and why, as the log says it. */
  readonly refusals: Map<string, Refusal["code"]>
  /** The looks at the replicas that are given the stream, by what they say of themselves. */
  readonly looks: Map<string, Looks>
  /** Opening costs the database: a few do so at a time. */
  readonly opening: Semaphore.Semaphore
  /** Between what is new and pages of entities. All streams of a server share it. */
  readonly gap: Gap
  /** Runs what a call does. It is interrupted, and waited for, when the stream is offered no longer. */
  readonly within: <A>(effect: Effect.Effect<A, unknown>) => Effect.Effect<A, unknown>
}
