/**
 * The event journal of a service's own database: for each entity type and slice an append-only log with dense
 * positions, in the order of the commits.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as EntityType from "./EntityType.ts"
import type { EncodedEnvelope, Metadata } from "./Envelope.ts"
import * as Envelope from "./Envelope.ts"
import type * as EventCodec from "./EventCodec.ts"
import * as Check from "./internal/checkInput.ts"
import { persistenceIdOf, persistenceIdUnsafe } from "./internal/persistenceIdOf.ts"
import { decodeEnvelopeUnsafe } from "./internal/pipeline/decodeEnvelope.ts"
import { encodeUnsafe } from "./internal/pipeline/encodeUnsafe.ts"
import { tracedMetadata } from "./internal/traceContext.ts"
import { InvalidInput } from "./InvalidInput.ts"
import {
  EventTooLarge,
  type JournalForked,
  type OffsetBelowFloor,
  type ReplicatedEvents,
  type SequenceConflict
} from "./JournalError.ts"
import * as MetricAttributes from "./MetricAttributes.ts"
import { journalAppended } from "./Metrics.ts"
import type { Offsets } from "./Offset.ts"
import type { Payload } from "./Payload.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { Position } from "./Position.ts"
import { ReadBudget } from "./ReadBudget.ts"
import type { Receipt } from "./Receipt.ts"
import type { ReplicationMetadata } from "./ReplicationMetadata.ts"
import * as SequenceNumber from "./SequenceNumber.ts"
import type { SliceRange } from "./SliceRange.ts"
import type { StorageError } from "./StorageError.ts"
import type { Timestamp } from "./Timestamp.ts"
import { traced } from "./Tracing.ts"

export {
  EventTooLarge,
  JournalForked,
  JournalReplaced,
  OffsetBelowFloor,
  ReplicatedEvents,
  SequenceConflict
} from "./JournalError.ts"

/**
 * What the writer of an event knows of the entity: the exact number of its last event, that it has no event yet, that
 * it has at least one, or nothing.
 *
 * @category models
 * @since 0.1.0
 */
export type ExpectedSequenceNumber = number | "none" | "exists" | "any"

/**
 * An event to be appended. Its texts have no U+0000 and no half of a surrogate pair, which only the payload may have.
 *
 * @category models
 * @since 0.1.0
 */
export interface NewEvent {
  /** A UUID in lower case. An append whose outcome is unknown is sent again with the same ones. */
  readonly id: string
  readonly payload: Payload
  readonly tags: ReadonlyArray<string>
  readonly metadata: Metadata
  /** Of an event of a replicated entity. */
  readonly replication?: ReplicationMetadata | undefined
  /** Of an event that was received from a producer that is not Sluice. */
  readonly foreignMetadata?: Payload | undefined
}

/**
 * Events to be appended to one entity, all of them or none.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppendRequest {
  readonly entityType: string
  readonly persistenceId: PersistenceId
  readonly expected: ExpectedSequenceNumber
  readonly events: NonEmptyReadonlyArray<NewEvent>
  /**
   * Whether the events may have been written before, all or none of them. If so, and the entity has events with their ids,
   * nothing is written, and the answer is that of the first attempt.
   */
  readonly recheck: boolean
}

/**
 * Where the last event of an append was written. The `count` events have consecutive sequence numbers, positions
 * and timestamps.
 *
 * @category models
 * @since 0.1.0
 */
export interface Written extends Omit<Receipt, "journal" | "log"> {}

/**
 * Reads the events of a slice range, those of one log in the order of their positions and none left out.
 *
 * @category models
 * @since 0.1.0
 */
