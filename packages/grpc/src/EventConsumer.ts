/**
 * Streams of events that other services offer.
 *
 * @since 0.1.0
 */
import * as EventFilter from "@sluice/core/EventFilter"
import type { EventStream } from "@sluice/core/EventStream"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import type { Options } from "./ConsumerOptions.ts"
import type { ConsumerError, InsecureTransport } from "./GrpcError.ts"
import { parseAddress } from "./internal/address.ts"
import { makeProducerClient } from "./internal/client/producerClient.ts"
import { makeRemote } from "./internal/client/remote.ts"
import * as transport from "./internal/client/transport.ts"
import { pemProblem } from "./internal/pem.ts"
import { toMetadata } from "./internal/wire/headers.ts"
import type { ReplicaProgress } from "./ReplicaProgress.ts"

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
  readonly [TypeId]: {
    readonly stream: EventStream<any>
    readonly options: Options
  }
}

/**
 * The stream that a producer offers, from its beginning and without end. A connection that is lost is made again, with
 * exponential backoff and jitter, and goes on after the last event received. Consumers of this process share one connection
 * per producer. Throws a `RangeError` for an address that is none, for certificates and keys that are no PEM, and for headers that
 * cannot be sent.
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
  const problem = pemProblem(options.tls)
  if (problem !== undefined) throw new RangeError(problem)
  if (options.headers !== undefined && !Effect.isEffect(options.headers)) toMetadata(options.headers)
  return make(stream, options, EventFilter.passAll)
}

const make = <A>(
  stream: EventStream<A>,
  options: Options,
  filter: EventFilter.EventFilter
): RemoteSource<A, ConsumerError, never> =>
  Object.assign(
    Source.make<A, ConsumerError, never>({
      key: `stream:${options.name ?? stream.id}`,
      description: `${stream.id} at ${options.address}${filter === EventFilter.passAll ? "" : ", filtered"}`,
      entityType: undefined,
      codec: stream.codec,
      filter,
      onReplaced: options.onReplaced,
      // the stream may be one of states
      supersedes: true,
      ...makeRemote(stream.id, options, filter)
    }),
    { [TypeId]: { stream, options } } as const
  )

/**
 * Asks the producer for those events only that pass a filter, which is in place of an earlier one. It comes directly after {@link source}, as the producer
 * knows nothing of the stages that follow.
 *
 * **Details**
 *
 * The filter says which entities are replicated here. As soon as an event of an entity passes, the earlier ones that did not are fetched and handled
 * before it, in order: a handler sees each entity without gaps, from its first event on, or not at all. What does not pass still moves offsets, so the lag
 * of a filtered stream reaches zero. Throws a `RangeError` for a filter that includes an entity from a sequence number on.
 *
 * **Example** (Large carts alone)
 *
 * ```ts
 * import { EventFilter, EventStream, Projection } from "@sluice/core"
 * import { EventConsumer } from "@sluice/grpc"
 * import { Effect, Schema } from "effect"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
 * const CartEvents = EventStream.make("carts", { event: ItemAdded })
 *
 * const LargeCarts = EventConsumer.source(CartEvents, { address: "localhost:8101" }).pipe(
 *   EventConsumer.filter(EventFilter.excludeAll.pipe(EventFilter.includeTags("large"))),
 *   Projection.atLeastOnce("large-carts", ({ event }) => Effect.log(`${event.quantity} of ${event.sku}`))
 * )
 * Projection.describe(LargeCarts) // => "carts at localhost:8101, filtered | at least once 'large-carts' × 1"
 * ```
 *
 * @category filtering
 * @since 0.1.0
 */
export const filter = (filter: EventFilter.EventFilter) =>
<S extends Source.Source<any, any, any>>(
  self: S extends RemoteSource<any, any, any> ? S
    : "EventConsumer.filter comes directly after EventConsumer.source, before any stage"
): RemoteSource<Source.Event<S>, ConsumerError, never> => {
  const { options, stream } = (self as RemoteSource<Source.Event<S>, ConsumerError, never>)[TypeId]
  const replayed = filter.includeEntityIds.find(({ from }) => from > 0)
  if (replayed !== undefined) {
    throw new RangeError(
      `The filter of '${stream.id}' includes ${
        JSON.stringify(replayed.entityId)
      } from ${replayed.from}: include the id alone. All ` +
        "earlier events of an entity come before its next one, and a stage or the handler can drop them by their numbers"
    )
  }
  return make(stream, options, filter)
}

/**
 * Fails with `InsecureTransport` where what is read there would leave this machine in plaintext, and nobody has allowed that, as reading would. So a service says it when it starts.
 *
 * @category operations
 * @since 0.1.0
 */
export const checkTransport = (
  options: Pick<Options, "address" | "insecure" | "tls">
): Effect.Effect<void, InsecureTransport> => transport.checkTransport(options)

/**
 * Asks the replica at an address how far it has stored the events of another one, by the stream of its replicated entities. Undefined where it does not say, as a
 * replica on Akka, or of an earlier release.
 *
 * @category operations
 * @since 0.1.0
 */
export const replicaProgress = (
  streamId: string,
  options: Options,
  of: string
): Effect.Effect<ReplicaProgress | undefined, ConsumerError> =>
  makeProducerClient(streamId, options, EventFilter.passAll).stored(of)
