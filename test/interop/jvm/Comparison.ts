/** What was written on one side and received on the other, event by event. */
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"

/** An event, and how it is to be received. */
export interface Written {
  readonly persistenceId: string
  readonly sequenceNumber: number
  readonly as: ReadonlyArray<string>
}

/** The persistence id, the sequence number, and how it was received, in the order of handling. */
export type Received = ReadonlyArray<string>

export interface Result {
  readonly appended: number
  readonly received: number
  /** Events in each of the four slice ranges. */
  readonly inRange: ReadonlyArray<number>
  readonly lost: number
  readonly doubled: number
  readonly reordered: number
  /** Received otherwise than written, such as another slice, timestamp, text or tags. */
  readonly different: number
}

const ranges = SliceRange.split(4)

/** Knows only what was written, and what was received in which order. An event that comes again may come at any time. */
export const compare = (written: ReadonlyArray<Written>, rows: ReadonlyArray<Received>): Result => {
  const first = new Map<string, Received>()
  const last = new Map<string, number>()
  let reordered = 0
  for (const row of rows) {
    const [persistenceId, seqNr] = row as [string, string]
    const key = `${persistenceId} ${seqNr}`
    if (first.has(key)) continue
    first.set(key, row)
    if (Number(seqNr) < (last.get(persistenceId) ?? 0)) reordered++
    last.set(persistenceId, Number(seqNr))
  }
  let lost = 0
  let different = 0
  for (const { as, persistenceId, sequenceNumber } of written) {
    const row = first.get(`${persistenceId} ${sequenceNumber}`)
    if (row === undefined) lost++
    else if (as.some((value, i) => value !== row[i + 2])) different++
  }
  return {
    appended: written.length,
    received: rows.length,
    inRange: ranges.map((range) =>
      rows.filter(([id]) => SliceRange.contains(range, Slice.ofPersistenceId(id as any))).length
    ),
    lost,
    doubled: rows.length - first.size,
    reordered,
    different
  }
}
