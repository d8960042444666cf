/**
 * Where a pipeline begins: a journal or a remote stream, and the stages that its events pass.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Pipeable } from "effect/Pipeable"
import { pipeArguments } from "effect/Pipeable"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Covariant } from "effect/Types"
import { DurableStateStore, sourceKey as stateKey, toEnvelope } from "./DurableStateStore.ts"
import type { EntityType } from "./EntityType.ts"
import type { Element, EncodedElement, EncodedEnvelope, Envelope, Poison } from "./Envelope.ts"
import { isSkipped, notSent } from "./Envelope.ts"
import * as Envelopes from "./Envelope.ts"
import type { EventCodec, EventDecodeError } from "./EventCodec.ts"
import type { EventFilter } from "./EventFilter.ts"
import * as ExpectedError from "./ExpectedError.ts"
import type { Feed, Start } from "./Feed.ts"
import { messageOf } from "./internal/messageOf.ts"
import { compile, decodeWith, events, failAtPoison, reencode } from "./internal/pipeline/compile.ts"
import { LeftOut } from "./internal/pipeline/LeftOut.ts"
import { mapChunks } from "./internal/pipeline/mapChunks.ts"
import { placesOfEntity, selectOfEntity } from "./internal/pipeline/selectOfEntity.ts"
import { follow } from "./internal/reading/follow.ts"
import { followChanges } from "./internal/reading/followChanges.ts"
import { beginAtSnapshots, entityFromSnapshot, isNoSnapshot, withSnapshots } from "./internal/reading/fromSnapshots.ts"
import { noticeOthers } from "./internal/reading/noticeOthers.ts"
import { deletionAsEvent, optional, withSuperseded } from "./internal/reading/stateEvents.ts"
import * as Journal from "./Journal.ts"
import type { Offsets } from "./Offset.ts"
import * as Offset from "./Offset.ts"
import type { Payload } from "./Payload.ts"
import { PersistenceId } from "./PersistenceId.ts"
import { ReadBudget } from "./ReadBudget.ts"
import type { Selection, SelectionChanged } from "./Selection.ts"
import { SequenceNumber } from "./SequenceNumber.ts"
import { Slice } from "./Slice.ts"
import * as SliceRange from "./SliceRange.ts"
import type { Snapshot, SnapshotStore } from "./SnapshotStore.ts"
import type { Stage } from "./Stage.ts"
import type { StateType } from "./StateType.ts"
import type { StorageError } from "./StorageError.ts"
import type { Timestamp } from "./Timestamp.ts"
import type { Outside } from "./Transaction.ts"

export { type Feed, Health, type Replay, type Start, timestamps } from "./Feed.ts"
export type { Stage } from "./Stage.ts"

const TypeId = "~sluice/Source"

/**
 * What a projection reads: one source, or several that {@link mergeAll} has merged.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sources<out A, out E = never, out R = never> extends Pipeable {
  readonly [TypeId]: {
    readonly _A: Covariant<A>
    readonly _E: Covariant<E>
    readonly _R: Covariant<R>
  }
  /** Of a single source, itself. */
  readonly sources: Arr.NonEmptyReadonlyArray<Source<any, any, any>>
}

/**
 * The events of sources.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Event<S> = S extends Sources<infer A, infer _E, infer _R> ? A : never

/**
 * What sources fail with.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Error<S> = S extends Sources<infer _A, infer E, infer _R> ? E : never

/**
 * What sources need.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Services<S> = S extends Sources<infer _A, infer _E, infer R> ? R : never

/**
 * A description of where events come from and what is done to them. Nothing runs until a projection, a producer or
 * {@link toStream} opens it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source<out A, out E = never, out R = never> extends Sources<A, E, R> {
  readonly provider: Provider<any, any, any>
  readonly stages: ReadonlyArray<Stage>
}

/**
 * What is odd about a source, in words, and how loudly the log says it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Notice {
  readonly message: string
  readonly level: "Info" | "Warn"
}

/**
 * What a new kind of source has to provide.
 *
 * @category models
 * @since 0.1.0
 */
