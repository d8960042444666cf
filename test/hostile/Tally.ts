/**
 * Counts what went wrong, from the rows of the journal's table and what the workers said. It knows nothing of how that came about.
 */
import * as Slice from "@sluice/core/Slice"
import { appenderOf, type Event } from "./contract.ts"
import type { Floors } from "./Server.ts"

/** What the workers have said. */
export interface Ledger {
  /** The events of each acknowledged append, in the order of the acknowledgements. */
  readonly acknowledged: ReadonlyArray<ReadonlyArray<Event>>
  /** The contents of events that were rolled back or refused. */
  readonly refused: ReadonlyArray<string>
  readonly tails: ReadonlyArray<Tail>
}

export interface Tail {
  /** What it has read. */
  readonly seen: ReadonlyArray<Event>
  /** The positions that it began after; each log's beginning by default. */
  readonly start?: Floors | undefined
  /** Whether it had the time to read everything. */
  readonly isComplete: boolean
}

export interface Tally {
  /** Events in the journal, those of them whose append was acknowledged, and those that were deleted since. */
  readonly appended: number
  readonly acknowledged: number
  readonly deleted: number
  /** Acknowledged, but not in the journal. */
  readonly lost: number
  /** In the journal more than once. */
  readonly doubled: number
  /** Appended by one appender after another event of the same log, and standing before it. */
  readonly reordered: number
  /** At another place than the acknowledgement says. */
  readonly misplaced: number
  /** Refused or rolled back, and in the journal all the same. */
  readonly ghosts: number
  /** A position or a sequence number that is not the one before it plus one. */
  readonly holes: number
  /** A timestamp that is not greater than the one before it in its log. */
  readonly backwards: number
  /** The newest event of an entity, and deleted all the same. */
  readonly vanished: number
  /** In the journal, but not seen by a tail. */
  readonly unseen: number
  /** Seen by a tail again, in another order, or where it does not stand. */
  readonly misread: number
  /** The first of those, in words. */
  readonly firstMisread: string
}

/** `left` are the rows that there are, in the order of (slice, position). */
export const count = (
  left: ReadonlyArray<Event>,
  floors: Floors,
  { acknowledged, refused, tails }: Ledger
): Tally => {
  const rows = restore(left, floors, tails)
  const newestLeft = newest(left)
  const byContent = new Map<string, Event>()
  let doubled = 0
  for (const row of rows) {
    if (byContent.has(row[4])) doubled++
    byContent.set(row[4], row)
  }

  let lost = 0
  let misplaced = 0
  let reordered = 0
  const last = new Map<string, number>()
  for (const event of acknowledged.flat()) {
    const row = byContent.get(event[4])
    if (row === undefined) lost++
    else if (!isSame(row, event)) misplaced++
    // an appender waits for each acknowledgement before its next append
    const key = `${appenderOf(event[4])} ${Slice.ofPersistenceId(event[0])}`
    if (event[2] <= (last.get(key) ?? 0)) reordered++
    last.set(key, event[2])
  }

  return {
    appended: rows.length,
    acknowledged: acknowledged.reduce((sum, events) => sum + events.length, 0),
    deleted: rows.length - left.filter((row) => row[4] !== "").length,
    lost,
    doubled,
    reordered,
    misplaced,
    ghosts: refused.filter((content) => byContent.has(content)).length,
    ...places(rows),
    vanished: [...newest(rows)].filter((place) => !newestLeft.has(place)).length,
    ...readings(rows, left, tails)
  }
}

/** The rows as they were before some were removed or emptied: that is what tails have seen, who were there in time. */
const restore = (left: ReadonlyArray<Event>, floors: Floors, tails: Ledger["tails"]): ReadonlyArray<Event> => {
  const byPlace = new Map(left.map((row) => [placeOf(row), row]))
  for (const event of tails.flatMap(({ seen }) => seen)) {
    const row = byPlace.get(placeOf(event))
    const isDeleted = row === undefined
      ? event[2] <= (floors.get(Slice.ofPersistenceId(event[0]))?.position ?? 0)
      : row[4] === "" && isSame(row, [...event.slice(0, 4), ""] as any)
    if (isDeleted) byPlace.set(placeOf(event), event)
  }
  return [...byPlace.values()].toSorted((a, b) =>
    Slice.ofPersistenceId(a[0]) - Slice.ofPersistenceId(b[0]) || a[2] - b[2]
  )
}

/** The place of each entity's newest event. */
const newest = (rows: ReadonlyArray<Event>): Set<string> =>
  new Set(new Map(rows.map((row) => [row[0], placeOf(row)])).values())

const isSame = (a: Event, b: Event): boolean => a.every((value, i) => value === b[i])

/** What the rows show by themselves. */
const places = (rows: ReadonlyArray<Event>): Pick<Tally, "holes" | "backwards"> => {
  let holes = 0
  let backwards = 0
  const logs = new Map<number, Event>()
  const entities = new Map<string, Array<number>>()
  for (const row of rows) {
    const slice = Slice.ofPersistenceId(row[0])
    const before = logs.get(slice)
    if (row[2] !== (before?.[2] ?? 0) + 1) holes++
    if (row[3] <= (before?.[3] ?? 0)) backwards++
    logs.set(slice, row)
    const numbers = entities.get(row[0])
    if (numbers === undefined) entities.set(row[0], [row[1]])
    else numbers.push(row[1])
  }
  // in the order of the log, an entity's events are numbered as they come
  for (const numbers of entities.values()) {
    numbers.forEach((number, i) => {
      if (number !== i + 1) holes++
    })
  }
  return { holes, backwards }
}

const readings = (
  rows: ReadonlyArray<Event>,
  left: ReadonlyArray<Event>,
  tails: Ledger["tails"]
): Pick<Tally, "unseen" | "misread" | "firstMisread"> => {
  const byPlace = new Map(rows.map((row) => [placeOf(row), row]))
  const emptied = new Map(left.filter((row) => row[4] === "").map((row) => [placeOf(row), row]))
  let unseen = 0
  let misread = 0
  let firstMisread = ""
  for (const { isComplete, seen, start = new Map() } of tails) {
    const logs = new Map(Array.from(start, ([slice, { position }]) => [slice, position]))
    const found = new Set<string>()
    for (const event of seen) {
      const slice = Slice.ofPersistenceId(event[0])
      const row = event[4] === "" ? emptied.get(placeOf(event)) : byPlace.get(placeOf(event))
      if (event[2] !== (logs.get(slice) ?? 0) + 1 || row === undefined || !isSame(row, event)) {
        misread++
        firstMisread ||= `${JSON.stringify(event)} after ${logs.get(slice)} where the table has ${JSON.stringify(row)}`
      }
      logs.set(slice, event[2])
      found.add(placeOf(event))
    }
    const isBelow = (row: Event) => row[2] <= (start.get(Slice.ofPersistenceId(row[0]))?.position ?? 0)
    if (isComplete) unseen += rows.filter((row) => !found.has(placeOf(row)) && !isBelow(row)).length
  }
  return { unseen, misread, firstMisread }
}

const placeOf = (event: Event): string => `${Slice.ofPersistenceId(event[0])} ${event[2]}`

/** The counts that are not 0 though they have to be. */
export const describe = ({ firstMisread, ...tally }: Tally): ReadonlyArray<string> => [
  ...Object.entries({ ...tally, acknowledged: 0, appended: 0, deleted: 0 })
    .filter(([, n]) => n !== 0).map(([what, n]) => `${n} ${what}`),
  ...(firstMisread === "" ? [] : [`misread: ${firstMisread}`])
]
