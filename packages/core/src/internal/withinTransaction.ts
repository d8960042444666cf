import * as Effect from "effect/Effect"
import { HandlerTooSlow } from "../Handler.ts"
import type { OffsetStore } from "../OffsetStore.ts"
import type { Projection } from "../Projection.ts"

/** A little less than what the database allows, which ends the connection and cannot say whose fault it was. */
const share = 0.9

/** @internal Ends an exactly-once handler before the database ends its transaction. */
export const withinTransaction = <A, E, R>(
  { delivery, name }: Projection<any, any>,
  { transactionTimeout }: OffsetStore["Service"],
  handler: Effect.Effect<A, E, R>
): Effect.Effect<A, E | HandlerTooSlow, R> => {
  if (delivery._tag !== "ExactlyOnce" || transactionTimeout === undefined || transactionTimeout === 0) return handler
  const limit = Math.floor(transactionTimeout * share)
  return Effect.timeoutOrElse(handler, {
    duration: limit,
    orElse: () => Effect.fail(new HandlerTooSlow({ projection: name, limit }))
  })
}