export interface Provider<in out A, out E, out R> {
  /** The key under which offsets are stored. It must stay the same for the same journal. */
  readonly key: string
  /** Describes the source in logs and in drawings of a pipeline. */
  readonly description: string
  /** The entity type that all persistence ids begin with, where it is known. */
  readonly entityType: string | undefined
  readonly codec: EventCodec<A>
  /** The codec that some of the payloads are of, if `codec` decodes others as well. They pass through undecoded to whoever reads with it. */
  readonly plain?: PlainPayloads | undefined
  /**
   * What a projection does when its offsets are of another journal, or the events after them were lost or deleted. By
   * default (`"fail"`) it stops with a final error. With `"rewind"` it begins again, in the slices concerned, with the
   * events that are there.
   */
  readonly onReplaced?: "fail" | "rewind" | undefined
  /** The filter that it begins with, if it takes one when it is opened. It can then be changed by `ConsumerFilter`. */
  readonly filter?: EventFilter | undefined
  /**
   * What those tags begin with that are topics, as the one who sends the events has said last, when it was opened or asked for an entity;
   * `EventFilter.defaultTopicPrefix` if undefined.
   */
  readonly topicPrefix?: (() => string | undefined) | undefined
  /** Keeps what its openings share, such as a connection, for as long as the scope: from one opening to the next. */
  readonly hold?: Effect.Effect<void, never, R | Scope.Scope> | undefined
  /** Opens the range, to go on after the offsets. */
  readonly open: (range: SliceRange.SliceRange, start: Start) => Effect.Effect<Feed<E>, E, R | Scope.Scope>
  /** One entity's events, numbered from `from` to `to`, both included. */
  readonly entity: (
    persistenceId: PersistenceId,
    from: SequenceNumber,
    to: SequenceNumber
  ) => Stream.Stream<EncodedEnvelope, E, R>
  /** When an event of an entity was written; undefined if there is none. By default the event itself is asked for. */
  readonly written?:
    | ((
      persistenceId: PersistenceId,
      sequenceNumber: SequenceNumber
    ) => Effect.Effect<Timestamp | undefined, E, R>)
    | undefined
  /**
   * The newest position and timestamp of each log in the range that has events. Of a source without positions it is position 0, and the newest
   * timestamp of the whole range, in each slice. Fails with {@link HeadsNotServed} if the source does not say that.
   */
  readonly heads: (range: SliceRange.SliceRange) => Effect.Effect<Offsets, E, R>
  /**
   * The position and timestamp, in each log of the range, of the last event that is older than a time. A log without
   * such an event is left out. If events that are not older were deleted, it is position 0 with the time, where no
   * source can be opened.
   */
  readonly before: (range: SliceRange.SliceRange, time: Timestamp) => Effect.Effect<Offsets, E, R>
  /** The time, by the clock that gives events their timestamps. */
  readonly now: Effect.Effect<Timestamp, E, R>
  /** What is odd about the source, if anything is; whoever begins with it is told. It may be on purpose. */
  readonly notice?: Effect.Effect<Notice | undefined, E, R> | undefined
  /**
   * Whether a later event supersedes earlier ones of its entity, as states do. A superseded event must not be handled
   * any more.
   */
  readonly supersedes?: boolean | undefined
}

/**
 * Which payloads of a source are of a codec that others may read them with.
 *
 * @category models
 * @since 0.1.0
 */
export interface PlainPayloads {
  readonly codec: EventCodec<any>
  /** Whether a payload is of that codec. */
  readonly isPlain: (payload: Payload) => boolean
}

/**
 * A source was asked for an event, and did not answer in time. It is tried again.
 *
 * @category errors
 * @since 0.1.0
 */
