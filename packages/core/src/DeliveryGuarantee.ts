/**
 * How often a handler may see an event.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"

/**
 * How often a handler may see an event, and when the offset is stored. Exactly once, it is stored in the transaction of
 * the handler's writes; at least once, after a number of envelopes or a time.
 *
 * @category models
 * @since 0.1.0
 */
export type DeliveryGuarantee =
  | { readonly _tag: "ExactlyOnce" }
  | { readonly _tag: "AtLeastOnce"; readonly saveAfter: number; readonly saveWithin: Duration.Duration }
