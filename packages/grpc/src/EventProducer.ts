/**
 * Offers a source of events to other services.
 *
 * @since 0.1.0
 */
import type { Place } from "@sluice/core/Envelope"
import type { EventStream } from "@sluice/core/EventStream"
import * as Source from "@sluice/core/Source"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Caller } from "./Caller.ts"
import type { DuplicateStream } from "./GrpcError.ts"
import { GrpcServer } from "./GrpcServer.ts"
import { readerOf, visibleProblem } from "./internal/server/Fence.ts"
import type { ProducerReplica } from "./ReplicaInfo.ts"
import type { Changing, Visibility, Visible } from "./Visibility.ts"

/**
 * How a source is offered.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R = never> {
  /**
   * What each caller may see of the stream: everything, by default. It is applied before the filter of a consumer and before the stages of the source, and
   * to whatever a caller asks for. What it leaves out does not leave the process.
   *
   * A function of the caller is called once for each call. As an effect it has 10 seconds. If it fails with `CallRefused`, the call ends with its status, and if
   * it fails otherwise, with UNAVAILABLE.
   */
  readonly select?: Visibility<R> | undefined
  /**
   * Which events are never for a caller, as `Source.filter` says for all of them: a placeholder takes the place of each, so that its entity has no gap. It is called
   * once for each call, and asked about each event that passes `select` and the filter of the consumer, before that is decoded.
   */
  readonly drop?: ((caller: Caller) => (event: Place) => boolean) | undefined
  /** What those tags begin with that are topics, for the filters of consumers and for `select`; `t:` if undefined. */
  readonly topicPrefix?: string | undefined
  /**
   * Which replica this is, of replicated entities. A consumer that expects another one is refused, and one that says to be a replica that is not known here is
   * told of in the log, once.
   */
  readonly replica?: ProducerReplica | undefined
}

/** Throws a `RangeError` where it is none. */
const selectOf = <R>(
  streamId: string,
  select: Visibility<R>
): (caller: Caller) => Effect.Effect<Visible | Changing, unknown, R> => {
  if (typeof select === "function") {
    return (caller) =>
      Effect.suspend(() => {
        const visible = select(caller)
        return Effect.isEffect(visible) ? visible : Effect.succeed(visible)
      })
  }
  const problem = visibleProblem(readerOf(select)())
  if (problem !== undefined) throw new RangeError(`The 'select' of the stream '${streamId}' ${problem}`)
  return () => Effect.succeed(select)
}

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
 * **Example** (Each tenant sees its own)
 *
 * ```ts
 * import { EntityType, type Envelope, EventCodec, EventStream, Source } from "@sluice/core"
 * import { type Caller, EventProducer, GrpcError } from "@sluice/grpc"
 * import { Effect } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Notes = EventStream.make("notes", { codec: EventCodec.string })
 *
 * // with mutual TLS, whose certificates name the tenant
 * const ofTenant = ({ certificate }: Caller.Caller) => {
 *   const tenant = certificate?.subject["O"]
 *   // or it would see the events that have no tenant either
 *   return tenant === undefined
 *     ? Effect.fail(new GrpcError.CallRefused({ code: "UNAUTHENTICATED", reason: "present a certificate of a tenant" }))
 *     : Effect.succeed(({ metadata }: Envelope.Place) => metadata["tenant"] === tenant)
 * }
 * const NoteService = EventProducer.layer(Notes, Source.journal(Note), { select: ofTenant })
 *
 * const stranger = { headers: {}, address: "192.0.2.1:50000", certificate: undefined }
 * const { message } = await Effect.runPromise(Effect.flip(ofTenant(stranger)))
 * message // => "UNAUTHENTICATED: present a certificate of a tenant"
 * ```
 *
 * Throws a `RangeError` where `select` is no filter, or includes an entity from a sequence number on.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <A, E, R, RS = never>(
  stream: EventStream<A>,
  source: Source.Source<NoInfer<A>, E, R>,
  options?: Options<RS>
): Layer.Layer<never, DuplicateStream, R | RS | GrpcServer> => {
  const select = options?.select === undefined ? undefined : selectOf(stream.id, options.select)
  return Layer.effectDiscard(Effect.gen(function*() {
    const server = yield* GrpcServer
    // but for the scope: what a call opens, it closes
    const context = Context.omit(Scope.Scope)(yield* Effect.context<R | RS>()) as Context.Context<R | RS>
    const provider: Source.Provider<any, E, R> = source.provider
    const notice = Effect.provideContext(provider.notice ?? Effect.undefined, context)
    /** Where nothing was odd at the start, nothing becomes so. */
    let isOdd = false
    yield* notice.pipe(
      Effect.flatMap((notice) => {
        isOdd = notice !== undefined
        return notice === undefined
          ? Effect.void
          : Effect.logWithLevel(notice.level)(`Offers the stream '${stream.id}'. ${notice.message}`)
      }),
      // nothing depends on it
      Effect.catchCause(() => Effect.void),
      Effect.forkScoped
    )
    yield* server.offer({
      id: stream.id,
      entityType: provider.entityType,
      supersedes: provider.supersedes ?? false,
      topicPrefix: options?.topicPrefix,
      drop: options?.drop,
      replica: options?.replica,
      select: select && ((caller) => Effect.provideContext(select(caller), context)),
      open: (options) =>
        Effect.provideContext(
          Effect.map(Source.openEncoded(source, stream.codec, options), (feed) => ({
            ...feed,
            envelopes: Stream.provideContext(feed.envelopes, context)
          })),
          context
        ),
      entity: (persistenceId, from, to, options) =>
        Stream.provideContext(Source.entityEncoded(source, stream.codec, persistenceId, from, to, options), context),
      heads: (range) => Effect.provideContext(provider.heads(range), context),
      before: (range, time) => Effect.provideContext(provider.before(range, time), context),
      isMissing: Effect.suspend(() =>
        isOdd ? Effect.map(notice, (notice) => (isOdd = notice !== undefined)) : Effect.succeed(false)
      ),
      now: Effect.provideContext(provider.now, context)
    })
    const { port } = server
    yield* Effect.annotateLogs(
      Effect.logInfo(
        `Offers stream '${stream.id}' on port ${port}: ${Source.describe(source)}${
          select === undefined ? "" : ", to each caller what 'select' says"
        }`
      ),
      { stream: stream.id, source: provider.key, port }
    )
  }))
}
