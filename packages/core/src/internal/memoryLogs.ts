/**
 * The slice log as plain data, in memory. Pure but for the arrays that it grows.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { EncodedEnvelope } from "../Envelope.ts"
import { type AppendRequest, JournalForked, type JournalReader, SequenceConflict, type Written } from "../Journal.ts"
import type { Offset, Offsets } from "../Offset.ts"
import type { PersistenceId } from "../PersistenceId.ts"
import type { Position } from "../Position.ts"
import type { SequenceNumber } from "../SequenceNumber.ts"
import * as Slice from "../Slice.ts"
import * as SliceRange from "../SliceRange.ts"
import type { Timestamp } from "../Timestamp.ts"

interface StoredEvent extends EncodedEnvelope {
  readonly id: string
  readonly entityType: string
  readonly position: Position
}

/** Every array is in the order of the commits. */
export interface Logs {
  readonly slices: Map<string, Array<StoredEvent>>
  readonly entities: Map<PersistenceId, Array<StoredEvent>>
  /** All events of an entity type; readers are indexes into it. */
  readonly timelines: Map<string, Array<StoredEvent>>
  readonly indexes: WeakMap<StoredEvent, number>
}

/** What an open transaction appends. */
export interface Draft {
  events: Array<StoredEvent>
}

export const makeLogs = (): Logs => ({
  slices: new Map(),
  entities: new Map(),
  timelines: new Map(),
  indexes: new WeakMap()
})

const grow = <K>(map: Map<K, Array<StoredEvent>>, key: K): Array<StoredEvent> => {
  let array = map.get(key)
  if (array === undefined) map.set(key, array = [])
  return array
}

const logOf = (logs: Logs, entityType: string, slice: Slice.Slice): Array<StoredEvent> =>
  logs.slices.get(`${slice} ${entityType}`) ?? []

const eventsOf = (logs: Logs, draft: Draft | undefined, persistenceId: PersistenceId): ReadonlyArray<StoredEvent> => [
  ...logs.entities.get(persistenceId) ?? [],
  ...draft?.events.filter((event) => event.persistenceId === persistenceId) ?? []
]

export const publish = (logs: Logs, draft: Draft): void => {
  for (const event of draft.events) {
    grow(logs.slices, `${event.slice} ${event.entityType}`).push(event)
    grow(logs.entities, event.persistenceId).push(event)
    logs.indexes.set(event, grow(logs.timelines, event.entityType).push(event) - 1)
  }
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
  const appended = events.map((event, i): StoredEvent => ({
    id: event.id,
    entityType,
    persistenceId,
    sequenceNumber: actual + i + 1 as SequenceNumber,
    slice,
    position: position + i + 1 as Position,
    timestamp: timestamp + i as Timestamp,
    tags: event.tags,
    metadata: event.metadata,
    payload: event.payload
  }))
  draft.events.push(...appended)
  return writtenAs(appended.at(-1)!, events.length)
}

const offsetOf = ({ position, timestamp }: StoredEvent): Offset => ({ position, timestamp })

export const heads = (logs: Logs, entityType: string, range: SliceRange.SliceRange): Offsets => {
  const found = new Map<Slice.Slice, Offset>()
  for (const slice of SliceRange.slices(range)) {
    const head = logOf(logs, entityType, slice).at(-1)
    if (head !== undefined) found.set(slice, offsetOf(head))
  }
  return found
}

export const forked = (
  logs: Logs,
  entityType: string,
  range: SliceRange.SliceRange,
  offsets: Offsets
): JournalForked | undefined => {
  for (const [slice, offset] of offsets) {
    if (!SliceRange.contains(range, slice) || offset.position === 0) continue
    const event = logOf(logs, entityType, slice)[offset.position - 1]
    if (event?.timestamp !== offset.timestamp) return new JournalForked({ entityType, slice, offset })
  }
  return undefined
}

export const reader = (
  logs: Logs,
  entityType: string,
  range: SliceRange.SliceRange,
  start: Offsets
): JournalReader => {
  const timeline = grow(logs.timelines, entityType)
  const isNew = ({ position, slice, timestamp }: StoredEvent): boolean => {
    const offset = start.get(slice)
    return offset === undefined || position > offset.position && (offset.position > 0 || timestamp >= offset.timestamp)
  }
  let cursor = timeline.length
  for (const slice of SliceRange.slices(range)) {
    const log = logOf(logs, entityType, slice)
    const position = start.get(slice)?.position ?? 0
    const first = position > 0 ? log[position] : log.find(isNew)
    if (first !== undefined) cursor = Math.min(cursor, logs.indexes.get(first)!)
  }
  return {
    next: (limit) =>
      Effect.sync(() => {
        const page: Array<EncodedEnvelope> = []
        while (cursor < timeline.length && page.length < limit) {
          const event = timeline[cursor++]!
          if (SliceRange.contains(range, event.slice) && isNew(event)) page.push(event)
        }
        return page
      })
  }
}

export const entity = (
  logs: Logs,
  draft: Draft | undefined,
  persistenceId: PersistenceId,
  from: SequenceNumber,
  to: SequenceNumber,
  limit: number
): ReadonlyArray<EncodedEnvelope> =>
  eventsOf(logs, draft, persistenceId)
    .filter(({ sequenceNumber }) => sequenceNumber >= from && sequenceNumber <= to)
    .slice(0, limit)
