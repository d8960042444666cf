/**
 * The state of entities, stored as such: each change replaces it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as EntityType from "./EntityType.ts"
import { encoded, type EncodedEnvelope, type Metadata, ownMetadata, sizeOf } from "./Envelope.ts"
import type * as EventCodec from "./EventCodec.ts"
import * as ExpectedError from "./ExpectedError.ts"
import * as Check from "./internal/checkInput.ts"
import { persistenceIdOf } from "./internal/persistenceIdOf.ts"
import { decodeEnvelopeUnsafe } from "./internal/pipeline/decodeEnvelope.ts"
import { encodeUnsafe } from "./internal/pipeline/encodeUnsafe.ts"
import { InvalidInput } from "./InvalidInput.ts"
import type { Journal, NewEvent, ReaderOptions } from "./Journal.ts"
import type { EventTooLarge, JournalForked, SequenceConflict } from "./JournalError.ts"
import type { Offset, Offsets } from "./Offset.ts"
import type { Payload } from "./Payload.ts"
import * as PersistenceId from "./PersistenceId.ts"
import type { Position } from "./Position.ts"
import type { Receipt } from "./Receipt.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"
import * as Slice from "./Slice.ts"
import type { SliceRange } from "./SliceRange.ts"
import type { StateType } from "./StateType.ts"
import type { StorageError } from "./StorageError.ts"
import type { Timestamp } from "./Timestamp.ts"

/**
 * How often the state of an entity was changed: 1, 2, 3, … Deleting is a change, too.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Revision = Schema.Natural.pipe(Schema.brand("Revision"))

/**
 * How often the state of an entity was changed.
 *
 * @category models
 * @since 0.1.0
 */
export type Revision = typeof Revision.Type

/**
 * A state as it is stored, and where in the log of its slice's changes. Without a payload it is deleted.
 *
 * @category models
 * @since 0.1.0
 */
export interface EncodedState {
  readonly persistenceId: PersistenceId.PersistenceId
  readonly revision: Revision
  readonly slice: Slice.Slice
  readonly position: Position
  readonly timestamp: Timestamp
  readonly tags: ReadonlyArray<string>
  readonly metadata: Metadata
  readonly payload: Payload | undefined
}

/**
 * The envelope of a state, whose revision is its sequence number.
 *
 * @category converting
 * @since 0.1.0
 */
export const toEnvelope = (state: EncodedState): EncodedEnvelope =>
  encoded({
    persistenceId: state.persistenceId,
    sequenceNumber: state.revision as number as SequenceNumber,
    slice: state.slice,
    position: state.position,
    timestamp: state.timestamp,
    tags: state.tags,
    metadata: state.metadata
  }, state.payload)

/**
 * A state, and where it stands.
 *
 * @category models
 * @since 0.1.0
 */
export interface DurableState<out S> extends Omit<EncodedState, "payload"> {
  readonly state: S
}

/**
 * A change to be made to the state whose last revision is `expected`: 0 if there is no state, or it is deleted. Without
 * a payload the state is deleted. A change event is appended to the entity's journal in the same transaction.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChangeRequest {
  readonly entityType: string
  readonly persistenceId: PersistenceId.PersistenceId
  readonly expected: Revision
  readonly payload: Payload | undefined
  readonly tags: ReadonlyArray<string>
  readonly metadata: Metadata
  readonly event: NewEvent | undefined
}

/**
 * Where a change was written.
 *
 * @category models
 * @since 0.1.0
 */
export interface Changed extends Pick<EncodedState, "revision" | "position" | "timestamp"> {}

/**
 * Reads the changes of states in the order of each slice's log. Each call goes on after the one before.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChangeReader {
  /** As `JournalReader.next`. */
  readonly next: (limit: number) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, JournalForked | StorageError>
}

/**
 * Stores durable state. Storage adapters provide it.
 *
 * @category services
 * @since 0.1.0
 */