export interface JournalReader {
  /**
   * Up to `limit` events that come next; none when the end of the journal is reached. Fewer than `limit` does not say
   * that there are no more. What another process has appended may show only once `changes` has told of it. Fails when events
   * that come next have been deleted since the reader was opened.
   */
  readonly next: (limit: number) => Effect.Effect<
    ReadonlyArray<EncodedEnvelope>,
    JournalForked | OffsetBelowFloor | StorageError
  >
  /**
   * Tells the reader that these events were read in another way, each after its predecessor. The reader goes past them
   * if it can. Otherwise it reads them again.
   */
  readonly pass: (events: ReadonlyArray<EncodedEnvelope>) => void
}

/**
 * How a reader reads.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReaderOptions {
  /**
   * Whether events come in the order of their timestamps, over all slices. By default the reader may read one slice
   * after the other, which is quicker if there are few events, far apart.
   */
  readonly byTime?: boolean | undefined
}

/**
 * What is deleted although there is something to be said against it.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeletionOptions {
  /** Whether events of replicated entities are deleted, though other replicas may not have them. Without it that is refused. */
  readonly evenReplicated?: boolean | undefined
}

/**
 * What is removed.
 *
 * @category models
 * @since 0.1.0
 */
export interface PruneOptions extends DeletionOptions {
  /** Nothing beyond these positions is removed, and nothing of a log that is not among them. */
  readonly upTo?: Offsets | undefined
  /**
   * Says of which event of each of these entities there is a snapshot, as `newest` of the `SnapshotStore` does. Earlier ones are removed. That event and later ones stay, and so do all events of an entity that it
   * leaves out, or that has no such event yet; emptied ones are removed all the same. Where it is undefined, nothing is asked.
   */
  readonly included?:
    | ((
      persistenceIds: ReadonlyArray<PersistenceId>
    ) => Effect.Effect<ReadonlyMap<PersistenceId, SequenceNumber.SequenceNumber>, StorageError>)
    | undefined
}

/**
 * Appends events and reads them back. Storage adapters provide it.
 *
 * @category services
 * @since 0.1.0
 */
export class Journal extends Context.Service<Journal, {
  /** Tells this journal from every other one, and from itself after it was emptied or replaced. */
  readonly identity: string
  /** The time, by the clock that gives events their timestamps. */
  readonly now: Effect.Effect<Timestamp, StorageError>
  /** The largest event, in bytes of payload, manifest, tags and metadata. */
  readonly maxEventBytes: number
  /**
   * Appends to one entity: within the transaction of the fiber if there is one, else in a transaction that may be
   * shared with other fibers' appends. None of them fails for another's conflict.
   */
  readonly append: (
    request: AppendRequest
  ) => Effect.Effect<Receipt, SequenceConflict | EventTooLarge | InvalidInput | StorageError>
  /** Runs the effect, and every append in it, in one transaction: all of it happens, or nothing. */
  readonly transaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StorageError, R>
  /** Runs the effect once the fiber's transaction has committed, before that returns; at once if there is none. Dies in one that is over. */
  readonly afterCommit: <R>(effect: Effect.Effect<void, never, R>) => Effect.Effect<void, never, R>
  /** Whether the fiber is in a transaction of the storage that is not over: a fiber that was started in one may outlive it. */
  readonly inTransaction: Effect.Effect<boolean>
  /** Up to `limit` entity types that have events, in no particular order. It costs no more than that many looks into an index. */
  readonly entityTypes: (limit: number) => Effect.Effect<ReadonlyArray<string>, StorageError>
  /** The newest position and timestamp of each log in the range that has events. */
  readonly heads: (entityType: string, range: SliceRange) => Effect.Effect<Offsets, StorageError>
  /**
   * The position and timestamp, in each log of the range, of the last event that is older than a time; nothing for a
   * log without such an event. If events that are not older were deleted, it is position 0 with the time, where no
   * reader can begin.
   */
  readonly before: (entityType: string, range: SliceRange, time: Timestamp) => Effect.Effect<Offsets, StorageError>
  /**
   * Opens a reader of the events after the offsets. Fails when the event at an offset is not in the journal, or events
   * after it were deleted.
   */
  readonly reader: (
    entityType: string,
    range: SliceRange,
    start: Offsets,
    options?: ReaderOptions
  ) => Effect.Effect<JournalReader, JournalForked | OffsetBelowFloor | StorageError, Scope.Scope>
  /** Up to `limit` events of one entity, numbered from `from` to `to`, both included. */
  readonly entity: (
    persistenceId: PersistenceId,
    from: SequenceNumber.SequenceNumber,
    to: SequenceNumber.SequenceNumber,
    limit: number
  ) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, StorageError>
  /** Empties the events of one entity up to a number: placeholders stay in their places. Refuses a replicated entity, unless told otherwise. */
  readonly deleteEvents: (
    persistenceId: PersistenceId,
    to: SequenceNumber.SequenceNumber,
    options?: DeletionOptions
  ) => Effect.Effect<void, ReplicatedEvents | StorageError>
  /**
   * Removes the events at the beginning of each log that are older than a time, and returns their number. The newest
   * event of each log and of each entity stays. Refuses a type that has events of replicated entities, unless told otherwise.
   */
  readonly prune: (
    entityType: string,
    before: Timestamp,
    options?: PruneOptions
  ) => Effect.Effect<number, ReplicatedEvents | StorageError>
  /** The position and timestamp in each log of the range up to which events were removed. */
  readonly floors: (entityType: string, range: SliceRange) => Effect.Effect<Offsets, StorageError>
  /**
   * Gives the listener the events that this process appends to an entity type, right after each commit. Events of other
   * processes are not among them. Commits may come in another order than that of their positions.
   */
  readonly committed: (
    entityType: string,
    listener: (events: ReadonlyArray<EncodedEnvelope>) => void
  ) => Effect.Effect<void, never, Scope.Scope>
  /**
   * Subscribes to appends of an entity type, by any process. The inner effect ends when something may have been
   * appended since it ended last, or since the subscription.
   */
  readonly changes: (entityType: string) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
}>()("@sluice/core/Journal") {}

