import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { EntityType } from "../../EntityType.ts"
import { encoded, type EncodedEnvelope, placeholder, sizeOf } from "../../Envelope.ts"
import * as EventCodec from "../../EventCodec.ts"
import { Journal, readEncoded } from "../../Journal.ts"
import type { Payload } from "../../Payload.ts"
import * as PersistenceId from "../../PersistenceId.ts"
import type { SequenceNumber } from "../../SequenceNumber.ts"
import type { SliceRange } from "../../SliceRange.ts"
import { type EncodedSnapshot, type Snapshot, SnapshotStore } from "../../SnapshotStore.ts"
import type { StateType } from "../../StateType.ts"
import type { StorageError } from "../../StorageError.ts"
import { messageOf } from "../messageOf.ts"
import { SnapshotNumbers } from "./SnapshotNumbers.ts"

/** A snapshot in the place of an event. Its codec decodes it, so that one that cannot be decoded is a poison event. */
class SnapshotPayload implements Payload {
  readonly manifest: string
  readonly bytes: Uint8Array
  readonly snapshot: EncodedSnapshot
  constructor(snapshot: EncodedSnapshot) {
    this.manifest = snapshot.payload.manifest
    this.bytes = snapshot.payload.bytes
    this.snapshot = snapshot
  }
}

/** An event whose place a snapshot had that was removed, after others were left out for it. It is a poison event. */
class SnapshotRemoved implements Payload {
  readonly manifest: string
  readonly bytes: Uint8Array
  constructor({ bytes, manifest }: Payload) {
    this.manifest = manifest
    this.bytes = bytes
  }
}

/** @internal Whether the payload is that of an event. */
export const isNoSnapshot = (payload: Payload): boolean =>
  !(payload instanceof SnapshotPayload || payload instanceof SnapshotRemoved)

const advice =
  "Earlier events of the entity were left out in its favour, and do not come by themselves if it is missing: " +
  "save a snapshot of this number or a later one, or rewind the reader"

/** @internal Reads events, and snapshots that are in the place of one. */
export const withSnapshots = <A, S, B>(
  entityType: EntityType<A>,
  stateType: StateType<S>,
  toEvent: (snapshot: Snapshot<S>) => B
): EventCodec.EventCodec<A | B> =>
  EventCodec.make<A | B>({
    name: entityType.codec.name,
    // a source only reads
    encode: (event) => entityType.codec.encodeUnsafe(event as A),
    decode: (payload) => {
      if (payload instanceof SnapshotRemoved) {
        throw new Error(`the snapshot in its place was removed while the journal was read. ${advice}`)
      }
      if (!(payload instanceof SnapshotPayload)) return entityType.codec.decodeUnsafe(payload)
      const { payload: bytes, ...snapshot } = payload.snapshot
      return toEvent({ ...snapshot, state: stateOf(stateType, bytes) })
    }
  })

const stateOf = <S>({ codec }: StateType<S>, payload: Payload): S => {
  try {
    return codec.decodeUnsafe(payload)
  } catch (cause) {
    const reason = messageOf(cause)
    throw new Error(`the snapshot in its place cannot be decoded: ${reason}. ${advice}`, { cause })
  }
}

/** The snapshots of a type, by the persistence ids of the entities, whose events may be of a type with another name. */
const snapshotsOf = (store: SnapshotStore["Service"], { name }: StateType<any>) => {
  const idOf = (entity: PersistenceId.PersistenceId) => {
    const id = `${name}|${PersistenceId.entityId(entity)}`
    // where the name of the state's type is longer, an id may be too long to have a snapshot
    return PersistenceId.is(id) ? id : undefined
  }
  const entitiesOf = (entities: Iterable<PersistenceId.PersistenceId>) => {
    const byId = new Map<PersistenceId.PersistenceId, PersistenceId.PersistenceId>()
    for (const entity of entities) {
      const id = idOf(entity)
      if (id !== undefined) byId.set(id, entity)
    }
    return byId
  }
  return {
    newest: (entities: Iterable<PersistenceId.PersistenceId>) => {
      const byId = entitiesOf(entities)
      return Effect.map(
        store.newest([...byId.keys()]),
        (numbers) => new Map(Array.from(numbers, ([id, number]) => [byId.get(id)!, number]))
      )
    },
    loadNewest: (entities: Iterable<PersistenceId.PersistenceId>) => {
      const byId = entitiesOf(entities)
      return Effect.map(
        store.loadNewest([...byId.keys()]),
        (snapshots) => new Map(snapshots.map((snapshot) => [byId.get(snapshot.persistenceId)!, snapshot]))
      )
    },
    upTo: (entity: PersistenceId.PersistenceId, maxSequenceNumber: SequenceNumber) => {
      const id = idOf(entity)
      return id === undefined ? Effect.succeedNone : store.load(id, { maxSequenceNumber })
    }
  }
}

