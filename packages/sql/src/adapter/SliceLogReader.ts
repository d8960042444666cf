/**
 * Reads a journal. While there is much to read it reads in windows of time. At the end it reads log by log, those that
 * have new events. A reader by time does so only if one page holds all of their new events, in the order of the
 * timestamps.
 *
 * A window could show an event before its predecessor in the log: the predecessor may be committed after the window was
 * read, with a smaller timestamp than the window's end. So windows end at heads that were read before, up to which each
 * log is complete. The positions prove it. If an event does not follow the one before it in its log, that log is read
 * by itself.
 *
 * @since 0.1.0
 */
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { Journal, JournalForked, JournalReader, OffsetBelowFloor } from "@sluice/core/Journal"
import { LogCursor } from "@sluice/core/LogCursor"
import type { Offsets } from "@sluice/core/Offset"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { lastRead, type Places, SliceLogPlan } from "../internal/SliceLogPlan.ts"
import type { JournalDialect } from "./JournalDialect.ts"
import * as ReadOutcome from "./ReadOutcome.ts"
import { fromSqlError } from "./SqlStorageError.ts"
import type { StorageSignals } from "./StorageSignals.ts"

/** How many events that are missing are looked for at a time. */
const maxMissing = 256

/** The errors of reading. */
type ReadError = SqlError | StorageError | JournalForked | OffsetBelowFloor

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
  readonly verify: (offsets: Offsets) => Effect.Effect<void, JournalForked | OffsetBelowFloor | StorageError>
  readonly signals: StorageSignals
  readonly entityType: string
  readonly range: SliceRange.SliceRange
  readonly start: Offsets
  /** As `ReaderOptions` of the journal. */
  readonly byTime: boolean
}): JournalReader => {
  const { byTime, deletion, dialect, entityType, range, signals, start, verify } = options
  const plan = new SliceLogPlan({ range, start, byTime, marks: signals.events.marks(entityType) })

  const { forked, gap, settle } = ReadOutcome.settling(entityType, (range) => deletion.floors(entityType, range))

  /** Fails unless the last event that was read of each log is still there. */
  const verifyLast = (last: Offsets): Effect.Effect<void, ReadError> =>
    last.size === 0 ? Effect.void : Effect.flatMap(
      dialect.timestamps(entityType, Array.from(last, ([slice, { position }]) => [slice, position] as const)),
      (found) =>
        [...last].every(([slice, { timestamp }]) => found.get(slice) === timestamp) ? Effect.void : verify(last)
    )

  /** The timestamps of the events at the places. Fails if one is missing, and others come after it. */
  const timestampsAt = (places: Places): Effect.Effect<ReadonlyArray<number>, ReadError> =>
    Effect.flatMap(dialect.timestamps(entityType, places), (found) => {
      const missing = places.filter(([slice]) => !found.has(slice)).slice(0, maxMissing)
      if (missing.length === 0) return Effect.succeed([...found.values()])
      const after = missing.map(([slice, position]) => [slice, position - 1] as const)
      return Effect.flatMap(dialect.bySlices(entityType, after, 1), ({ events }) => {
        const torn = events.find(({ position, slice }) => position! > plan.cursor.next(slice)!)
        return torn === undefined ? Effect.succeed([...found.values()]) : gap(torn, plan.cursor.offset(torn.slice))
      })
    })

  const next = (limit: number): Effect.Effect<ReadonlyArray<EncodedEnvelope>, ReadError> => {
    const read = plan.next(limit)
    const readOn = () => next(limit)
    switch (read._tag) {
      case "Fork":
        return forked(read)
      case "Nothing":
        return Effect.succeed([])
      case "Heads":
        return Effect.flatMap(dialect.heads(entityType, range), (heads) => settle(plan.heads(heads, limit), readOn))
      case "Firsts":
        return Effect.flatMap(timestampsAt(read.places), (timestamps) => settle(plan.firsts(timestamps), readOn))
      case "Window":
        return Effect.flatMap(
          dialect.byTime(entityType, range, read.after, limit),
          (rows) => settle(plan.window(rows), readOn)
        )
      case "Logs":
        return Effect.flatMap(
          Effect.all([dialect.bySlices(entityType, read.after, read.each), verifyLast(read.last)], { concurrency: 2 }),
          ([page]) => settle(plan.logs(read, page), readOn)
        )
    }
  }

  /** Where the cursor was before the page under way. */
  const before = new LogCursor(range, start)
  let verifiedIn = signals.reconnections()

  /** After an outage the address may lead to another database, which lacks acknowledged events. */
  const verified = Effect.suspend(() => {
    const connection = signals.reconnections()
    return connection === verifiedIn ? Effect.void : Effect.andThen(
      verify(lastRead(before, SliceRange.slices(range))),
      Effect.sync(() => {
        verifiedIn = connection
      })
    )
  })

  /** Reads a page, and checks that it follows the events that were read before. */
  const page = (limit: number) =>
    Effect.suspend(() => {
      before.set(plan.cursor)
      // afterwards as well, as it may be another database since the page was asked for
      return Effect.tap(Effect.andThen(verified, Effect.suspend(() => next(limit))), () => verified)
    })

  return {
    next: (limit) =>
      Effect.mapError(
        page(limit),
        (error) => error._tag === "SqlError" ? fromSqlError("read the journal")(error) : error
      ),
    pass: (events) => plan.pass(events)
  }
}
