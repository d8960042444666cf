/**
 * The slice log as plain data, in memory. Pure but for the arrays that it grows.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { type EncodedEnvelope, nothing as noContent, sizeOf } from "../../Envelope.ts"
import * as Floor from "../../Floor.ts"
import {
  type AppendRequest,
  isPrunable,
  JournalForked,
  type JournalReader,
  maxPageBytes,
  OffsetBelowFloor,
  SequenceConflict,
  type Written,
  writtenEnvelopes
} from "../../Journal.ts"
import { LogCursor, type Verdict } from "../../LogCursor.ts"
import * as Offset from "../../Offset.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { Position } from "../../Position.ts"
import type { SequenceNumber } from "../../SequenceNumber.ts"
import * as Slice from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { Timestamp } from "../../Timestamp.ts"

interface StoredEvent extends EncodedEnvelope {
  readonly id: string
  readonly entityType: string
  readonly position: Position
  /** Whether the event was removed. Its place is left, which nobody sees. */
  removed?: boolean
}

/** Every array is in the order of the commits. */
export interface Logs {
  readonly slices: Map<string, Array<StoredEvent>>
  readonly entities: Map<PersistenceId, Array<StoredEvent>>
  /** All events of an entity type; readers are indexes into it. */
  readonly timelines: Map<string, Array<StoredEvent>>
  readonly indexes: WeakMap<StoredEvent, number>
  readonly floors: Map<string, Offset.Offset>
}

/** What an open transaction appends and empties. */
export interface Draft {
  events: Array<StoredEvent>
  readonly emptied: Map<PersistenceId, SequenceNumber>
}

const logKey = (entityType: string, slice: Slice.Slice): string => `${slice} ${entityType}`

export const makeLogs = (): Logs => ({
  slices: new Map(),
  entities: new Map(),
  timelines: new Map(),
  indexes: new WeakMap(),
  floors: new Map()
})

const grow = <K>(map: Map<K, Array<StoredEvent>>, key: K): Array<StoredEvent> => {
  let array = map.get(key)
  if (array === undefined) map.set(key, array = [])
  return array
}

const logOf = (logs: Logs, entityType: string, slice: Slice.Slice): Array<StoredEvent> =>
  logs.slices.get(logKey(entityType, slice)) ?? []

const eventsOf = (logs: Logs, draft: Draft | undefined, persistenceId: PersistenceId): ReadonlyArray<StoredEvent> => {
  const emptied = draft?.emptied.get(persistenceId) ?? 0
  return [
    ...logs.entities.get(persistenceId) ?? [],
    ...draft?.events.filter((event) => event.persistenceId === persistenceId) ?? []
  ].map((event) => event.sequenceNumber <= emptied ? { ...event, ...nothing } : event)
}

const nothing = { ...noContent, payload: undefined }

export const publish = (logs: Logs, draft: Draft): void => {
  for (const event of draft.events) {
    grow(logs.slices, logKey(event.entityType, event.slice)).push(event)
    grow(logs.entities, event.persistenceId).push(event)
    logs.indexes.set(event, grow(logs.timelines, event.entityType).push(event) - 1)
  }
  for (const [persistenceId, to] of draft.emptied) {
    for (const event of logs.entities.get(persistenceId) ?? []) {
      if (event.sequenceNumber <= to) Object.assign(event, nothing)
    }
  }
}

/** Empties an entity's events, once the draft is published. */
export const empty = (logs: Logs, draft: Draft, persistenceId: PersistenceId, to: SequenceNumber): void => {
  const last = eventsOf(logs, draft, persistenceId).at(-1)?.sequenceNumber ?? 0
  const emptied = Math.max(Math.min(to, last), draft.emptied.get(persistenceId) ?? 0)
  draft.emptied.set(persistenceId, emptied as SequenceNumber)
}

/** An event, once the draft is published. */
export const eventAt = (
  logs: Logs,
  draft: Draft | undefined,
  persistenceId: PersistenceId,
  sequenceNumber: SequenceNumber
): EncodedEnvelope | undefined =>
  eventsOf(logs, draft, persistenceId).find((event) => event.sequenceNumber === sequenceNumber)

/** Whether an event is deleted, or was removed, once the draft is published. */
export const isDeleted = (
  logs: Logs,
  draft: Draft,
  persistenceId: PersistenceId,
  sequenceNumber: SequenceNumber
): boolean => {
  const event = eventAt(logs, draft, persistenceId, sequenceNumber)
  return event !== undefined && event.payload === undefined
}