export class DurableStateStore extends Context.Service<DurableStateStore, {
  /** Tells this store from every other one. */
  readonly identity: string
  /** As `Journal.now`. */
  readonly now: Effect.Effect<Timestamp, StorageError>
  /** The largest state, in bytes of payload, manifest, tags and metadata. */
  readonly maxStateBytes: number
  /** The state of an entity as it is stored; none if there never was one. */
  readonly get: (
    persistenceId: PersistenceId.PersistenceId
  ) => Effect.Effect<Option.Option<EncodedState>, StorageError>
  /** Makes the change if the state is of the expected revision, and returns its receipt, whose sequence number is the new revision. */
  readonly change: (
    request: ChangeRequest
  ) => Effect.Effect<
    Receipt,
    RevisionConflict | StateTooLarge | EventTooLarge | SequenceConflict | InvalidInput | StorageError
  >
  /** As `Journal.entityTypes`: those that have states, or had some. */
  readonly entityTypes: (limit: number) => Effect.Effect<ReadonlyArray<string>, StorageError>
  /** The newest position and timestamp of each slice in the range that has changes. */
  readonly heads: (entityType: string, range: SliceRange) => Effect.Effect<Offsets, StorageError>
  /**
   * The position and timestamp, in each slice of the range, of the last state that is older than a time. A slice
   * without one is left out.
   */
  readonly before: (entityType: string, range: SliceRange, time: Timestamp) => Effect.Effect<Offsets, StorageError>
  /**
   * Reads the changes after the offsets. Those of one slice come in the order of their positions; with `byTime`, those
   * of all slices come in the order of their timestamps. Of several changes to one entity it may show only the last
   * one, so positions have gaps. An envelope's sequence number is the revision. Fails when an offset is not of this
   * store, if the changes that are left show that.
   */
  readonly reader: (
    entityType: string,
    range: SliceRange,
    start: Offsets,
    options?: ReaderOptions
  ) => Effect.Effect<ChangeReader, JournalForked | StorageError, Scope.Scope>
  /** As `Journal.changes`. */
  readonly changes: (entityType: string) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
}>()("@sluice/core/DurableStateStore") {}

/**
 * The state is not of the revision that the writer expected: another has changed it. Nothing was changed. Get it again,
 * decide again, and change it with the actual revision.
 *
 * @category errors
 * @since 0.1.0
 */
export class RevisionConflict extends ExpectedError.TaggedError<RevisionConflict>("@sluice/core/RevisionConflict")(
  "RevisionConflict",
  { persistenceId: PersistenceId.PersistenceId, expected: Revision, actual: Revision }
) {
  override get message(): string {
    return `The writer of '${this.persistenceId}' expected revision ${this.expected}, but it is ${this.actual}`
  }
}

/**
 * A state is larger than the storage's limit for events, so that no stream could carry it. Nothing was changed.
 *
 * @category errors
 * @since 0.1.0
 */
export class StateTooLarge
  extends ExpectedError.TaggedError<StateTooLarge>("@sluice/core/StateTooLarge")("StateTooLarge", {
    persistenceId: PersistenceId.PersistenceId,
    bytes: Schema.Int,
    limit: Schema.Int
  })
{
  override get message(): string {
    return `The state of '${this.persistenceId}' has ${this.bytes} bytes, more than the limit of ${this.limit}: ` +
      "store large content elsewhere and refer to it"
  }
}

/**
 * The key under which offsets in the states of a type are stored.
 *
 * @category getters
 * @since 0.1.0
 */
export const sourceKey = (stateType: string): string => `state:${stateType}`

/**
 * What goes wrong when a state is changed.
 *
 * @category errors
 * @since 0.1.0
 */
export type ChangeError =
  | InvalidInput
  | RevisionConflict
  | StateTooLarge
  | EventCodec.EventEncodeError
  | EventTooLarge
  | SequenceConflict
  | StorageError

/**
 * Which entity's state to change, and what else belongs to the change.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChangeOptions<A> {
  readonly id: string
  /** The revision that is replaced; 0 if there never was a state, or it is deleted. */
  readonly expected: number
  readonly tags?: ReadonlyArray<string> | undefined
  readonly metadata?: Metadata | undefined
  /**
   * An event for the entity's journal, in the same transaction. Fails with `InvalidInput` unless its entity type has
   * the name of the state type.
   */
  readonly event?: readonly [entityType: EntityType.EntityType<A>, event: A] | undefined
}