/**
 * Makes the service of an adapter. It checks the size of events, ids and other texts, so the adapter need not. The
 * default limit leaves room, within the 4 MiB that gRPC peers accept, for what surrounds an event on a stream.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  adapter: Omit<Journal["Service"], "maxEventBytes" | "append"> & {
    readonly maxEventBytes?: number | undefined
    readonly append: (request: AppendRequest) => Effect.Effect<Written, SequenceConflict | StorageError>
  }
): Journal["Service"] => {
  const maxEventBytes = adapter.maxEventBytes ?? defaultMaxEventBytes
  const { identity } = adapter
  return {
    ...adapter,
    maxEventBytes,
    append: (request) => {
      const invalid = invalidIn(request)
      if (invalid !== undefined) return Effect.fail(invalid)
      for (const event of request.events) {
        const bytes = Envelope.sizeOf(event)
        if (bytes > maxEventBytes) {
          return Effect.fail(new EventTooLarge({ persistenceId: request.persistenceId, bytes, limit: maxEventBytes }))
        }
      }
      return Effect.withFiber(({ context }) =>
        Effect.map(
          adapter.append(request),
          ({ count, persistenceId, position, sequenceNumber, slice, timestamp }): Receipt => {
            journalAppended.updateUnsafe(count, MetricAttributes.add(context, "entity_type", request.entityType))
            return {
              journal: identity,
              log: "events",
              persistenceId,
              slice,
              sequenceNumber,
              position,
              timestamp,
              count
            }
          }
        )
      )
    }
  }
}

const invalidExpected = (expected: ExpectedSequenceNumber): InvalidInput | undefined =>
  expected === "any" || expected === "none" || expected === "exists"
    ? undefined
    : Check.safeInteger("expected", expected)

const invalidEvents = (events: unknown): InvalidInput | undefined =>
  Array.isArray(events) ? undefined : new InvalidInput({ input: "events", problem: "they are no array" })

/**
 * Why metadata cannot be given to an append, if it cannot: a key or a value is text that cannot be kept, or a key is Sluice's own.
 *
 * **Example** (A key that is Sluice's own)
 *
 * ```ts
 * import { Journal } from "@sluice/core"
 *
 * Journal.metadataProblem({ user: "ada" }) // => undefined
 * Journal.metadataProblem({ "sluice.command": "" }) // => "the key \"sluice.command\" begins with \"sluice.\", which is Sluice's own"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const metadataProblem = (metadata: Metadata): string | undefined =>
  (Check.metadata(metadata) ?? Check.givenMetadata(metadata))?.problem

/** What an adapter is not handed. */
const invalidIn = (request: AppendRequest): InvalidInput | undefined => {
  const { events, expected } = request
  let invalid = Check.entity(request) ?? invalidExpected(expected) ?? invalidEvents(events)
  if (invalid !== undefined) return invalid
  // types rule this out, but a program may ignore them
  if (events.length === 0) return new InvalidInput({ input: "events", problem: "there is none to append" })
  let last: NewEvent | undefined
  for (const event of events) {
    if (event === undefined) return new InvalidInput({ input: "events", problem: "the array has a hole" })
    invalid = Check.eventId(event.id) ?? Check.manifest(event.payload) ??
      // the events of an append mostly share them
      (last !== undefined && event.tags === last.tags ? undefined : Check.tags(event.tags)) ??
      (last !== undefined && event.metadata === last.metadata ? undefined : Check.metadata(event.metadata)) ??
      (event.replication === undefined ? undefined : Check.replication(event.replication)) ??
      (event.foreignMetadata === undefined ? undefined : Check.manifest(event.foreignMetadata, "foreignMetadata"))
    if (invalid !== undefined) return invalid
    last = event
  }
  return undefined
}

