/**
 * A kind of state: what snapshots and durable state hold of an entity.
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"
import * as EventCodec from "./EventCodec.ts"
import { checkEntityType } from "./internal/checkName.ts"

/**
 * A kind of state: its name, and how it is stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface StateType<in out S, out Name extends string = string> {
  /** The entity type, which persistence ids begin with. */
  readonly name: Name
  readonly codec: EventCodec.EventCodec<S>
}

/**
 * A kind of state, by its schema, which means JSON, or by a codec. Throws a `RangeError` as `EntityType.make` does.
 *
 * **Example** (What is in a cart)
 *
 * ```ts
 * import { StateType } from "@sluice/core"
 * import { Schema } from "effect"
 *
 * const CartState = StateType.make("cart", { state: Schema.Struct({ items: Schema.Record(Schema.String, Schema.Int) }) })
 * CartState.codec.encodeUnsafe({ items: { tea: 2 } }).manifest // => "json.sluice/cart"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S, const Name extends string>(
  name: Name,
  contract: { readonly state: Schema.Codec<S, any> } | { readonly codec: EventCodec.EventCodec<S> }
): StateType<S, Name> => {
  checkEntityType(name)
  return { name, codec: "codec" in contract ? contract.codec : EventCodec.json(contract.state, { name }) }
}