/** Whether an entity has events of replicas, once the draft is published. */
export const isReplicated = (logs: Logs, draft: Draft | undefined, persistenceId: PersistenceId): boolean =>
  eventsOf(logs, draft, persistenceId).some(({ replication }) => replication !== undefined)

/** Whether an entity type has. */
export const hasReplicated = (logs: Logs, entityType: string): boolean =>
  logs.timelines.get(entityType)?.some(({ replication }) => replication !== undefined) ?? false

/** The entities of a type. */
export const entitiesOf = (logs: Logs, entityType: string): ReadonlyArray<PersistenceId> => [
  ...new Set((logs.timelines.get(entityType) ?? []).map(({ persistenceId }) => persistenceId))
]

/** Removes the beginning of each log, but for its newest event and those of its entities, and those that are not included, where it is said which are. */
export const prune = (
  logs: Logs,
  entityType: string,
  before: Timestamp,
  upTo: Offset.Offsets | undefined,
  included: ReadonlyMap<PersistenceId, number> | undefined
): number => {
  let removed = 0
  for (const slice of SliceRange.slices(SliceRange.full)) {
    const log = logOf(logs, entityType, slice)
    const last = upTo === undefined ? Infinity : upTo.get(slice)?.position ?? 0
    const young = log.findIndex(({ position, timestamp }) => timestamp >= before || position > last)
    for (const event of log.slice(0, young < 0 ? -1 : Math.min(young, log.length - 1))) {
      const newest = logs.entities.get(event.persistenceId)!.at(-1)!
      const snapshot = included && (included.get(event.persistenceId) ?? 0)
      const { payload, sequenceNumber } = event
      if (
        event.removed ||
        !isPrunable({ sequenceNumber, isEmpty: payload === undefined }, newest.sequenceNumber, snapshot)
      ) {
        continue
      }
      Object.assign(event, nothing, { removed: true })
      // later ones may stay, and are there for whoever has read up to here
      const floor = logs.floors.get(logKey(entityType, slice))
      if ((floor?.position ?? 0) < event.position) logs.floors.set(logKey(entityType, slice), offsetOf(event))
      removed++
    }
  }
  return removed
}

export const floors = (logs: Logs, entityType: string, range: SliceRange.SliceRange): Offset.Offsets => {
  const found = new Map<Slice.Slice, Offset.Offset>()
  for (const slice of SliceRange.slices(range)) {
    const floor = logs.floors.get(logKey(entityType, slice))
    if (floor !== undefined) found.set(slice, floor)
  }
  return found
}

type Answer =
  | { readonly _tag: "Written"; readonly written: Written }
  | { readonly _tag: "Conflict"; readonly conflict: SequenceConflict }

const writtenAs = (last: StoredEvent, count: number): Answer => ({
  _tag: "Written",
  written: {
    persistenceId: last.persistenceId,
    slice: last.slice,
    sequenceNumber: last.sequenceNumber,
    position: last.position,
    timestamp: last.timestamp,
    count
  }
})

export const append = (logs: Logs, draft: Draft, request: AppendRequest, now: number): Answer => {
  const { entityType, events, expected, persistenceId } = request
  const known = eventsOf(logs, draft, persistenceId)
  if (request.recheck) {
    const last = known.find((event) => event.id === events.at(-1)!.id)
    if (last !== undefined) return writtenAs(last, events.length)
  }
  const actual = known.at(-1)?.sequenceNumber ?? 0 as SequenceNumber
  if (expected !== "any" && (expected === "exists" ? actual === 0 : actual !== (expected === "none" ? 0 : expected))) {
    return { _tag: "Conflict", conflict: new SequenceConflict({ persistenceId, expected, actual }) }
  }

  const slice = Slice.ofPersistenceId(persistenceId)
  const head = draft.events.findLast((event) => event.slice === slice && event.entityType === entityType) ??
    logOf(logs, entityType, slice).at(-1)
  const position = head?.position ?? 0
  const timestamp = Math.max((head?.timestamp ?? 0) + 1, now)
  const count = events.length
  const written: Written = {
    persistenceId,
    slice,
    sequenceNumber: actual + count as SequenceNumber,
    position: position + count as Position,
    timestamp: timestamp + count - 1 as Timestamp,
    count
  }
  writtenEnvelopes(request, written).forEach((envelope, i) => {
    draft.events.push({ ...envelope as EncodedEnvelope & { position: Position }, id: events[i]!.id, entityType })
  })
  return { _tag: "Written", written }
}

