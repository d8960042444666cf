/**
 * Offers a source of events to other services.
 *
 * @since 0.1.0
 */
import type { EventStream } from "@sluice/core/EventStream"
import * as Source from "@sluice/core/Source"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { DuplicateStream } from "./GrpcError.ts"
import { GrpcServer } from "./GrpcServer.ts"

/**
 * Offers the source as the stream. A source that still carries internal events, which the stream's contract does not
 * know, does not compile.
 *
 * **Details**
 *
 * Several streams on one server are several such layers, merged. Each consumer reads the source on its own, at its
 * own pace; one that stands still stops the reads of its stream and nothing else. What was read and consumers have not takes up to
 * 32 MiB for the streams of a connection, and 128 MiB for those of a server. Beyond that streams wait, and those that have stood still for
 * 10 seconds are ended with `RESOURCE_EXHAUSTED` as far as others need their part.
 *
 * **Example** (Public events by transformation)
 *
 * ```ts
 * import { EntityType, EventStream, MemoryStorage, Source } from "@sluice/core"
 * import { EventProducer, GrpcServer } from "@sluice/grpc"
 * import { Layer, Option, Schema } from "effect"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
 * class CouponTried extends Schema.TaggedClass<CouponTried>()("CouponTried", { code: Schema.String }) {}
 * const Cart = EntityType.make("cart", { event: Schema.Union([ItemAdded, CouponTried]) })
 * const CartEvents = EventStream.make("carts", { event: ItemAdded })
 *
 * const CartService = EventProducer.layer(
 *   CartEvents,
 *   Source.journal(Cart).pipe(
 *     Source.filterMap(({ event }) => event._tag === "ItemAdded" ? Option.some(event) : Option.none())
 *   )
 * ).pipe(Layer.provide([GrpcServer.layer({ port: 0 }), MemoryStorage.layer]))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <A, E, R>(
  stream: EventStream<A>,
  source: Source.Source<NoInfer<A>, E, R>
): Layer.Layer<never, DuplicateStream, R | GrpcServer> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const server = yield* GrpcServer
    // but for the scope: what a call opens, it closes
    const context = Context.omit(Scope.Scope)(yield* Effect.context<R>()) as Context.Context<R>
    const provider: Source.Provider<any, E, R> = source.provider
    const notice = Effect.provideContext(provider.notice ?? Effect.undefined, context)
    /** Where nothing was odd at the start, nothing becomes so. */
    let isOdd = false
    yield* notice.pipe(
      Effect.flatMap((notice) => {
        isOdd = notice !== undefined
        return isOdd ? Effect.logWarning(`Offers the stream '${stream.id}'. ${notice}`) : Effect.void
      }),
      // nothing depends on it
      Effect.catchCause(() => Effect.void),
      Effect.forkScoped
    )
    yield* server.offer({
      id: stream.id,
      entityType: provider.entityType,
      supersedes: provider.supersedes ?? false,
      open: (options) =>
        Effect.provideContext(
          Effect.map(Source.openEncoded(source, stream.codec, options), (feed) => ({
            ...feed,
            envelopes: Stream.provideContext(feed.envelopes, context)
          })),
          context
        ),
      entity: (persistenceId, from, to) =>
        Stream.provideContext(Source.entityEncoded(source, stream.codec, persistenceId, from, to), context),
      heads: (range) => Effect.provideContext(provider.heads(range), context),
      before: (range, time) => Effect.provideContext(provider.before(range, time), context),
      isMissing: Effect.suspend(() =>
        isOdd ? Effect.map(notice, (notice) => (isOdd = notice !== undefined)) : Effect.succeed(false)
      ),
      now: Effect.provideContext(provider.now, context)
    })
    const { port } = server
    yield* Effect.annotateLogs(
      Effect.logInfo(`Offers stream '${stream.id}' on port ${port}: ${Source.describe(source)}`),
      { stream: stream.id, source: provider.key, port }
    )
  }))