/**
 * The envelopes of what was written, as a reader will find them.
 *
 * @category getters
 * @since 0.1.0
 */
export const writtenEnvelopes = (
  { events, persistenceId }: AppendRequest,
  { count, position, sequenceNumber, slice, timestamp }: Written
): ReadonlyArray<EncodedEnvelope> =>
  events.map((event, i) => {
    const back = count - 1 - i
    return Envelope.encoded({
      persistenceId,
      sequenceNumber: sequenceNumber - back as SequenceNumber.SequenceNumber,
      slice,
      position: position - back as Position,
      timestamp: timestamp - back as Timestamp,
      tags: event.tags,
      metadata: event.metadata,
      replication: event.replication,
      foreignMetadata: event.foreignMetadata
    }, event.payload)
  })

/**
 * Whether a prune removes an event that is old enough, by the newest number of its entity, and where it is asked what snapshots include, the number of its newest snapshot, 0 for none. The newest event stays, and
 * so does what its entity is recovered from.
 *
 * @category getters
 * @since 0.1.0
 */
export const isPrunable = (
  event: { readonly sequenceNumber: number; readonly isEmpty: boolean },
  newest: number,
  snapshot: number | undefined
): boolean => {
  const { isEmpty, sequenceNumber } = event
  if (sequenceNumber >= newest) return false
  if (snapshot === undefined) return true
  // the event of the snapshot stays, as it tells whether that is of this journal
  return isEmpty
    // nobody can recover from it
    ? sequenceNumber !== snapshot
    // a snapshot beyond the newest event is of other events
    : snapshot <= newest && sequenceNumber < snapshot
}

/**
 * Whether a journal has the event of an entity with that number, and that timestamp where one is given. A database that has lost commits, as in a failover, may not have it any more, or another one in its place.
 *
 * @category getters
 * @since 0.1.0
 */
