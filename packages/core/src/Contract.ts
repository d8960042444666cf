/**
 * What readers and writers agree on: the events of an entity type or a stream.
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"
import * as EventCodec from "./EventCodec.ts"

/**
 * The events of an entity type or a stream, by their schema, which means JSON, or by a codec.
 *
 * @category models
 * @since 0.1.0
 */
export type Contract<A> =
  | { readonly event: Schema.Codec<A, any> }
  | { readonly codec: EventCodec.EventCodec<A> }

/**
 * The codec of the contract, or one for JSON by its schema.
 *
 * @category getters
 * @since 0.1.0
 */
export const codecOf = <A>(contract: Contract<A>): EventCodec.EventCodec<A> =>
  "codec" in contract ? contract.codec : EventCodec.json(contract.event)
