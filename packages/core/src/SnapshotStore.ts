/**
 * States of entities as they were after some event, so that not all events have to be read to know the state.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Metadata } from "./Envelope.ts"
import * as EventCodec from "./EventCodec.ts"
import { decodeEnvelopeUnsafe } from "./internal/decodeEnvelope.ts"
import type { Payload } from "./Payload.ts"
import * as PersistenceId from "./PersistenceId.ts"
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
  readonly persistenceId: PersistenceId.PersistenceId
  /** Of the last event that the state includes. */
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
 * Which snapshots of an entity: those that meet all that is said, bounds included.
 *
 * @category models
 * @since 0.1.0
 */
export interface Criteria {
  readonly minSequenceNumber?: SequenceNumber | undefined
  readonly maxSequenceNumber?: SequenceNumber | undefined
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
    persistenceId: PersistenceId.PersistenceId,
    criteria: Criteria
  ) => Effect.Effect<Option.Option<EncodedSnapshot>, StorageError>
  /** The newest first, without what is in them. */
  readonly list: (
    persistenceId: PersistenceId.PersistenceId
  ) => Effect.Effect<ReadonlyArray<Ret.Kept>, StorageError>
  /** Removes those that meet the criteria. */
  readonly delete: (
    persistenceId: PersistenceId.PersistenceId,
    criteria: Criteria
  ) => Effect.Effect<void, StorageError>
}>()("@sluice/core/SnapshotStore") {}

/**
 * Stores the state of an entity after the event with the sequence number, and removes the snapshots that the retention
 * does not keep; the two latest by default.
 *
 * **Example** (Saving and loading)
 *
 * ```ts
 * import { MemoryStorage, SequenceNumber, SnapshotStore, StateType } from "@sluice/core"
 * import { Effect, Option, Schema } from "effect"
 *
 * const CartState = StateType.make("cart", { state: Schema.Struct({ items: Schema.Int }) })
 *
 * const program = Effect.gen(function*() {
 *   yield* SnapshotStore.save(CartState, { id: "c-17", sequenceNumber: SequenceNumber.make(40), state: { items: 7 } })
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
  readonly sequenceNumber: SequenceNumber
  readonly state: S
  readonly metadata?: Metadata | undefined
  readonly retention?: Retention | undefined
}) {
  const store = yield* SnapshotStore
  const persistenceId = PersistenceId.make(stateType.name, snapshot.id)
  const payload = yield* Effect.try({
    try: () => stateType.codec.encodeUnsafe(snapshot.state),
    catch: (cause) => new EventCodec.EventEncodeError({ persistenceId, cause })
  })
  const { metadata = {}, retention = Ret.latest(2), sequenceNumber } = snapshot
  yield* store.save({ persistenceId, sequenceNumber, payload, metadata })
  const kept = yield* store.list(persistenceId)
  for (const sequenceNumber of retention(kept)) {
    yield* store.delete(persistenceId, { minSequenceNumber: sequenceNumber, maxSequenceNumber: sequenceNumber })
  }
})

/**
 * The latest snapshot of an entity that meets the criteria. Fails when it cannot be decoded: it then may be deleted, and the
 * state be had from the events.
 *
 * @category operations
 * @since 0.1.0
 */
export const load = Effect.fn("SnapshotStore.load")(function*<S>(
  stateType: StateType<S>,
  id: string,
  criteria?: Criteria
): Effect.fn.Return<Option.Option<Snapshot<S>>, StorageError | EventCodec.EventDecodeError, SnapshotStore> {
  const store = yield* SnapshotStore
  const found = yield* store.load(PersistenceId.make(stateType.name, id), criteria ?? {})
  if (Option.isNone(found)) return Option.none()
  const { payload, ...snapshot } = found.value
  const state = yield* Effect.try({
    try: () => decodeEnvelopeUnsafe(stateType.codec, snapshot, payload),
    catch: (error) => error as EventCodec.EventDecodeError
  })
  return Option.some({ ...snapshot, state })
})

/**
 * Removes the snapshots of an entity that meet the criteria; all of them where there are none.
 *
 * @category operations
 * @since 0.1.0
 */
const remove = <S>(
  stateType: StateType<S>,
  id: string,
  criteria?: Criteria
): Effect.Effect<void, StorageError, SnapshotStore> =>
  SnapshotStore.use((store) => store.delete(PersistenceId.make(stateType.name, id), criteria ?? {}))

export { remove as delete }