const offsetOf = ({ position, timestamp }: StoredEvent): Offset.Offset => ({ position, timestamp })

export const heads = (logs: Logs, entityType: string, range: SliceRange.SliceRange): Offset.Offsets => {
  const found = new Map<Slice.Slice, Offset.Offset>()
  for (const slice of SliceRange.slices(range)) {
    const head = logOf(logs, entityType, slice).at(-1)
    if (head !== undefined) found.set(slice, offsetOf(head))
  }
  return found
}

/** The last event of each log that is older than a time. */
export const before = (
  logs: Logs,
  entityType: string,
  range: SliceRange.SliceRange,
  time: Timestamp
): Offset.Offsets => {
  const found = new Map<Slice.Slice, Offset.Offset>()
  for (const slice of SliceRange.slices(range)) {
    const floor = logs.floors.get(logKey(entityType, slice))
    const last = logOf(logs, entityType, slice).findLast(({ timestamp }) => timestamp < time)
    if (floor !== undefined && floor.timestamp >= time) found.set(slice, Offset.make(0, time))
    else if (last !== undefined) found.set(slice, offsetOf(last))
  }
  return found
}

/** The error of a reader that cannot begin at the offsets, if there is one. */
export const wrong = (
  logs: Logs,
  entityType: string,
  range: SliceRange.SliceRange,
  start: Offset.Offsets
): JournalForked | OffsetBelowFloor | undefined =>
  Floor.check({
    entityType,
    range,
    start,
    floors: floors(logs, entityType, range),
    timestampAt: (slice, position) => logOf(logs, entityType, slice)[position - 1]?.timestamp
  })

export const reader = (
  logs: Logs,
  entityType: string,
  range: SliceRange.SliceRange,
  start: Offset.Offsets
): JournalReader => {
  const timeline = grow(logs.timelines, entityType)
  const cursor = new LogCursor(range, start)
  /** The index of the next event to look at. */
  let index = timeline.length
  for (const slice of SliceRange.slices(range)) {
    const log = logOf(logs, entityType, slice)
    const next = cursor.next(slice)
    const first = next === undefined
      ? log.find(({ timestamp }) => timestamp >= cursor.since(slice))
      : log[next - 1]
    if (first !== undefined) index = Math.min(index, logs.indexes.get(first)!)
  }
  /** What the reader fails with at an event that was not delivered. */
  const wrongAt = (slice: Slice.Slice, verdict: Verdict): JournalForked | OffsetBelowFloor | undefined => {
    if (verdict === "fork") return new JournalForked({ entityType, slice, offset: cursor.offset(slice) })
    const floor = logs.floors.get(logKey(entityType, slice))
    if (floor === undefined) return undefined
    const offset = cursor.offset(slice)
    return Floor.isBelow(offset, floor) ? new OffsetBelowFloor({ entityType, slice, offset, floor }) : undefined
  }
  return {
    next: (limit) =>
      Effect.suspend(() => {
        const page: Array<EncodedEnvelope> = []
        let bytes = 0
        while (index < timeline.length && page.length < limit && bytes < maxPageBytes) {
          const event = timeline[index]!
          const { position, slice, timestamp } = event
          const verdict = SliceRange.contains(range, slice)
            ? cursor.verdict(slice, position, timestamp)
            : "alreadyDelivered"
          if (verdict !== "alreadyDelivered") {
            const wrong = wrongAt(slice, verdict)
            // the events before it are delivered first
            if (wrong !== undefined) return page.length > 0 ? Effect.succeed(page) : Effect.fail(wrong)
            cursor.moveTo(slice, position, timestamp)
            page.push(event)
            bytes += sizeOf(event)
          }
          index++
        }
        return Effect.succeed(page)
      }),
    pass: (events) => {
      for (const { position, slice, timestamp } of events) {
        if (SliceRange.contains(range, slice)) cursor.take(slice, position!, timestamp)
      }
    }
  }
}

export const entity = (
  logs: Logs,
  draft: Draft | undefined,
  persistenceId: PersistenceId,
  from: SequenceNumber,
  to: SequenceNumber,
  limit: number
): ReadonlyArray<EncodedEnvelope> => {
  const page: Array<EncodedEnvelope> = []
  let bytes = 0
  for (const event of eventsOf(logs, draft, persistenceId)) {
    if (event.removed || event.sequenceNumber < from) continue
    if (event.sequenceNumber > to || page.length === limit || bytes >= maxPageBytes) break
    page.push(event)
    bytes += sizeOf(event)
  }
  return page
}