/** So many snapshots are loaded at once while nothing is known of their size, and later on. */
const firstSnapshots = 16
const maxSnapshots = 64

const ofSnapshot = (event: EncodedEnvelope, snapshot: EncodedSnapshot): EncodedEnvelope =>
  encoded({ ...event, metadata: snapshot.metadata }, new SnapshotPayload(snapshot))

/** The place of an event that a snapshot includes. */
const included = (event: EncodedEnvelope): EncodedEnvelope =>
  event.payload === undefined ? event : encoded(placeholder(event), undefined)

/**
 * @internal
 * What becomes of the pages of a journal: the newest snapshot of an entity stands in the place of its event, and
 * placeholders in those of the events before. A page ends before the first snapshot that there is no room for.
 */
export const beginAtSnapshots = Effect.fnUntraced(function*(
  entityType: string,
  stateType: StateType<any>,
  range: SliceRange
) {
  const journal = yield* Journal
  const snapshots = snapshotsOf(yield* SnapshotStore, stateType)
  const numbers = new SnapshotNumbers(yield* journal.heads(entityType, range))
  /** What those that were loaded last had on average. */
  let averageBytes: number | undefined
  return Effect.fnUntraced(function*(page: ReadonlyArray<EncodedEnvelope>, maxBytes: number) {
    if (numbers.needsHeads(page)) numbers.raise(yield* journal.heads(entityType, range))
    const unknown = numbers.unknown(page)
    if (unknown.size > 0) numbers.learn(unknown, yield* snapshots.newest(unknown))
    const due = numbers.due(page)
    const loaded = new Map<PersistenceId.PersistenceId, EncodedSnapshot>()
    /** Those before it are due no longer, or are loaded. */
    let end = page.length
    if (due.size > 0) {
      const waiting = page.filter(({ persistenceId, sequenceNumber }) => due.get(persistenceId) === sequenceNumber)
      let bytes = 0
      let asked = 0
      while (asked < waiting.length && bytes < maxBytes) {
        const count = averageBytes === undefined
          ? firstSnapshots
          : Math.max(1, Math.min(maxSnapshots, Math.floor((maxBytes - bytes) / averageBytes)))
        const some = waiting.slice(asked, asked + count)
        const newest = yield* snapshots.loadNewest(some.map(({ persistenceId }) => persistenceId))
        let more = 0
        for (const [persistenceId, snapshot] of newest) {
          loaded.set(persistenceId, snapshot)
          more += sizeOf({ ...snapshot, tags: [] })
        }
        bytes += more
        asked += some.length
        averageBytes = more / some.length
      }
      const found = new Map<PersistenceId.PersistenceId, number>()
      for (const { persistenceId } of waiting.slice(0, asked)) {
        // there may be a newer one by now, or none, which is too late where earlier pages have left events out for it
        const newest = loaded.get(persistenceId)?.sequenceNumber ?? 0
        found.set(persistenceId, unknown.has(persistenceId) ? newest : Math.max(newest, due.get(persistenceId)!))
      }
      numbers.learn(found.keys(), found)
      if (asked < waiting.length) end = page.indexOf(waiting[asked]!)
    }
    const amended = page.slice(0, end).map((event) => {
      const number = numbers.notBefore(event)
      if (number === undefined) return event
      if (number > event.sequenceNumber) return included(event)
      const snapshot = loaded.get(event.persistenceId)
      if (snapshot?.sequenceNumber === number) return ofSnapshot(event, snapshot)
      return event.payload === undefined ? event : encoded(event, new SnapshotRemoved(event.payload))
    })
    numbers.forget()
    return amended
  })
})

/**
 * @internal
 * One entity's events up to a number, beginning at the newest snapshot up to there: a later one is not for whoever asks
 * for no more, who has the events after them.
 */
export const entityFromSnapshot = (
  stateType: StateType<any>,
  persistenceId: PersistenceId.PersistenceId,
  from: SequenceNumber,
  to: SequenceNumber
): Stream.Stream<EncodedEnvelope, StorageError, Journal | SnapshotStore> =>
  Stream.unwrap(Effect.gen(function*() {
    const found = yield* snapshotsOf(yield* SnapshotStore, stateType).upTo(persistenceId, to)
    const events = readEncoded(persistenceId, { from, to })
    if (Option.isNone(found) || found.value.sequenceNumber < from) return events
    const snapshot = found.value
    return Stream.map(events, (event) => {
      if (event.sequenceNumber > snapshot.sequenceNumber) return event
      return event.sequenceNumber < snapshot.sequenceNumber ? included(event) : ofSnapshot(event, snapshot)
    })
  }))