/**
 * Makes the service of an adapter. It checks the size of states, ids and other texts, so the adapter need not. Change
 * events go to `journal`, whose limit for the size of events is also the limit for states.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  journal: Pick<Journal["Service"], "identity" | "now" | "maxEventBytes">,
  adapter: Omit<DurableStateStore["Service"], "identity" | "now" | "maxStateBytes" | "change"> & {
    readonly change: (
      request: ChangeRequest
    ) => Effect.Effect<Changed, Effect.Error<ReturnType<DurableStateStore["Service"]["change"]>>>
  }
): DurableStateStore["Service"] => {
  const limit = journal.maxEventBytes
  const { identity } = journal
  return {
    ...adapter,
    identity,
    now: journal.now,
    maxStateBytes: limit,
    change: (request) => {
      const { metadata, payload, persistenceId, tags } = request
      const invalid = Check.entity(request) ?? Check.safeInteger("expected", request.expected) ??
        (payload === undefined ? undefined : Check.manifest(payload)) ?? Check.tags(tags) ?? Check.metadata(metadata)
      if (invalid !== undefined) return Effect.fail(invalid)
      const bytes = sizeOf(request)
      if (bytes > limit) return Effect.fail(new StateTooLarge({ persistenceId, bytes, limit }))
      return Effect.map(
        adapter.change(request),
        (changed) => receiptOf(identity, { ...changed, persistenceId, slice: Slice.ofPersistenceId(persistenceId) })
      )
    }
  }
}

const receiptOf = (
  identity: string,
  { persistenceId, position, revision, slice, timestamp }: Changed & Pick<EncodedState, "persistenceId" | "slice">
): Receipt => ({
  journal: identity,
  log: "states",
  persistenceId,
  slice,
  sequenceNumber: revision as number as SequenceNumber,
  position,
  timestamp,
  count: 1
})

/**
 * Whether a reader's offset shows that it read another log than this one: a backup was restored, or a failover lost
 * commits. `before` is this log's last change at or before the offset's position, `after` its first change after it. A
 * position without a change proves nothing, as the entity may have been changed again.
 *
 * @category getters
 * @since 0.1.0
 */
export const isForked = (offset: Offset, before: Offset | undefined, after: Offset | undefined): boolean => {
  if (offset.position === 0) return false
  if (before?.position === offset.position) return before.timestamp !== offset.timestamp
  // the newest change of a log is never without its position
  return after === undefined || after.timestamp <= offset.timestamp ||
    before !== undefined && before.timestamp >= offset.timestamp
}

const change = <S, A>(
  stateType: StateType<S>,
  options: ChangeOptions<A>,
  state: Option.Option<S>
): Effect.Effect<Revision, ChangeError, DurableStateStore> =>
  Effect.gen(function*() {
    const store = yield* DurableStateStore
    const persistenceId = yield* persistenceIdOf(stateType, options.id)
    const { event, metadata = {}, tags = [] } = options
    const invalid = Check.givenMetadata(metadata)
    if (invalid !== undefined) return yield* invalid
    if (event !== undefined && event[0].name !== stateType.name) {
      return yield* new InvalidInput({
        input: "event",
        problem: `its entity type is '${
          event[0].name
        }', and that of the state '${stateType.name}': it is of the same entity`
      })
    }
    const encode = <B>(codec: EventCodec.EventCodec<B>, value: B) =>
      Effect.try({
        try: () => encodeUnsafe(codec, persistenceId, value),
        catch: (error) => error as EventCodec.EventEncodeError
      })
    const payload = Option.isSome(state) ? yield* encode(stateType.codec, state.value) : undefined
    const expected = options.expected as Revision
    const before = Option.getOrUndefined(yield* store.get(persistenceId))
    const own = before === undefined
      ? []
      : Object.entries(before.metadata).filter(([key]) => key.startsWith(ownMetadata))
    // a state that is deleted is replaced where 0 is expected, too
    const isReplaced = own.length > 0 &&
      (before!.revision === expected || expected === 0 && before!.payload === undefined)
    const { sequenceNumber } = yield* store.change({
      entityType: stateType.name,
      persistenceId,
      // what was read is kept: nobody may change it meanwhile
      expected: isReplaced ? before!.revision : expected,
      payload,
      tags,
      metadata: isReplaced ? { ...metadata, ...Object.fromEntries(own) } : metadata,
      event: event && {
        id: (yield* WebCrypto).randomUUID(),
        payload: yield* encode(event[0].codec, event[1]),
        tags,
        metadata
      }
    }).pipe(
      Effect.mapError((error) =>
        error._tag === "RevisionConflict"
          ? new RevisionConflict({ persistenceId, expected, actual: error.actual })
          : error
      )
    )
    return sequenceNumber as number as Revision
  })

