/**
 * Reads a journal on: in windows of time as long as there is much to read, and at the end log by log, where there is something new.
 * A reader by time reads logs by themselves only if one page holds all that they have, in the order of its timestamps.
 *
 * A window could show an event of a log before its predecessor, which may have been committed after the window was read and have a
 * smaller timestamp than the window's end. So windows end at heads that were read before: up to its head, a log is complete. The
 * positions prove it: each event follows the one before it in its log, or that log is read by itself.
 *
 * @since 0.1.0
 */
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { type Journal, JournalForked, type JournalReader, type OffsetBelowFloor } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { JournalDialect, TimeCursor } from "./JournalDialect.ts"
import * as LogGap from "./LogGap.ts"
import { fromSqlError } from "./SqlStorageError.ts"
import type { StorageSignals } from "./StorageSignals.ts"

/** How many logs are read by themselves at a time. */
const maxLogs = 256
/** What reading fails with. */
type ReadError = SqlError | StorageError | JournalForked | OffsetBelowFloor

/** With so many pages to come they are read in windows of time. */
const manyPages = 4

/**
 * A reader of an entity type's logs in a range of slices, from `start` on.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: {
  readonly dialect: Pick<JournalDialect, "heads" | "timestamps" | "byTime" | "bySlices">
  readonly deletion: Pick<Journal["Service"], "floors">
  /** Fails when one of the offsets is not in the journal any more. */
  readonly verify: (offsets: Offset.Offsets) => Effect.Effect<void, JournalForked | OffsetBelowFloor | StorageError>
  readonly signals: StorageSignals
  readonly entityType: string
  readonly range: SliceRange.SliceRange
  readonly start: Offset.Offsets
  /** As `ReaderOptions` of the journal. */
  readonly byTime: boolean
}): JournalReader => {
  const { byTime, deletion, dialect, entityType, range, signals, start, verify } = options
  /** The last position read of each log; -1 where that is not known yet, as reading begins at a time. */
  const read = new Float64Array(Slice.count)
  /** The timestamp of the last event read of each log. */
  const times = new Float64Array(Slice.count)
  /** The time at which reading begins in each log. */
  const from = new Float64Array(Slice.count)
  for (const [slice, { position, timestamp }] of start) {
    read[slice] = position
    times[slice] = timestamp
    if (position > 0 || timestamp === 0 || !SliceRange.contains(range, slice)) continue
    read[slice] = -1
    from[slice] = timestamp
  }
  const marks = signals.events.marks(entityType)
  const seen = new Float64Array(Slice.count)
  let probed = false
  let wasAtEnd = false
  /** Logs that have more, or may have. */
  const behind = new Set<Slice.Slice>()
  let window: { readonly after: TimeCursor; readonly heads: Offset.Offsets; readonly end: number } | undefined

  /** What was read is gone, and others are in its places, or none. */
  let fork: JournalForked | undefined
  const forked = (slice: Slice.Slice): JournalForked =>
    fork ??= new JournalForked({ entityType, slice, offset: Offset.make(read[slice]!, times[slice]!) })
  /** Timestamps rise with the positions of a log, so none is at two of them, and none moves. */
  const compare = (slice: Slice.Slice, { position, timestamp }: Offset.Offset): void => {
    const last = read[slice]!
    if (last <= 0) return
    const time = times[slice]!
    const fits = position > last ? timestamp > time : position < last ? timestamp < time : timestamp === time
    if (!fits) forked(slice)
  }
  const compareEvent = ({ position, slice, timestamp }: EncodedEnvelope) =>
    compare(slice, Offset.make(position!, timestamp))

  /** Whether what was read last of the logs is still there. */
  const verifyLast = (slices: ReadonlyArray<Slice.Slice>): Effect.Effect<void, ReadError> => {
    const known = new Map(
      slices.flatMap((slice) => read[slice]! > 0 ? [[slice, Offset.make(read[slice]!, times[slice]!)] as const] : [])
    )
    if (known.size === 0) return Effect.void
    return Effect.flatMap(
      dialect.timestamps(entityType, Array.from(known, ([slice, { position }]) => [slice, position] as const)),
      (found) =>
        [...known].every(([slice, { timestamp }]) => found.get(slice) === timestamp) ? Effect.void : verify(known)
    )
  }

  /** Whether the event is the next of its log, which it then goes past. */
  const isNext = ({ position, slice, timestamp }: EncodedEnvelope): boolean => {
    if (read[slice] !== -1 && position !== read[slice]! + 1) return false
    read[slice] = position!
    times[slice] = timestamp
    return true
  }
  const isAsked = ({ slice, timestamp }: EncodedEnvelope): boolean => timestamp >= from[slice]!

  const readWindow = (limit: number): Effect.Effect<ReadonlyArray<EncodedEnvelope>, ReadError> => {
    const { after, end, heads } = window!
    return Effect.flatMap(dialect.byTime(entityType, range, after, limit), (rows) => {
      const page = rows.filter((row) => {
        compareEvent(row)
        const head = heads.get(row.slice)
        if (head === undefined || row.position! > head.position || row.position! <= read[row.slice]!) return false
        if (!isAsked(row)) return false
        if (isNext(row)) return true
        // its log is read by itself
        behind.add(row.slice)
        return false
      })
      const last = rows.at(-1)
      if (last === undefined || last.timestamp > end) {
        for (const [slice, head] of heads) if (read[slice]! < head.position) behind.add(slice)
        window = undefined
      } else {
        window = { after: { timestamp: last.timestamp, slice: last.slice }, heads, end }
      }
      if (fork !== undefined) return Effect.fail(fork)
      return page.length > 0 ? Effect.succeed(page) : next(limit)
    })
  }

  const gap = (event: EncodedEnvelope, last: number) =>
    Effect.flatMap(
      deletion.floors(entityType, SliceRange.make(event.slice, event.slice)),
      (floors) => Effect.fail(LogGap.error({ entityType, last, event, floor: floors.get(event.slice) }))
    )

  const readLogs = (limit: number): Effect.Effect<ReadonlyArray<EncodedEnvelope>, ReadError> => {
    if (byTime && 2 * behind.size > limit) return probe(limit)
    const slices = [...behind].slice(0, Math.min(maxLogs, limit))
    const each = Math.floor(limit / slices.length)
    return Effect.flatMap(
      // at the end, what is new has to follow what was read a while ago
      Effect.map(
        Effect.all([
          dialect.bySlices(entityType, slices.map((slice) => [slice, read[slice]!] as const), each),
          wasAtEnd ? verifyLast(slices) : Effect.void
        ], { concurrency: 2 }),
        ([page]) => page
      ),
      ({ events: rows, isFull }) => {
        const counts = new Map<Slice.Slice, number>()
        const page: Array<EncodedEnvelope> = []
        for (const row of rows) {
          compareEvent(row)
          if (fork !== undefined) return Effect.fail(fork)
          const count = counts.get(row.slice) ?? 0
          counts.set(row.slice, count + 1)
          // the first of a log is what comes next in it, or something is missing
          if (count === 0 && row.position! > read[row.slice]! + 1) return gap(row, read[row.slice]!)
        }
        const isAll = !isFull && behind.size === slices.length && slices.every((_) => (counts.get(_) ?? 0) < each)
        if (byTime && !isAll) {
          return probe(limit)
        }
        for (const row of rows) {
          // passed meanwhile
          if (row.position! <= read[row.slice]!) continue
          if (!isNext(row)) {
            // what is before it comes with the next page
            if (isFull) continue
            return gap(row, read[row.slice]!)
          }
          if (isAsked(row)) page.push(row)
        }
        for (const slice of isFull ? [] : slices) if ((counts.get(slice) ?? 0) < each) behind.delete(slice)
        return page.length > 0 ? Effect.succeed(page) : next(limit)
      }
    )
  }

  /** Finds out where there is something new, and how much. */
  const probe = (limit: number): Effect.Effect<ReadonlyArray<EncodedEnvelope>, ReadError> => {
    // others may go on meanwhile
    const before = read.slice()
    return Effect.flatMap(dialect.heads(entityType, range), (heads) => {
      let events = 0
      let end = 0
      behind.clear()
      for (const slice of SliceRange.slices(range)) {
        const head = heads.get(slice)
        if (head !== undefined) compare(slice, head)
        if ((head?.position ?? 0) < before[slice]!) forked(slice)
        if (fork !== undefined) return Effect.fail(fork)
        if (read[slice] === -1 && (head === undefined || head.timestamp < from[slice]!)) {
          read[slice] = head?.position ?? 0
          times[slice] = head?.timestamp ?? 0
          // what is yet to be committed may be older, and is asked for all the same
          if (byTime) from[slice] = 0
        }
        if (head === undefined || head.position <= read[slice]!) continue
        behind.add(slice)
        events += head.position - Math.max(0, read[slice]!)
        end = Math.max(end, head.timestamp)
      }
      wasAtEnd = behind.size === 0
      if (behind.size === 0) return Effect.succeed([])
      // where these begin is not known, but when
      const fromTime = [...behind].filter((slice) => read[slice] === -1)
      if (!byTime && fromTime.length === 0 && events < manyPages * limit) return readLogs(limit)
      const firsts = [...behind].filter((slice) => read[slice] !== -1)
        .map((slice) => [slice, read[slice]! + 1] as const)
      return Effect.flatMap(timestampsOf(firsts), (timestamps) => {
        behind.clear()
        const timestamp = Math.min(...timestamps, ...fromTime.map((slice) => from[slice]!))
        if (timestamp === Infinity) return Effect.succeed([])
        window = { after: { timestamp, slice: -1 }, heads, end }
        return readWindow(limit)
      })
    })
  }

  /** When the events were appended that come next in logs that have more. Fails when they are not there. */
  const timestampsOf = (
    places: ReadonlyArray<readonly [Slice.Slice, number]>
  ): Effect.Effect<ReadonlyArray<number>, ReadError> =>
    places.length === 0 ? Effect.succeed([]) : Effect.flatMap(dialect.timestamps(entityType, places), (found) => {
      const missing = places.filter(([slice]) => !found.has(slice)).slice(0, maxLogs)
      if (missing.length === 0) return Effect.succeed([...found.values()])
      return Effect.flatMap(
        dialect.bySlices(entityType, missing.map(([slice, position]) => [slice, position - 1] as const), 1),
        ({ events: rows }) => {
          const torn = rows.find(({ position, slice }) => position! > read[slice]! + 1)
          return torn === undefined ? Effect.succeed([...found.values()]) : gap(torn, read[torn.slice]!)
        }
      )
    })

  const next = (limit: number): Effect.Effect<ReadonlyArray<EncodedEnvelope>, ReadError> => {
    if (fork !== undefined) return Effect.fail(fork)
    if (window !== undefined) return readWindow(limit)
    let signalled = 0
    for (let slice = range.min as number; slice <= range.max; slice++) {
      if (seen[slice] === marks[slice]) continue
      seen[slice] = marks[slice]!
      signalled++
      behind.add(slice as Slice.Slice)
    }
    if (!probed || signalled > maxLogs || signalled > 0 && read.includes(-1)) {
      probed = true
      return probe(limit)
    }
    if (behind.size > 0) return readLogs(limit)
    wasAtEnd = true
    return Effect.succeed([])
  }

  /** What was read before the page under way. */
  const readBefore = new Float64Array(Slice.count)
  const timesBefore = new Float64Array(Slice.count)

  /** A database that was away may have come back as another, which lacks what it had acknowledged. */
  const verified = Effect.suspend(() => {
    const connection = signals.reconnections()
    if (connection === verifiedIn) return Effect.void
    const offsets = new Map<Slice.Slice, Offset.Offset>()
    for (const slice of SliceRange.slices(range)) {
      if (readBefore[slice]! > 0) offsets.set(slice, Offset.make(readBefore[slice]!, timesBefore[slice]!))
    }
    return Effect.andThen(
      verify(offsets),
      Effect.sync(() => {
        verifiedIn = connection
      })
    )
  })
  let verifiedIn = signals.reconnections()

  /** A page, and proof that it follows what was read before. */
  const page = (limit: number) =>
    Effect.suspend(() => {
      readBefore.set(read)
      timesBefore.set(times)
      // also if it is another database since the page was asked for
      return Effect.tap(Effect.andThen(verified, Effect.suspend(() => next(limit))), () => verified)
    })

  return {
    next: (limit) =>
      Effect.mapError(
        page(limit),
        (error) => error._tag === "SqlError" ? fromSqlError("read the journal")(error) : error
      ),
    pass: (events) => {
      const passed = new Map<Slice.Slice, boolean>()
      for (const event of events) {
        compareEvent(event)
        const isRead = read[event.slice] !== -1 && (event.position! <= read[event.slice]! || isNext(event))
        passed.set(event.slice, isRead && passed.get(event.slice) !== false)
      }
      // the signal that told of them tells nothing new; a signal from others still does
      for (const [slice, isRead] of passed) if (isRead && probed) seen[slice]!++
    }
  }
}
