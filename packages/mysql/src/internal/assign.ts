import type { AppendRequest, Written } from "@sluice/core/Journal"
import { SequenceConflict } from "@sluice/core/Journal"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import type { Timestamp } from "@sluice/core/Timestamp"
import type { Answer } from "@sluice/sql/adapter/AppendLane"
import * as Exit from "effect/Exit"

/** @internal What is read once the logs are locked. */
export interface Heads {
  /** The newest position and timestamp of each log that could be locked. */
  readonly logs: ReadonlyMap<number, { readonly position: number; readonly timestamp: number }>
  /** The last sequence number of each entity that has events. */
  readonly entities: ReadonlyMap<PersistenceId, number>
  /** Where events were written before, by their ids, for appends that may have been written. */
  readonly found: ReadonlyMap<string, Pick<Written, "sequenceNumber" | "position" | "timestamp">>
  readonly now: number
}

/** @internal A row to be inserted. */
export interface NewRow {
  readonly slice: number
  readonly position: number
  readonly timestamp: number
  readonly persistenceId: PersistenceId
  readonly sequenceNumber: number
  readonly event: AppendRequest["events"][number]
}

/** @internal The rows to write, and the answer to each append; undefined if its log is busy. */
export interface Assigned {
  readonly answers: ReadonlyArray<Answer | undefined>
  readonly rows: ReadonlyArray<NewRow>
  readonly moved: ReadonlyMap<number, { readonly position: number; readonly timestamp: number }>
}

/**
 * @internal
 * Checks the appends, and gives positions, sequence numbers and timestamps to those that are accepted. Pure.
 */
export const assign = (requests: ReadonlyArray<AppendRequest>, heads: Heads): Assigned => {
  const logs = new Map(heads.logs)
  const found = new Map(heads.found)
  const entities = new Map(heads.entities)
  const rows: Array<NewRow> = []
  const moved = new Map<number, { readonly position: number; readonly timestamp: number }>()
  const answers = requests.map((request): Answer | undefined => {
    const { events, expected, persistenceId } = request
    const slice = Slice.ofPersistenceId(persistenceId)
    const written = (at: Pick<Written, "sequenceNumber" | "position" | "timestamp">): Answer =>
      Exit.succeed({ persistenceId, slice, ...at, count: events.length })
    const head = logs.get(slice)
    if (head === undefined) return undefined
    const before = request.recheck ? found.get(events.at(-1)!.id) : undefined
    if (before !== undefined) return written(before)
    const actual = entities.get(persistenceId) ?? 0
    if (
      expected !== "any" && (expected === "exists" ? actual === 0 : actual !== (expected === "none" ? 0 : expected))
    ) {
      return Exit.fail(new SequenceConflict({ persistenceId, expected, actual: actual as SequenceNumber }))
    }
    let { position } = head
    let timestamp = Math.max(head.timestamp, heads.now - 1)
    let sequenceNumber = actual
    for (const event of events) {
      rows.push({
        slice,
        position: ++position,
        timestamp: ++timestamp,
        persistenceId,
        sequenceNumber: ++sequenceNumber,
        event
      })
    }
    logs.set(slice, { position, timestamp })
    moved.set(slice, { position, timestamp })
    entities.set(persistenceId, sequenceNumber)
    const last = {
      sequenceNumber: sequenceNumber as SequenceNumber,
      position: position as Position,
      timestamp: timestamp as Timestamp
    }
    // the same append may be in the batch twice
    if (request.recheck) found.set(events.at(-1)!.id, last)
    return written(last)
  })
  return { answers, rows, moved }
}