export const has = (
  journal: Journal["Service"],
  { persistenceId, sequenceNumber, timestamp }: {
    readonly persistenceId: PersistenceId
    readonly sequenceNumber: SequenceNumber.SequenceNumber
    readonly timestamp: Timestamp | undefined
  }
): Effect.Effect<boolean, StorageError> =>
  Effect.map(
    journal.entity(persistenceId, sequenceNumber, sequenceNumber, 1),
    ([event]) => event !== undefined && (timestamp === undefined || event.timestamp === timestamp)
  )

/**
 * The key under which offsets in the journal of an entity type are stored.
 *
 * @category getters
 * @since 0.1.0
 */
export const sourceKey = (entityType: string): string => `journal:${entityType}`

/**
 * The largest event, in bytes, where a storage is not told another limit: 4 MiB less 64 KiB.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultMaxEventBytes = 4 * 1024 * 1024 - 64 * 1024

/**
 * A page of events is full with so many bytes of payload, tags and metadata, on every storage. So the memory that it
 * takes to decode a page is bounded.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxPageBytes: number = 4 * 1024 * 1024

/**
 * What goes wrong when events are appended.
 *
 * @category errors
 * @since 0.1.0
 */
export type AppendError =
  | InvalidInput
  | EventCodec.EventEncodeError
  | EventTooLarge
  | SequenceConflict
  | StorageError

/**
 * What an append answers: where the last event was written, or undefined if there was none to append, which only a list that is known to have
 * an event rules out.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Appended<Events> = Events extends NonEmptyReadonlyArray<unknown> ? Receipt : Receipt | undefined

/**
 * Appends events to an entity, all of them or none, and returns the receipt of it: where the last event stands. With
 * `ProjectionStatus.reached` it waits until a projection has handled them. Where there are no events, nothing is appended, and the result is undefined.
 *
 * **Details**
 *
 * `expected` is the sequence number of the entity's last event as the writer knows it, `"none"`, `"exists"`, or
 * `"any"`, the default: then two writers may append in turn without noticing each other. `tags` and `metadata` are
 * given to every event, or are computed from it and its index. An append of no events does not compare `expected` with anything.
 *
 * Fails with `InvalidInput` when `expected` is a number, but no safe integer from 0, when the id is empty or longer than
 * `PersistenceId.maxBytes` leaves room for, when a function for them throws, when the id, a tag or the metadata has U+0000 or half a
 * surrogate pair, or when a key of the metadata begins with `sluice.`: those are Sluice's own, such as the id of the command that an event is of.
 *
 * Inside {@link transaction}, or a transaction of the storage's own, the append is part of it.
 *
 * **Example** (An event for a new cart)
 *
 * ```ts
 * import { EntityType, Journal, MemoryStorage } from "@sluice/core"
 * import { Effect, Schema } from "effect"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
 * const Cart = EntityType.make("cart", { event: ItemAdded })
 *
 * const program = Journal.append(Cart, {
 *   id: "c-17",
 *   expected: "none",
 *   events: [new ItemAdded({ sku: "tea", quantity: 2 })]
 * }).pipe(
 *   Effect.map((written) => written.sequenceNumber),
 *   Effect.provide(MemoryStorage.layer)
 * )
 * await Effect.runPromise(program) // => 1
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const append = <A, Events extends NonEmptyReadonlyArray<NoInfer<A>> | ReadonlyArray<NoInfer<A>>>(
  entityType: EntityType.EntityType<A>,
  options: {
    readonly id: string
    readonly events: Events
    readonly expected?: ExpectedSequenceNumber | undefined
    readonly tags?: ReadonlyArray<string> | ((event: A, index: number) => ReadonlyArray<string>) | undefined
    readonly metadata?: Metadata | ((event: A, index: number) => Metadata) | undefined
    /** Where each event of a replicated entity comes from. */
    readonly replication?: ((event: A, index: number) => ReplicationMetadata) | undefined
  }
): Effect.Effect<Appended<Events>, AppendError, Journal> =>
  traced(
    { name: "sluice.append", attributes: { entityType: entityType.name, id: options.id } },
    // one step of the fiber, not one for each thing it needs: appends are many
    Effect.withFiber((fiber): Effect.Effect<Receipt | undefined, AppendError> => {
      const journal = Context.getUnsafe(fiber.context, Journal)
      const { events: given, expected = "any", metadata = noMetadata, replication, tags = noTags } = options
      const noEvents = invalidEvents(given)
      let request: AppendRequest
      try {
        const common = tracedMetadata(fiber, typeof metadata === "function" ? noMetadata : givenUnsafe(metadata))
        const persistenceId = persistenceIdUnsafe(entityType, options.id)
        if (noEvents !== undefined) return Effect.fail(noEvents)
        if (!Arr.isReadonlyArrayNonEmpty<A>(given)) {
          const invalid = invalidExpected(expected)
          return invalid === undefined ? Effect.undefined : Effect.fail(invalid)
        }
        const crypto = Context.get(fiber.context, WebCrypto)
        const events = Arr.map(given, (event, index): NewEvent => ({
          id: crypto.randomUUID(),
          payload: encodeUnsafe(entityType.codec, persistenceId, event),
          tags: typeof tags === "function" ? computed("tags", tags, event, index) : tags,
          metadata: typeof metadata === "function"
            ? { ...common, ...givenUnsafe(computed("metadata", metadata, event, index)) }
            : common,
          replication: replication && computed("replication", replication, event, index)
        }))
        request = { entityType: entityType.name, persistenceId, expected, events, recheck: false }
      } catch (error) {
        return Effect.fail(error as EventCodec.EventEncodeError | InvalidInput)
      }
      return journal.append(request)
    })
  ) as Effect.Effect<Appended<Events>, AppendError, Journal>

