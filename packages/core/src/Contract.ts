/**
 * What the events of an entity type or a stream are, as their readers and writers agree on it.
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"
import * as EventCodec from "./EventCodec.ts"

/**
 * The events of an entity type or a stream: their schema, which is to say as JSON, or a codec.
 *
 * @category models
 * @since 0.1.0
 */
export type Contract<A> =
  | { readonly event: Schema.Codec<A, any> }
  | { readonly codec: EventCodec.EventCodec<A> }

/**
 * How events of the contract are encoded: with its codec, or as JSON where it has a schema.
 *
 * @category getters
 * @since 0.1.0
 */
export const codecOf = <A>(contract: Contract<A>): EventCodec.EventCodec<A> =>
  "codec" in contract ? contract.codec : EventCodec.json(contract.event)