export class SourceTimeout
  extends ExpectedError.TaggedError<SourceTimeout>("@sluice/core/SourceTimeout")("SourceTimeout", {
    source: Schema.String,
    /** In milliseconds. */
    waited: Schema.Finite
  })
{
  /** It is no fault of an event. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `The source '${this.source}' has not answered for ${this.waited} ms`
  }
}

/**
 * A source has shown an event, or left out a part of a log, that does not come next: events before it are missing. The
 * worker opens the source again. If that does not help, the source is at fault.
 *
 * @category errors
 * @since 0.1.0
 */
export class SourceOutOfPlace extends ExpectedError.TaggedError<SourceOutOfPlace>("@sluice/core/SourceOutOfPlace")(
  "SourceOutOfPlace",
  { source: Schema.String, slice: Slice, position: Schema.Int, expected: Schema.Int }
) {
  /** It is no fault of an event. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `The source '${this.source}' has shown position ${this.position} of slice ${this.slice} where ${this.expected} comes next`
  }
}

/**
 * A source does not serve several events of one entity together, as old versions of Akka do not. They are asked for otherwise.
 *
 * @category errors
 * @since 0.1.0
 */
export class EntityNotServed extends ExpectedError.TaggedError<EntityNotServed>("@sluice/core/EntityNotServed")(
  "EntityNotServed",
  { source: Schema.String }
) {
  /** It is no fault of an event. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `The source '${this.source}' does not serve the events of one entity`
  }
}

/**
 * A source does not say what its newest event is, as old versions of Akka do not. So nobody knows how far behind its readers are.
 *
 * @category errors
 * @since 0.1.0
 */
export class HeadsNotServed extends ExpectedError.TaggedError<HeadsNotServed>("@sluice/core/HeadsNotServed")(
  "HeadsNotServed",
  { source: Schema.String }
) {
  /** It is no fault of an event. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `The source '${this.source}' does not say when its newest event was written, as Akka before 1.6.12 does not: whether its readers have ` +
      "caught up is not known. Upgrade the producer, or compare the timestamps of the offsets with the time of day"
  }
}

/**
 * A source has shown an event of an entity, has earlier ones that were not handled, and does not show them. The worker goes past none of them: it
 * begins again, and asks again. If that does not help, the source is at fault.
 *
 * @category errors
 * @since 0.1.0
 */
export class GapNotFilled extends ExpectedError.TaggedError<GapNotFilled>("@sluice/core/GapNotFilled")("GapNotFilled", {
  source: Schema.String,
  persistenceId: Schema.String,
  /** The first and the last sequence number that is missing. */
  from: Schema.Int,
  to: Schema.Int,
  cause: Schema.Defect()
}) {
  /** It is no fault of an event. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    const { cause, from, persistenceId, source, to } = this
    const why = messageOf(cause)
    return `The source '${source}' does not show events ${from} to ${to} of '${persistenceId}', which are to be handled before others: ${why}`
  }
}

/**
 * A source has shown an event, and does not show it any more when it is asked for those before it: what may be seen of the entity has changed, or
 * its events were deleted. The worker handles none of them. It opens the source again, which says what has become of them.
 *
 * @category errors
 * @since 0.1.0
 */
export class EventWithheld extends ExpectedError.TaggedError<EventWithheld>("@sluice/core/EventWithheld")(
  "EventWithheld",
  { source: Schema.String, persistenceId: PersistenceId, number: SequenceNumber }
) {
  /** It is no fault of an event. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `The source '${this.source}' does not show event ${this.number} of '${this.persistenceId}' any more, which it has shown before: ` +
      "it is opened again"
  }
}

const variance = { _A: (a: never) => a, _E: (e: never) => e, _R: (r: never) => r }

const Proto = {
  [TypeId]: variance,
  get sources() {
    return [this]
  },
  pipe() {
    return pipeArguments(this, arguments)
  }
}

const MergedProto = {
  [TypeId]: variance,
  pipe() {
    return pipeArguments(this, arguments)
  }
}

/**
 * A source of a new kind.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, E, R>(provider: Provider<A, E, R>): Source<A, E, R> => build(provider, [])

const build = (provider: Provider<any, any, any>, stages: ReadonlyArray<Stage>): Source<any, any, any> =>
  Object.assign(Object.create(Proto), { provider, stages })

const add = (self: Source<any, any, any>, stage: Stage): Source<any, any, any> =>
  build(self.provider, [...self.stages, stage])

/**
 * The journal of an entity type, from its beginning and without end.
 *
 * @category constructors
 * @since 0.1.0
 */
export const journal = <A>(
  entityType: EntityType<A>
): Source<
  A,
  StorageError | Journal.JournalForked | Journal.JournalReplaced | Journal.OffsetBelowFloor | EventDecodeError,
  Journal.Journal
> =>
  make({
    key: Journal.sourceKey(entityType.name),
    description: `journal of ${entityType.name}`,
    entityType: entityType.name,
    codec: entityType.codec,
    open: (range, start) => follow(entityType.name, range, start),
    entity: (persistenceId, from, to) => Journal.readEncoded(persistenceId, { from, to }),
    heads: (range) => Journal.Journal.use((_) => _.heads(entityType.name, range)),
    before: (range, time) => Journal.Journal.use((_) => _.before(entityType.name, range, time)),
    now: Journal.Journal.use((_) => _.now),
    notice: Journal.Journal.use((_) => noticeOthers(_, "events", entityType.name))
  })

/**
 * The journal of an entity type, where an entity that has snapshots begins at the newest one. In the place of the event
 * with the snapshot's number stands the event that the function makes of the snapshot, and the entity's earlier events
 * are placeholders. So they may have been deleted.
 *
 * **Details**
 *
 * Snapshots are looked up for what was in the journal when reading began, and where events were deleted. What is
 * appended later is read as it is. The event has the tags that the event in its place has, and the metadata of the
 * snapshot. A snapshot that cannot be decoded, or that the function throws at, is a poison event. Offsets are those of
 * {@link journal}.
 *
 * **Gotchas**
 *
 * A reader may be past the events that a snapshot includes, and before the snapshot. If that is deleted then, rewind the reader, or save
 * another one: the events do not come by themselves. While the reader is open, the event in the snapshot's place is a poison event then.
 *
 * **Example** (A cart whose first events were deleted)
 *
 * ```ts
 * import { EntityType, Journal, MemoryStorage, SnapshotStore, Source, StateType } from "@sluice/core"
 * import { Effect, Schema, Stream } from "effect"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String }) {}
 * class CartRestored extends Schema.TaggedClass<CartRestored>()("CartRestored", { skus: Schema.Array(Schema.String) }) {}
 * const Cart = EntityType.make("cart", { event: ItemAdded })
 * const CartState = StateType.make("cart", { state: Schema.Struct({ skus: Schema.Array(Schema.String) }) })
 *
 * const Carts = Source.fromSnapshots(Cart, CartState, ({ state }) => new CartRestored(state))
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Cart, { id: "c-1", events: [new ItemAdded({ sku: "tea" }), new ItemAdded({ sku: "rum" })] })
 *   yield* SnapshotStore.save(CartState, { id: "c-1", sequenceNumber: 2, state: { skus: ["tea", "rum"] } })
 *   yield* Journal.deleteEvents(Cart, "c-1", { to: 2 })
 *   yield* Journal.append(Cart, { id: "c-1", events: [new ItemAdded({ sku: "milk" })] })
 *   return yield* Source.toStream(Carts).pipe(
 *     Stream.map(({ event }) => event._tag === "CartRestored" ? event.skus.join() : event.sku),
 *     Stream.take(2),
 *     Stream.runCollect
 *   )
 * })
 * await Effect.runPromise(Effect.provide(program, MemoryStorage.layer)) // => ["tea,rum", "milk"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromSnapshots = <A, S, B>(
  entityType: EntityType<A>,
  stateType: StateType<S>,
  toEvent: (snapshot: Snapshot<S>) => undefined extends B ? never : B
): Source<
  A | B,
  StorageError | Journal.JournalForked | Journal.JournalReplaced | Journal.OffsetBelowFloor | EventDecodeError,
  Journal.Journal | SnapshotStore
> =>
  make({
    ...journal(entityType).provider,
    description: `journal of ${entityType.name} from snapshots`,
    codec: withSnapshots<A, S, B>(entityType, stateType, toEvent),
    plain: { codec: entityType.codec, isPlain: isNoSnapshot },
    open: (range, start) =>
      Effect.flatMap(
        beginAtSnapshots(entityType.name, stateType, range),
        (amend) => follow(entityType.name, range, start, amend)
      ),
    entity: (persistenceId, from, to) => entityFromSnapshot(stateType, persistenceId, from, to)
  })

/**
 * The changes of the durable states of a type: each entity's latest state, or none once it is deleted. Of several
 * changes in a row it may show only the last one. An envelope's sequence number is the revision.
 *
 * **Example** (Profiles as they change)
 *
 * ```ts
 * import { DurableStateStore, MemoryStorage, Source, StateType } from "@sluice/core"
 * import { Effect, Option, Schema, Stream } from "effect"
 *
 * const Profile = StateType.make("profile", { state: Schema.Struct({ name: Schema.String }) })
 *
 * const program = Effect.gen(function*() {
 *   const first = yield* DurableStateStore.upsert(Profile, { id: "ada", expected: 0, state: { name: "Ada" } })
 *   yield* DurableStateStore.upsert(Profile, { id: "grace", expected: 0, state: { name: "Grace" } })
 *   yield* DurableStateStore.delete(Profile, { id: "ada", expected: first })
 *   return yield* Source.toStream(Source.durableState(Profile)).pipe(
 *     Stream.map(({ event, persistenceId }) => [persistenceId, Option.isSome(event) ? event.value.name : "deleted"]),
 *     Stream.take(2),
 *     Stream.runCollect
 *   )
 * })
 * await Effect.runPromise(Effect.provide(program, MemoryStorage.layer))
 * // => [["profile|grace", "Grace"], ["profile|ada", "deleted"]]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const durableState = <S>(
  stateType: StateType<S>
): Source<
  Option.Option<S>,
  StorageError | Journal.JournalForked | Journal.JournalReplaced | EventDecodeError,
  DurableStateStore
> =>
  make({
    key: stateKey(stateType.name),
    description: `states of ${stateType.name}`,
    entityType: stateType.name,
    codec: optional(stateType.codec),
    open: (range, start) =>
      Effect.map(followChanges(stateType.name, range, start), ({ envelopes, journal }) => ({
        journal,
        envelopes: envelopes.pipe(
          Stream.mapArray(withSuperseded(start.offsets)),
          Stream.mapArray(Arr.map(deletionAsEvent))
        )
      })),
    entity: (persistenceId, from, to) =>
      Effect.gen(function*() {
        const store = yield* DurableStateStore
        const budget = yield* ReadBudget
        return Stream.fromIterable(
          yield* budget.read(() =>
            Effect.map(store.get(persistenceId), (found) =>
              Option.toArray(found).filter(({ revision }) => revision >= from && revision <= to).map((state) =>
                deletionAsEvent(toEnvelope(state))
              )), 1)
        )
      }).pipe(
        Stream.unwrap
      ),
    heads: (range) =>
      DurableStateStore.use((_) => _.heads(stateType.name, range)),
    before: (range, time) => DurableStateStore.use((_) => _.before(stateType.name, range, time)),
    supersedes: true,
    now: DurableStateStore.use((_) => _.now),
    notice: DurableStateStore.use((_) => noticeOthers(_, "states", stateType.name))
  })

/**
 * Replaces each event. The function must be total: one that can return `undefined` does not compile, so that a
 * forgotten case is an error and not a dropped event.
 *
 * **Example** (Making events public)
 *
 * ```ts
 * import { EntityType, EventCodec, Source } from "@sluice/core"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const lengths = Source.journal(Note).pipe(Source.map(({ event }) => event.length))
 * Source.describe(lengths) // => "journal of note | map"
 * ```
 *
 * @category stages
 * @since 0.1.0
 */
export const map = <A, B>(
  f: (
    envelope: Envelope<A>
  ) => undefined extends B ? "Source.map must not return undefined: to drop an event, use Source.filterMap" : B
) =>
<E, R>(self: Source<A, E, R>): Source<B, E, R> =>
  add(self, { _tag: "Sync", name: "map", run: (envelope) => Envelopes.make(envelope, f(envelope), envelope.bytes) })

/**
 * Replaces each event, or drops it for good: `Option.none()` leaves a placeholder, which keeps sequence numbers dense.
 *
 * **Example** (Several public events)
 *
 * ```ts
 * import { EntityType, EventStream, Source } from "@sluice/core"
 * import { Option, Schema } from "effect"
 *
 * class Placed extends Schema.TaggedClass<Placed>()("Placed", { total: Schema.Int }) {}
 * class Shipped extends Schema.TaggedClass<Shipped>()("Shipped", { truck: Schema.String }) {}
 * class Checked extends Schema.TaggedClass<Checked>()("Checked", {}) {}
 * const Order = EntityType.make("order", { event: Schema.Union([Placed, Shipped, Checked]) })
 *
 * class OrderPlaced extends Schema.TaggedClass<OrderPlaced>()("OrderPlaced", { total: Schema.Int }) {}
 * class OrderShipped extends Schema.TaggedClass<OrderShipped>()("OrderShipped", {}) {}
 * const Orders = EventStream.make("orders", { event: Schema.Union([OrderPlaced, OrderShipped]) })
 *
 * const published = Source.journal(Order).pipe(
 *   Source.filterMap(({ event }) => {
 *     switch (event._tag) {
 *       case "Placed":
 *         return Option.some(new OrderPlaced({ total: event.total }))
 *       case "Shipped":
 *         return Option.some(new OrderShipped({}))
 *       case "Checked":
 *         return Option.none()
 *     }
 *   })
 * )
 * Source.describe(published) // => "journal of order | filterMap"
 * ```
 *
 * @category stages
 * @since 0.1.0
 */
export const filterMap =
  <A, O extends Option.Option<unknown>>(f: (envelope: Envelope<A>) => O) =>
  <E, R>(self: Source<A, E, R>): Source<Option.Option.Value<O>, E, R> =>
    add(self, {
      _tag: "Sync",
      name: "filterMap",
      run: (envelope) => {
        const event = f(envelope)
        return event._tag === "Some" ? Envelopes.make(envelope, event.value, envelope.bytes) : undefined
      }
    })

/**
 * Drops events for good. Placeholders keep sequence numbers dense.
 *
 * @category stages
 * @since 0.1.0
 */
export const filter: {
  /** Keeps the events of the guard's type. */
  <A, B extends A>(
    guard: (envelope: Envelope<A>) => envelope is Envelope<B>
  ): <E, R>(self: Source<A, E, R>) => Source<B, E, R>
  /** Keeps the events that the predicate is true for. */
  <A>(predicate: (envelope: Envelope<A>) => boolean): <E, R>(self: Source<A, E, R>) => Source<A, E, R>
} = <A>(predicate: (envelope: Envelope<A>) => boolean) => <E, R>(self: Source<A, E, R>): Source<any, E, R> =>
  add(self, {
    _tag: "Sync",
    name: "filter",
    run: (envelope) => predicate(envelope) ? envelope : undefined
  })

/**
 * Replaces each event by the result of an effect, one after the other. When it fails, the events before are still
 * processed; a projection then tries again, and at last treats the event as poison. An effect that writes through `Transaction`
 * does not compile: stages run before a handler's transaction.
 *
 * @category stages
 * @since 0.1.0
 */
export const mapEffect =
  <A, F extends Effect.Effect<unknown, any, any>>(f: (envelope: Envelope<A>) => Outside<F, StageAdvice>) =>
  <E, R>(self: Source<A, E, R>): Source<Effect.Success<F>, E | Effect.Error<F>, R | Effect.Services<F>> =>
    add(self, {
      _tag: "Effect",
      name: "mapEffect",
      run: (envelope) => Effect.map(f(envelope) as F, (event) => Envelopes.make(envelope, event, envelope.bytes))
    })

type StageAdvice = "A stage of a source has no Transaction: write in the handler of Projection.exactlyOnce"

/**
 * Runs an effect on each event, one after the other, and passes the event on. As with {@link mapEffect}, it cannot write through `Transaction`.
 *
 * @category stages
 * @since 0.1.0
 */
export const tap =
  <A, F extends Effect.Effect<unknown, any, any>>(f: (envelope: Envelope<A>) => Outside<F, StageAdvice>) =>
  <E, R>(self: Source<A, E, R>): Source<A, E | Effect.Error<F>, R | Effect.Services<F>> =>
    add(self, { _tag: "Effect", name: "tap", run: (envelope) => Effect.as(f(envelope) as F, envelope) })

/**
 * Several sources as one, for a projection whose handler is given the events of all of them: of several producers, of journals of this service, of
 * durable states. Throws a `RangeError` if there are none, or if two have the same key.
 *
 * **Details**
 *
 * Each source keeps what is its own: its stages, filter and codec, its offsets, and its workers. So one that is away, slow, or stopped at an event
 * holds up no other, and each fails, waits and is opened again by itself. The events of an entity come in order; those of different sources come
 * as they are there. The offsets are stored under the name of the projection and the key of the source. So a source that is added to a
 * projection begins at its beginning, and the others go on. The offsets of one that is removed stay, in case it comes back, until
 * `ProjectionManagement.clear` is told their key.
 *
 * Stages come before merging, as they are of one source. {@link map} can tell the handler which source an event is of. Two streams of one name, of
 * different producers, need different keys: the option `name` of `EventConsumer.source`.
 *
 * **Example** (Two journals, one handler)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage, Projection, ProjectionStatus, Source } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 *
 * const Cart = EntityType.make("cart", { codec: EventCodec.string })
 * const Order = EntityType.make("order", { codec: EventCodec.string })
 * const seen: Array<string> = []
 * const Audit = Source.mergeAll([
 *   Source.journal(Cart).pipe(Source.map(({ event }) => `cart: ${event}`)),
 *   Source.journal(Order).pipe(Source.map(({ event }) => `order: ${event}`))
 * ]).pipe(
 *   Projection.exactlyOnce("audit", ({ event }) => Effect.sync(() => void seen.push(event)))
 * )
 * Projection.describe(Audit) // => "(journal of cart | map) + (journal of order | map) | exactly once 'audit' × 1"
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Cart, { id: "c-1", events: ["tea"] })
 *   yield* Journal.append(Order, { id: "o-1", events: ["paid"] })
 *   yield* Layer.build(Projection.layer(Audit))
 *   yield* ProjectionStatus.caughtUp("audit")
 *   return seen.toSorted()
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer))) // => ["cart: tea", "order: paid"]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const mergeAll = <const All extends ReadonlyArray<Sources<any, any, any>>>(
  all: All
): Sources<Event<All[number]>, Error<All[number]>, Services<All[number]>> => {
  const sources = all.flatMap(({ sources }) => sources)
  if (sources.length === 0) throw new RangeError("There is no source to merge: give at least one")
  const keys = new Set<string>()
  for (const { provider: { key } } of sources) {
    if (keys.has(key)) {
      throw new RangeError(
        `Two of the sources to merge have the key '${key}', under which their offsets are stored: give one of them another, ` +
          "as with the option name of EventConsumer.source"
      )
    }
    keys.add(key)
  }
  return Object.assign(Object.create(MergedProto), { sources })
}

/**
 * The source and its stages in one line, as logs and consoles show it; where several are merged, all of them.
 *
 * @category getters
 * @since 0.1.0
 */
export const describe = ({ sources }: Pick<Sources<any, any, any>, "sources">): string =>
  sources.map(({ provider, stages }, _, { length }) => {
    const one = [provider.description, ...stages.map(({ name }) => name)].join(" | ")
    return length === 1 ? one : `(${one})`
  }).join(" + ")

/**
 * What to open of a source: by default all slices, from the beginning.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenOptions {
  readonly range?: SliceRange.SliceRange | undefined
  readonly start?: Start | undefined
}

/**
 * What to open of a source for somebody who reads its events with a codec of theirs.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenEncodedOptions extends OpenOptions {
  /**
   * It is applied before the stages of the source. Runs of events that are not selected become parts that are left out for now; those that are
   * replayed leave no trace.
   */
  readonly selection?: Selection | undefined
}

/**
 * A plain stream of the source's envelopes, without end. It fails at an event that cannot be decoded. Of several sources it is the merge of their
 * streams, from their beginnings: it fails with the first that fails. A `start` is a place in one source, and refused for several.
 *
 * @category running
 * @since 0.1.0
 */
export const toStream = <A, E, R>(
  { sources }: Sources<A, E, R>,
  options?: OpenOptions
): Stream.Stream<Envelope<A>, E, R> => {
  if (sources.length > 1 && options?.start !== undefined) {
    throw new RangeError("A start is a place in one source: open each of the merged sources by itself")
  }
  const streams = sources.map((source) =>
    Stream.unwrap(Effect.map(open(source, options), ({ elements }) => events(elements)))
  )
  return streams.length === 1 ? streams[0]! : Stream.mergeAll(streams, { concurrency: "unbounded" })
}

/**
 * A source that is open, its events decoded and past its stages.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenSource<out A, out E, out R> {
  readonly journal: string
  /** Whether an event may take the place of an earlier one of its entity. */
  readonly supersedes: boolean
  readonly elements: Stream.Stream<Element<A>, E, R>
  /** As `Feed.replay`. */
  readonly replay: Feed<E>["replay"]
}

/**
 * Opens a source for as long as the scope. Unlike {@link toStream} it shows the placeholders, and the poison events
 * that it does not fail at.
 *
 * @category running
 * @since 0.1.0
 */
export const open = <A, E, R>(
  self: Source<A, E, R>,
  options?: OpenOptions
): Effect.Effect<OpenSource<A, E, R>, E, R | Scope.Scope> =>
  Effect.map(
    openProvider(self, options),
    ({ envelopes, journal, replay, supersedes = self.provider.supersedes ?? false }) => ({
      journal,
      supersedes,
      replay,
      elements: mapChunks(compile<A, R>(self.provider.codec, self.stages))(envelopes)
    })
  )

const openProvider = <A, E, R>(
  self: Source<A, E, R>,
  options: OpenOptions | undefined
): Effect.Effect<Feed<E>, E, R | Scope.Scope> =>
  self.provider.open(options?.range ?? SliceRange.full, options?.start ?? fromBeginning)

const fromBeginning: Start = { journal: undefined, offsets: Offset.none }

/**
 * Opens a source for somebody who reads its events with `codec`. Where the source has no stages and the same codec value, the
 * payloads pass through undecoded.
 *
 * @category running
 * @since 0.1.0
 */
export const openEncoded = <A, E, R>(
  self: Source<A, E, R>,
  codec: EventCodec<A>,
  options?: OpenEncodedOptions
): Effect.Effect<Feed<E, R>, E, R | Scope.Scope> =>
  Effect.suspend(() => {
    const { start } = options ?? {}
    const placesOnly = start?.placesOnly === true
    // an event that a stage drops is not to be told from others by its tags, and the stages need what there is of each
    const hasStages = self.stages.length > 0
    const wanted = placesOnly && hasStages ? { ...options, start: { ...start, placesOnly: false } } : options
    return Effect.map(openProvider(self, wanted), ({ beforeWaiting, isReplayed, ...feed }) => {
      const shown = selected({ ...feed, beforeWaiting, isReplayed }, options?.selection)
      const read = placesOnly && !hasStages ? shown : encoded(self, codec, shown)
      return { ...feed, envelopes: placesOnly ? Stream.map(read, placeOf) : read }
    })
  })

/** An event without its payload. What it says beside that may decide who sees it. */
const placeOf = (element: EncodedElement): EncodedElement =>
  isSkipped(element) || element.payload === undefined ? element : Envelopes.encoded(element, notSent)

/**
 * For how long what is left out is held back, in milliseconds, while more is read: in that time most logs have had many events, and become one
 * part each.
 */
const holdFor = 100

const selected = <E, R>(
  { beforeWaiting, envelopes, isReplayed }: Feed<E, R>,
  selection: Selection | undefined
): Feed<E, R>["envelopes"] => {
  if (selection === undefined) return envelopes
  // nothing is held back of a source that does not say when it waits
  const leftOut = new LeftOut(selection, isReplayed, beforeWaiting === undefined ? 0 : holdFor)
  beforeWaiting?.(() => leftOut.rest())
  return mapChunks((chunk: Arr.NonEmptyReadonlyArray<EncodedElement>) =>
    Effect.clockWith((clock) =>
      Effect.succeed(leftOut.take(chunk, Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)))
    )
  )(envelopes)
}

/**
 * What to read of an entity for somebody who reads its events with a codec of theirs.
 *
 * @category models
 * @since 0.1.0
 */
export interface EntityEncodedOptions {
  /** It is applied before the stages of the source. */
  readonly selection?: Selection | undefined
  /**
   * What is shown of events that are not selected. Nothing by default. `"places"` are placeholders, so that numbers have no gaps, but only for an
   * entity of which an event is selected, from `from` on. Where that changes between two pages, the stream fails with `SelectionChanged`.
   */
  readonly unselected?: "nothing" | "places" | undefined
}

/**
 * One entity's events past the stages of the source, numbered from `from` to `to`, encoded as by {@link openEncoded}.
 *
 * @category running
 * @since 0.1.0
 */
export const entityEncoded = <A, E, R>(
  self: Source<A, E, R>,
  codec: EventCodec<A>,
  persistenceId: PersistenceId,
  from: SequenceNumber,
  to: SequenceNumber,
  { selection, unselected }: EntityEncodedOptions = {}
): Stream.Stream<EncodedEnvelope, E | SelectionChanged, R> => {
  const { entity } = self.provider
  const events: Stream.Stream<EncodedEnvelope, E | SelectionChanged, R> = selection === undefined
    ? entity(persistenceId, from, to)
    : unselected === "places"
    ? placesOfEntity(entity, persistenceId, from, to, selection)
    : selectOfEntity(entity(persistenceId, from, to), selection)
  return encoded(self, codec, events)
}

const encoded = <A, E, R, E2, Element extends EncodedElement>(
  self: Source<A, E, R>,
  codec: EventCodec<A>,
  envelopes: Stream.Stream<Element, E2, R>
): Stream.Stream<Element, E2, R> => {
  const { codec: own, plain } = self.provider
  if (self.stages.length === 0) {
    if (own === codec) return envelopes
    if (plain?.codec === codec) {
      const decode = decodeWith(own, [])
      const recode = reencode(codec)
      return envelopes.pipe(
        Stream.mapArray((elements) =>
          recodeOthers(elements, plain.isPlain, (others) => recode(decode(others))) as Arr.NonEmptyArray<any>
        ),
        failAtPoison
      )
    }
  }
  return envelopes.pipe(
    mapChunks(compile<A, R>(own, self.stages)),
    // none is left out, and none is added
    Stream.mapArray((elements) => reencode(codec)(elements) as Arr.NonEmptyArray<any>),
    failAtPoison
  )
}

/** The elements, those with other payloads as they are recoded. */
const recodeOthers = (
  elements: Arr.NonEmptyReadonlyArray<EncodedElement>,
  isPlain: (payload: Payload) => boolean,
  recode: (others: Arr.NonEmptyReadonlyArray<EncodedElement>) => ReadonlyArray<EncodedElement | Poison>
): ReadonlyArray<EncodedElement | Poison> => {
  const isOther = (element: EncodedElement) =>
    !isSkipped(element) && element.payload !== undefined && element.payload !== notSent && !isPlain(element.payload)
  const others = elements.filter(isOther)
  if (!Arr.isReadonlyArrayNonEmpty(others)) return elements
  const recoded = recode(others)
  let next = 0
  return elements.map((element) => element === others[next] ? recoded[next++]! : element)
}