/**
 * Stores the state of an entity in place of the one with the expected revision, and returns the new revision. Where
 * there is no state `expected` is 0. When a deleted state is made again, its revisions count on, so they never fall.
 *
 * The metadata is replaced as well, but for what an entity keeps of its commands in that of its state: a command that it has executed is executed once, whoever
 * changes the state.
 *
 * Fails with `InvalidInput` as `Journal.append` does.
 *
 * **Example** (A profile that changes)
 *
 * ```ts
 * import { DurableStateStore, MemoryStorage, StateType } from "@sluice/core"
 * import { Effect, Schema } from "effect"
 *
 * const Profile = StateType.make("profile", { state: Schema.Struct({ name: Schema.String }) })
 *
 * const program = Effect.gen(function*() {
 *   const first = yield* DurableStateStore.upsert(Profile, { id: "ada", expected: 0, state: { name: "Ada" } })
 *   return yield* DurableStateStore.upsert(Profile, { id: "ada", expected: first, state: { name: "Ada Lovelace" } })
 * })
 * await Effect.runPromise(Effect.provide(program, MemoryStorage.layer)) // => 2
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const upsert = <S, A = never>(
  stateType: StateType<S>,
  options: ChangeOptions<A> & { readonly state: S }
): Effect.Effect<Revision, ChangeError, DurableStateStore> => change(stateType, options, Option.some(options.state))

/**
 * Deletes the state of an entity with the expected revision, and returns the new revision, that of the deletion. A
 * later change may expect that revision, or 0.
 *
 * @category operations
 * @since 0.1.0
 */
const remove = <S, A = never>(
  stateType: StateType<S>,
  options: ChangeOptions<A>
): Effect.Effect<Revision, ChangeError, DurableStateStore> => change(stateType, options, Option.none())

export { remove as delete }

/**
 * The receipt of the last change of a state, its deletion included; none where there never was one. It waits, with `ProjectionStatus.reached`, until a
 * projection has handled that change, or a later one. Ask for it after the change, or in the same transaction.
 *
 * **Example** (Where a profile stands)
 *
 * ```ts
 * import { DurableStateStore, MemoryStorage, StateType } from "@sluice/core"
 * import { Effect, Option, Schema } from "effect"
 *
 * const Profile = StateType.make("profile", { state: Schema.Struct({ name: Schema.String }) })
 *
 * const program = Effect.gen(function*() {
 *   yield* DurableStateStore.upsert(Profile, { id: "ada", expected: 0, state: { name: "Ada" } })
 *   const receipt = Option.getOrThrow(yield* DurableStateStore.receipt(Profile, "ada"))
 *   return [receipt.log, receipt.sequenceNumber, receipt.position]
 * })
 * await Effect.runPromise(Effect.provide(program, MemoryStorage.layer)) // => ["states", 1, 1]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const receipt = <S>(
  stateType: StateType<S>,
  id: string
): Effect.Effect<Option.Option<Receipt>, InvalidInput | StorageError, DurableStateStore> =>
  DurableStateStore.use((store) =>
    Effect.flatMap(persistenceIdOf(stateType, id), store.get).pipe(
      Effect.map(Option.map((state) => receiptOf(store.identity, state)))
    )
  )

/**
 * The state of an entity; none where there is none or it is deleted.
 *
 * @category operations
 * @since 0.1.0
 */
export const get = Effect.fn("DurableStateStore.get")(function*<S>(
  stateType: StateType<S>,
  id: string
): Effect.fn.Return<
  Option.Option<DurableState<S>>,
  InvalidInput | StorageError | EventCodec.EventDecodeError,
  DurableStateStore
> {
  const store = yield* DurableStateStore
  const found = yield* store.get(yield* persistenceIdOf(stateType, id))
  if (Option.isNone(found) || found.value.payload === undefined) return Option.none()
  const { payload, ...place } = found.value
  const state = yield* Effect.try({
    try: () =>
      decodeEnvelopeUnsafe(stateType.codec, {
        persistenceId: place.persistenceId,
        sequenceNumber: place.revision as any
      }, payload),
    catch: (error) => error as EventCodec.EventDecodeError
  })
  return Option.some({ ...place, state })
})