/** Throws an `InvalidInput`. */
const givenUnsafe = (metadata: Metadata): Metadata => {
  const invalid = Check.givenMetadata(metadata)
  if (invalid !== undefined) throw invalid
  return metadata
}

/** What a function of the user's says of an event. Throws an `InvalidInput` where that throws. */
const computed = <A, B>(input: string, f: (event: A, index: number) => B, event: A, index: number): B => {
  try {
    return f(event, index)
  } catch (cause) {
    throw new InvalidInput({ input, problem: "the function that computes them throws", cause })
  }
}

/**
 * Runs the effect, and every append in it, in one transaction: when it fails or is interrupted, nothing was appended.
 * Within another transaction only the inner one is undone.
 *
 * **Gotchas**
 *
 * Fibers that the effect starts share the transaction: they must end with it, and what one undoes in a nested transaction
 * takes along what another has appended meanwhile.
 *
 * @category operations
 * @since 0.1.0
 */
export const transaction = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StorageError, R | Journal> => Journal.use((journal) => journal.transaction(effect))

/**
 * Runs the effect once the fiber's transaction has committed, before that returns, and not at all if it is rolled back; at once if there is
 * none. Of a nested transaction that is once the outermost one has committed. In a fiber that has outlived its transaction it dies.
 *
 * **Example** (What is told once it is certain)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage } from "@sluice/core"
 * import { Effect } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const told: Array<string> = []
 *
 * const program = Journal.transaction(Effect.gen(function*() {
 *   yield* Journal.afterCommit(Effect.sync(() => told.push("committed")))
 *   yield* Journal.append(Note, { id: "n-1", events: ["written"] })
 *   told.push("appended")
 * }))
 * await Effect.runPromise(Effect.provide(program, MemoryStorage.layer))
 * told // => ["appended", "committed"]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const afterCommit = <R>(effect: Effect.Effect<void, never, R>): Effect.Effect<void, never, R | Journal> =>
  Journal.use((journal) => journal.afterCommit(effect))

/**
 * The events of one entity in order, those that were deleted left out. Fails with `InvalidInput` for an id or a number that cannot be.
 *
 * **Example** (What happened to a cart)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage } from "@sluice/core"
 * import { Effect, Stream } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Note, { id: "n-1", events: ["written", "read"] })
 *   return yield* Stream.runCollect(Stream.map(Journal.read(Note, "n-1"), ({ event }) => event))
 * })
 * await Effect.runPromise(Effect.provide(program, MemoryStorage.layer)) // => ["written", "read"]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const read = <A>(
  entityType: EntityType.EntityType<A>,
  id: string,
  options?: {
    /** The first sequence number, 1 by default. */
    readonly from?: number | undefined
    /** The last sequence number, the newest by default. */
    readonly to?: number | undefined
  }
): Stream.Stream<Envelope.Envelope<A>, InvalidInput | StorageError | EventCodec.EventDecodeError, Journal> =>
  Stream.unwrap(Effect.gen(function*() {
    const { from = firstSequenceNumber, to = lastSequenceNumber } = options ?? {}
    const invalid = Check.safeInteger("from", from) ?? Check.safeInteger("to", to)
    if (invalid !== undefined) return yield* invalid
    const last = to as SequenceNumber.SequenceNumber
    const page = yield* pagesOf(yield* persistenceIdOf(entityType, id), last)
    const next = (from: Behind): Effect.Effect<DecodedPage<A>, StorageError | EventCodec.EventDecodeError> =>
      typeof from === "number"
        ? Effect.map(page(from), (encoded) => decodePage(entityType.codec, encoded, last))
        : Effect.fail(from)
    return Stream.paginate(from as SequenceNumber.SequenceNumber, next)
  }))

