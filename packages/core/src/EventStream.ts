/**
 * A stream of public events that one service offers to others: the contract that producer and consumer share.
 *
 * @since 0.1.0
 */
import { codecOf, type Contract } from "./Contract.ts"
import type { EventCodec } from "./EventCodec.ts"
import { checkName } from "./internal/checkName.ts"

/**
 * A stream of public events: its name, and how its events are sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventStream<in out A> {
  /** The name that the producer offers it by, and the consumer asks for. */
  readonly id: string
  readonly codec: EventCodec<A>
}

/**
 * An event stream. Throws a `RangeError` when the id is empty, is longer than 255 characters, or contains U+0000 or half a
 * surrogate pair.
 *
 * **Example** (The public events of carts)
 *
 * ```ts
 * import { EventStream } from "@sluice/core"
 * import { Schema } from "effect"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
 *
 * const CartEvents = EventStream.make("carts", { event: ItemAdded })
 * CartEvents.id // => "carts"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(id: string, contract: Contract<A>): EventStream<A> => {
  checkName("stream id", id)
  return { id, codec: codecOf(contract) }
}
