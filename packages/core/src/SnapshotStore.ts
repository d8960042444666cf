/**
 * States of entities after one of their events. To know the newest state, only later events have to be read.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Metadata } from "./Envelope.ts"
import type * as EventCodec from "./EventCodec.ts"
import * as Check from "./internal/checkInput.ts"
import { persistenceIdOf } from "./internal/persistenceIdOf.ts"
import { decodeEnvelopeUnsafe } from "./internal/pipeline/decodeEnvelope.ts"
import { encodeUnsafe } from "./internal/pipeline/encodeUnsafe.ts"
import type { InvalidInput } from "./InvalidInput.ts"
import type { Payload } from "./Payload.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { Retention } from "./Retention.ts"
import * as Ret from "./Retention.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"
import type { StateType } from "./StateType.ts"
import type { StorageError } from "./StorageError.ts"
import type { Timestamp } from "./Timestamp.ts"

/**
 * A snapshot as it is stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface EncodedSnapshot {
  readonly persistenceId: PersistenceId
  /** The number of the last event that the state includes. */
  readonly sequenceNumber: SequenceNumber
  /** When the snapshot was stored. */
  readonly timestamp: Timestamp
  readonly payload: Payload
  readonly metadata: Metadata
}

/**
 * A snapshot, its state decoded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshot<out S> extends Omit<EncodedSnapshot, "payload"> {
  readonly state: S
}

/**
 * Selects snapshots of an entity: those that meet all of the criteria, bounds included.
 *
 * @category models
 * @since 0.1.0
 */
export interface Criteria {
  readonly minSequenceNumber?: number | undefined
  readonly maxSequenceNumber?: number | undefined
  readonly minTimestamp?: Timestamp | undefined
  readonly maxTimestamp?: Timestamp | undefined
}

/**
 * Stores snapshots. Storage adapters provide it.
 *
 * @category services
 * @since 0.1.0
 */
export class SnapshotStore extends Context.Service<SnapshotStore, {
  /** Stores a snapshot, in place of one with the same sequence number. */
  readonly save: (snapshot: Omit<EncodedSnapshot, "timestamp">) => Effect.Effect<void, StorageError>
  /** The one with the highest sequence number that meets the criteria. */
  readonly load: (
    persistenceId: PersistenceId,
    criteria: Criteria
  ) => Effect.Effect<Option.Option<EncodedSnapshot>, StorageError>
  /** The highest sequence number of a snapshot of each entity that has one. */
  readonly newest: (
    persistenceIds: ReadonlyArray<PersistenceId>
  ) => Effect.Effect<ReadonlyMap<PersistenceId, SequenceNumber>, StorageError>
  /** The snapshot with the highest sequence number of each entity that has one, in no particular order. */
  readonly loadNewest: (
    persistenceIds: ReadonlyArray<PersistenceId>
  ) => Effect.Effect<ReadonlyArray<EncodedSnapshot>, StorageError>
  /** The snapshots without their states, the newest first. */
  readonly list: (
    persistenceId: PersistenceId
  ) => Effect.Effect<ReadonlyArray<Ret.Kept>, StorageError>
  /** Removes those that meet the criteria. */
  readonly delete: (
    persistenceId: PersistenceId,
    criteria: Criteria
  ) => Effect.Effect<void, StorageError>
}>()("@sluice/core/SnapshotStore") {}