/** What follows a page: the event with that number, or one that cannot be decoded. */
type Behind = SequenceNumber.SequenceNumber | EventCodec.EventDecodeError

type DecodedPage<A> = readonly [ReadonlyArray<Envelope.Envelope<A>>, Option.Option<Behind>]

/** The events of a page that are not deleted, up to one that cannot be decoded. */
const decodePage = <A>(
  codec: EventCodec.EventCodec<A>,
  page: ReadonlyArray<EncodedEnvelope>,
  to: SequenceNumber.SequenceNumber
): DecodedPage<A> => {
  const events: Array<Envelope.Envelope<A>> = []
  for (const encoded of page) {
    const { payload } = encoded
    if (payload === undefined) continue
    try {
      events.push(Envelope.make(encoded, decodeEnvelopeUnsafe(codec, encoded, payload), Envelope.sizeOf(encoded)))
    } catch (error) {
      return [events, Option.some(error as EventCodec.EventDecodeError)]
    }
  }
  return [events, behind(page, to)]
}

/** The event that follows a page, up to a number; none after an empty page, which is the last. */
const behind = (
  page: ReadonlyArray<EncodedEnvelope>,
  to: SequenceNumber.SequenceNumber
): Option.Option<SequenceNumber.SequenceNumber> => {
  const last = page.at(-1)
  return last === undefined || last.sequenceNumber >= to
    ? Option.none()
    : Option.some(SequenceNumber.make(last.sequenceNumber + 1))
}

/** Reads one entity's events up to a number, page by page. */
const pagesOf = (
  persistenceId: PersistenceId,
  to: SequenceNumber.SequenceNumber
): Effect.Effect<
  (from: SequenceNumber.SequenceNumber) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, StorageError>,
  never,
  Journal
> =>
  Effect.gen(function*() {
    const journal = yield* Journal
    const budget = yield* ReadBudget
    return (from) => budget.read((limit) => journal.entity(persistenceId, from, to, limit), pageSize)
  })

/**
 * The events of one entity in order as they are stored, placeholders of deleted ones included.
 *
 * @category operations
 * @since 0.1.0
 */
