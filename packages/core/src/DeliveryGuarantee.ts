/**
 * How often a handler may see an event.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"

/**
 * How often a handler may see an event, and when the offset is stored. Exactly once, it is stored in the transaction of
 * the handler's writes; at least once, after a number of envelopes or a time; at most once, before the handler is called.
 *
 * @category models
 * @since 0.1.0
 */
export type DeliveryGuarantee =
  | { readonly _tag: "ExactlyOnce" }
  | {
    readonly _tag: "AtLeastOnce"
    readonly saveAfter: number
    readonly saveWithin: Duration.Duration
    /** How many events, or groups, of different slices, a worker has handled at a time. */
    readonly parallelism: number
    /** Runs in the transaction that stores offsets, which are not stored where it fails. */
    readonly confirm?: Effect.Effect<void, any, any> | undefined
  }
  | { readonly _tag: "AtMostOnce" }

const texts: { readonly [Tag in DeliveryGuarantee["_tag"]]: string } = {
  ExactlyOnce: "exactly once",
  AtLeastOnce: "at least once",
  AtMostOnce: "at most once"
}

/**
 * The guarantee in words, as logs and consoles show it.
 *
 * @category getters
 * @since 0.1.0
 */
export const describe = ({ _tag }: DeliveryGuarantee): string => texts[_tag]