/**
 * Stores the state of an entity after the event with the sequence number, and removes the snapshots that the retention
 * does not keep; the two latest by default. Fails with `InvalidInput` as `Journal.append` does, also for metadata whose keys begin with `sluice.`.
 *
 * **Example** (Saving and loading)
 *
 * ```ts
 * import { MemoryStorage, SnapshotStore, StateType } from "@sluice/core"
 * import { Effect, Option, Schema } from "effect"
 *
 * const CartState = StateType.make("cart", { state: Schema.Struct({ items: Schema.Int }) })
 *
 * const program = Effect.gen(function*() {
 *   yield* SnapshotStore.save(CartState, { id: "c-17", sequenceNumber: 40, state: { items: 7 } })
 *   return yield* SnapshotStore.load(CartState, "c-17")
 * }).pipe(
 *   Effect.map(Option.map(({ sequenceNumber, state }) => ({ sequenceNumber, state }))),
 *   Effect.map(Option.getOrNull),
 *   Effect.provide(MemoryStorage.layer)
 * )
 * await Effect.runPromise(program) // => { sequenceNumber: 40, state: { items: 7 } }
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const save = Effect.fn("SnapshotStore.save")(function*<S>(stateType: StateType<S>, snapshot: {
  readonly id: string
  /** The number of the last event that the state includes. */
  readonly sequenceNumber: number
  readonly state: S
  readonly metadata?: Metadata | undefined
  readonly retention?: Retention | undefined
}) {
  const store = yield* SnapshotStore
  const persistenceId = yield* persistenceIdOf(stateType, snapshot.id)
  const payload = yield* Effect.try({
    try: () => encodeUnsafe(stateType.codec, persistenceId, snapshot.state),
    catch: (error) => error as EventCodec.EventEncodeError
  })
  const { metadata = {}, retention = Ret.latest(2), sequenceNumber } = snapshot
  const invalid = Check.safeInteger("sequence number", sequenceNumber) ?? Check.manifest(payload) ??
    Check.metadata(metadata) ?? Check.givenMetadata(metadata)
  if (invalid !== undefined) return yield* invalid
  yield* store.save({ persistenceId, sequenceNumber: sequenceNumber as SequenceNumber, payload, metadata })
  yield* retaining(store, persistenceId, retention)
})

const retaining = Effect.fnUntraced(function*(
  store: SnapshotStore["Service"],
  persistenceId: PersistenceId,
  retention: Retention
): Effect.fn.Return<void, StorageError> {
  for (const sequenceNumber of retention(yield* store.list(persistenceId))) {
    yield* store.delete(persistenceId, { minSequenceNumber: sequenceNumber, maxSequenceNumber: sequenceNumber })
  }
})

/**
 * Removes the snapshots of an entity that the retention does not keep, as {@link save} does.
 *
 * @category operations
 * @since 0.1.0
 */
export const retain = <S>(
  stateType: StateType<S>,
  id: string,
  retention: Retention
): Effect.Effect<void, InvalidInput | StorageError, SnapshotStore> =>
  SnapshotStore.use((store) => Effect.flatMap(persistenceIdOf(stateType, id), (id) => retaining(store, id, retention)))

/**
 * The latest snapshot of an entity that meets the criteria. Fails when it cannot be decoded. Then compute the
 * state from the events, and save it in the place of this one. Delete this one only if no consumer reads `Source.fromSnapshots`.
 *
 * @category operations
 * @since 0.1.0
 */
export const load = Effect.fn("SnapshotStore.load")(function*<S>(
  stateType: StateType<S>,
  id: string,
  criteria?: Criteria
): Effect.fn.Return<
  Option.Option<Snapshot<S>>,
  InvalidInput | StorageError | EventCodec.EventDecodeError,
  SnapshotStore
> {
  const store = yield* SnapshotStore
  const found = yield* store.load(yield* persistenceIdOf(stateType, id), yield* checked(criteria))
  if (Option.isNone(found)) return Option.none()
  const { payload, ...snapshot } = found.value
  const state = yield* Effect.try({
    try: () => decodeEnvelopeUnsafe(stateType.codec, snapshot, payload),
    catch: (error) => error as EventCodec.EventDecodeError
  })
  return Option.some({ ...snapshot, state })
})

/**
 * Removes the snapshots of an entity that meet the criteria; all of them if there are no criteria.
 *
 * @category operations
 * @since 0.1.0
 */
const remove = <S>(
  stateType: StateType<S>,
  id: string,
  criteria?: Criteria
): Effect.Effect<void, InvalidInput | StorageError, SnapshotStore> =>
  SnapshotStore.use((store) =>
    Effect.flatMap(
      persistenceIdOf(stateType, id),
      (id) => Effect.flatMap(checked(criteria), (criteria) => store.delete(id, criteria))
    )
  )

const checked = (criteria: Criteria = {}): Effect.Effect<Criteria, InvalidInput> => {
  for (const [name, bound] of Object.entries(criteria)) {
    const invalid = bound === undefined ? undefined : Check.safeInteger(name, bound)
    if (invalid !== undefined) return Effect.fail(invalid)
  }
  return Effect.succeed(criteria)
}

export { remove as delete }