export const readEncoded = (
  persistenceId: PersistenceId,
  { from = firstSequenceNumber, to = lastSequenceNumber }: {
    readonly from?: SequenceNumber.SequenceNumber | undefined
    readonly to?: SequenceNumber.SequenceNumber | undefined
  } = {}
): Stream.Stream<EncodedEnvelope, StorageError, Journal> =>
  Stream.unwrap(
    Effect.map(pagesOf(persistenceId, to), (page) =>
      Stream.paginate(from, (from) => Effect.map(page(from), (encoded) => [encoded, behind(encoded, to)])))
  )

/**
 * Empties the events of one entity, up to a sequence number or all: what was in them is gone, tags and metadata included. Their places
 * stay, so that numbers and positions have no gaps; readers see placeholders. In the fiber's transaction, if there is one.
 *
 * Fails with `ReplicatedEvents` where the entity has events of replicas, and deletes nothing: `ReplicatedJournal.deleteEvents` of `@sluice/replication` asks all of them first.
 *
 * **Example** (A cart that is to be forgotten)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage } from "@sluice/core"
 * import { Effect, Stream } from "effect"
 *
 * const Cart = EntityType.make("cart", { codec: EventCodec.string })
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Cart, { id: "c-1", events: ["tea", "rum"] })
 *   yield* Journal.deleteEvents(Cart, "c-1")
 *   const { sequenceNumber } = yield* Journal.append(Cart, { id: "c-1", events: ["milk"] })
 *   const left = yield* Stream.runCollect(Stream.map(Journal.read(Cart, "c-1"), ({ event }) => event))
 *   return [sequenceNumber, left]
 * })
 * await Effect.runPromise(Effect.provide(program, MemoryStorage.layer)) // => [3, ["milk"]]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const deleteEvents = <A>(
  entityType: EntityType.EntityType<A>,
  id: string,
  options?: DeletionOptions & {
    /** The last sequence number to be emptied, the newest by default. */
    readonly to?: number | undefined
  }
): Effect.Effect<void, InvalidInput | ReplicatedEvents | StorageError, Journal> =>
  Journal.use((journal) =>
    Effect.flatMap(
      persistenceIdOf(entityType, id),
      (id): Effect.Effect<void, InvalidInput | ReplicatedEvents | StorageError> => {
        const { to = lastSequenceNumber } = options ?? {}
        const invalid = Check.safeInteger("to", to)
        return invalid === undefined
          ? journal.deleteEvents(id, to as SequenceNumber.SequenceNumber, options)
          : Effect.fail(invalid)
      }
    )
  )

/**
 * Removes the events of an entity type that are older than a time, to make room, and returns how many that were. What comes first in
 * each log is removed, up to the first event that is younger; the newest event of each log and of each entity stays. A
 * reader that has not come as far then fails with `OffsetBelowFloor`, and so does one that begins from the beginning.
 *
 * It works in many short transactions, and appends and readers go on meanwhile.
 *
 * Events that entities have yet to be recovered from are removed as well: `EventSourced.prune` of `@sluice/entity` keeps those that no snapshot includes.
 *
 * Fails with `ReplicatedEvents` where the type has events of replicas, and removes none of them: `ReplicatedJournal.prune` of `@sluice/replication` asks all of them first.
 *
 * @category operations
 * @since 0.1.0
 */
export const prune = <A>(
  entityType: EntityType.EntityType<A>,
  options: PruneOptions & { readonly before: Timestamp }
): Effect.Effect<number, InvalidInput | ReplicatedEvents | StorageError, Journal> =>
  Journal.use((journal): Effect.Effect<number, InvalidInput | ReplicatedEvents | StorageError> => {
    const invalid = Check.safeInteger("before", options.before)
    return invalid === undefined ? journal.prune(entityType.name, options.before, options) : Effect.fail(invalid)
  })

const noMetadata: Metadata = {}
const noTags: ReadonlyArray<string> = []
const firstSequenceNumber = SequenceNumber.make(1)
const lastSequenceNumber = SequenceNumber.make(Number.MAX_SAFE_INTEGER - 1)
const pageSize = 500
