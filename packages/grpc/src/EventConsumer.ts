/**
 * Streams of events that other services offer.
 *
 * @since 0.1.0
 */
import type { EventStream } from "@sluice/core/EventStream"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import type { Options } from "./ConsumerOptions.ts"
import type { ConsumerError } from "./GrpcError.ts"
import { parseAddress } from "./internal/address.ts"
import { makeRemote } from "./internal/client/remote.ts"
import { toMetadata } from "./internal/wire/headers.ts"

export type { Headers } from "./Call.ts"
export type { Options } from "./ConsumerOptions.ts"
export type { ConsumerError } from "./GrpcError.ts"

const TypeId = "~sluice/RemoteSource"

/**
 * A source that another service offers.
 *
 * @category models
 * @since 0.1.0
 */
export interface RemoteSource<out A, out E, out R> extends Source.Source<A, E, R> {
  readonly [TypeId]: typeof TypeId
}

/**
 * The stream that a producer offers, from its beginning and without end. A connection that is lost is made again, with
 * exponential backoff and jitter, and goes on after the last event received. Consumers of this process share one connection
 * per producer. Throws a `RangeError` for an address that is none, and for headers that cannot be sent.
 *
 * **Example** (A projection of another service's events)
 *
 * ```ts
 * import { EventStream, Projection } from "@sluice/core"
 * import { EventConsumer } from "@sluice/grpc"
 * import { Effect, Schema } from "effect"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
 * const CartEvents = EventStream.make("carts", { event: ItemAdded })
 *
 * const Popularity = EventConsumer.source(CartEvents, { address: "localhost:8101" }).pipe(
 *   Projection.atLeastOnce("popularity", ({ event }) => Effect.log(`${event.quantity} of ${event.sku}`)),
 *   Projection.workers(4)
 * )
 * Projection.describe(Popularity) // => "carts at localhost:8101 | at least once 'popularity' × 4"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const source = <A>(stream: EventStream<A>, options: Options): RemoteSource<A, ConsumerError, never> => {
  parseAddress(options.address)
  if (options.headers !== undefined && !Effect.isEffect(options.headers)) toMetadata(options.headers)
  return Object.assign(
    Source.make<A, ConsumerError, never>({
      key: `stream:${options.name ?? stream.id}`,
      description: `${stream.id} at ${options.address}`,
      entityType: undefined,
      codec: stream.codec,
      onReplaced: options.onReplaced,
      // the stream may be one of states
      supersedes: true,
      ...makeRemote(stream.id, options)
    }),
    { [TypeId]: TypeId } as const
  )
}
