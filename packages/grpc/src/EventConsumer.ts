/**
 * Streams of events that other services offer.
 *
 * @since 0.1.0
 */
import type { EventDecodeError } from "@sluice/core/EventCodec"
import type { EventStream } from "@sluice/core/EventStream"
import type { JournalForked, JournalReplaced, OffsetBelowFloor } from "@sluice/core/Journal"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import type { GrpcError, InsecureTransport, PeerNotSupported, ProtocolError } from "./GrpcError.ts"
import { makeRemote } from "./internal/client/remote.ts"
import { toMetadata } from "./internal/wire/headers.ts"
import type { ClientTls } from "./Tls.ts"

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
 * What goes wrong with a remote source and does not heal by connecting again.
 *
 * @category errors
 * @since 0.1.0
 */
export type ConsumerError =
  | GrpcError
  | ProtocolError
  | PeerNotSupported
  | InsecureTransport
  | JournalReplaced
  | JournalForked
  | OffsetBelowFloor
  | EventDecodeError

/**
 * Headers by name: letters, digits, `_`, `-` and `.`. Values are printable ASCII.
 *
 * @category models
 * @since 0.1.0
 */
export type Headers = Readonly<Record<string, string>>

/**
 * Where the producer is, and how to reach it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** `host:port` of the producer. */
  readonly address: string
  readonly tls?: ClientTls | undefined
  /** Allows plaintext beyond this machine, where the network itself is trusted. */
  readonly insecure?: boolean | undefined
  /** Headers of every call, such as for authentication; an effect is run for each call, so that a token can be renewed. */
  readonly headers?: Headers | Effect.Effect<Headers> | undefined
  /**
   * Tells apart the offsets of two producers that offer the same stream; the stream's id by default. It is not the address, which
   * may change.
   */
  readonly name?: string | undefined
  /**
   * What a projection does when the producer's journal is another one than its offsets were taken in, as the database was emptied or
   * replaced, or has lost events that it has read, or deleted events that it has yet to read. `"fail"`, the default, stops it for a
   * person. `"rewind"` begins again, in the slices concerned, with what is there: handlers see events again, or miss what was deleted.
   */
  readonly onReplaced?: "fail" | "rewind" | undefined
}

/**
 * The stream that a producer offers, from its beginning and without end. A connection that is lost is made again, with
 * exponential backoff and jitter, and goes on after the last event received. Consumers of this process share one connection
 * per producer. Throws a `RangeError` for headers that cannot be sent.
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
