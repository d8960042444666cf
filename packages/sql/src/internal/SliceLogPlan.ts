import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { LogCursor } from "@sluice/core/LogCursor"
import type { Offset, Offsets } from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { TimeCursor } from "../adapter/JournalDialect.ts"
import type { Page } from "../adapter/JournalRow.ts"
import { type Fork, readOn, type ReadOutcome } from "../adapter/ReadOutcome.ts"

/** How many logs are read by themselves at a time. */
const maxLogs = 256

/** If so many pages or more are to come, they are read in windows of time. */
const manyPages = 4

/** @internal Positions in logs. */
export type Places = ReadonlyArray<readonly [slice: Slice.Slice, position: number]>

/** @internal The events of these logs that follow the places. */
export interface Logs {
  readonly _tag: "Logs"
  readonly after: Places
  /** How many events of each log are asked for. */
  readonly each: number
  /** The last events that were read of these logs, if everything had been read before. New events must follow them. */
  readonly last: Offsets
}

/** @internal What is to be read next. */
export type Read =
  /** The heads of all logs, to find out where there is something new, and how much. */
  | { readonly _tag: "Heads" }
  /** The timestamps of the events at these places, the first unread ones of their logs. */
  | { readonly _tag: "Firsts"; readonly places: Places }
  /** The events of all logs, in the order of time. */
  | { readonly _tag: "Window"; readonly after: TimeCursor }
  | Logs
  /** Nothing: all events that are known of have been read. */
  | { readonly _tag: "Nothing" }
  | Fork

const nothing: ReadOutcome = { _tag: "Page", events: [] }
const pageOf = (events: ReadonlyArray<EncodedEnvelope>): ReadOutcome =>
  events.length > 0 ? { _tag: "Page", events } : readOn

/**
 * @internal
 * What a reader of a journal has read, and what it reads next. Pure but for what it remembers: `next` says what to
 * read, and the method of that name takes what was found.
 */
export class SliceLogPlan {
  readonly cursor: LogCursor
  readonly #byTime: boolean
  /** How often each log was signalled: now, and when signals were looked at last. */
  readonly #marks: Readonly<Float64Array>
  readonly #seen = new Float64Array(Slice.count)
  /** Where the cursor was when the heads were asked for: others may go on meanwhile. */
  readonly #asked: LogCursor
  /** Logs that have more, or may have. */
  readonly #behind = new Set<Slice.Slice>()
  /** What has to be read before signals are looked at again. */
  #pending: "heads" | "firsts" | "logs" | undefined = "heads"
  /**
   * Whether everything had been read at the last call of `next`. Then the events that are read now were appended since.
   */
  #wasAtEnd = false
  /** The heads when they were asked for last, and the timestamp of the newest. */
  #heads: Offsets = new Map()
  #end = 0
  /** Up to where events were read in the order of time. They are read up to the heads above. */
  #window: TimeCursor | undefined
  #fork: Fork | undefined
  /** Whether the next position of all logs is known. */
  #isKnown = false

  constructor(options: {
    readonly range: SliceRange.SliceRange
    readonly start: Offsets
    readonly byTime: boolean
    readonly marks: Readonly<Float64Array>
  }) {
    const { byTime, marks, range, start } = options
    this.cursor = new LogCursor(range, start)
    this.#asked = new LogCursor(range, start)
    this.#byTime = byTime
    this.#marks = marks
  }

  next(limit: number): Read {
    if (this.#fork !== undefined) return this.#fork
    if (this.#window !== undefined) return { _tag: "Window", after: this.#window }
    if (this.#pending === undefined) this.#heedSignals()
    if (this.#pending === "heads" || this.#byTime && this.#pending === undefined && 2 * this.#behind.size > limit) {
      return this.#askHeads()
    }
    if (this.#pending === "firsts") return { _tag: "Firsts", places: this.#unread(this.#behind) }
    if (this.#behind.size > 0) return this.#readLogs(limit)
    this.#wasAtEnd = true
    return { _tag: "Nothing" }
  }

  /** Finds out where there is something new, and how it is best read. */
  heads(found: Offsets, limit: number): ReadOutcome {
    const { cursor } = this
    this.#pending = undefined
    this.#behind.clear()
    let events = 0
    let end = 0
    let isFromTime = false
    for (const slice of SliceRange.slices(cursor.range)) {
      const head = found.get(slice)
      const { position, timestamp } = head ?? { position: 0, timestamp: 0 }
      const isLost = position < this.#asked.position(slice) ||
        head !== undefined && cursor.verdict(slice, position, timestamp) === "fork"
      if (isLost) return this.#forked(slice)
      if (cursor.next(slice) === undefined && timestamp < cursor.since(slice)) {
        // nothing in the log is as young as the time to read from
        cursor.moveTo(slice, position, timestamp)
      }
      const next = cursor.next(slice)
      if (head === undefined || next !== undefined && position < next) continue
      this.#behind.add(slice)
      isFromTime ||= next === undefined
      events += position - (next ?? 1) + 1
      end = Math.max(end, timestamp)
    }
    this.#wasAtEnd = this.#behind.size === 0
    if (this.#wasAtEnd) return nothing
    this.#heads = found
    this.#end = end
    // the first position of a log that is read from a time on is not known, but its time is
    const isWindow = this.#byTime || isFromTime || events >= manyPages * limit
    this.#pending = isWindow ? "firsts" : "logs"
    return isWindow && this.#unread(this.#behind).length === 0 ? this.firsts([]) : readOn
  }

  /** Opens a window that begins with the first event that is unread. */
  firsts(timestamps: ReadonlyArray<number>): ReadOutcome {
    let timestamp = Math.min(...timestamps)
    for (const slice of this.#behind) {
      if (this.cursor.next(slice) === undefined) timestamp = Math.min(timestamp, this.cursor.since(slice))
    }
    this.#pending = undefined
    this.#behind.clear()
    if (timestamp === Infinity) return nothing
    this.#window = { timestamp, slice: -1 }
    return readOn
  }

  /** Takes events in the order of time, up to the heads. */
  window(rows: ReadonlyArray<EncodedEnvelope>): ReadOutcome {
    const { cursor } = this
    const events: Array<EncodedEnvelope> = []
    for (const row of rows) {
      const { position, slice, timestamp } = row
      const head = this.#heads.get(slice)
      const isComplete = head !== undefined && position! <= head.position
      const verdict = isComplete
        ? cursor.take(slice, position!, timestamp)
        : cursor.verdict(slice, position!, timestamp)
      if (verdict === "fork") return this.#forked(slice)
      if (!isComplete) continue
      if (verdict === "next") events.push(row)
      // its log is read by itself
      else if (verdict === "gap") this.#behind.add(slice)
    }
    const last = rows.at(-1)
    if (last === undefined || last.timestamp > this.#end) {
      for (const [slice, { position }] of this.#heads) {
        if (position >= (cursor.next(slice) ?? 1)) this.#behind.add(slice)
      }
      this.#window = undefined
    } else {
      this.#window = { timestamp: last.timestamp, slice: last.slice }
    }
    return pageOf(events)
  }

  /** Takes events of logs that were read by themselves. */
  logs({ after, each }: Logs, { events: rows, isFull }: Page): ReadOutcome {
    const { cursor } = this
    const counts = new Map<Slice.Slice, number>()
    for (const row of rows) {
      const { position, slice, timestamp } = row
      const verdict = cursor.verdict(slice, position!, timestamp)
      if (verdict === "fork") return this.#forked(slice)
      const count = counts.get(slice) ?? 0
      counts.set(slice, count + 1)
      // the first of a log is what comes next in it, or something is missing
      if (count === 0 && verdict === "gap") return this.#gap(row)
    }
    const isRead = ([slice]: Places[number]) => (counts.get(slice) ?? 0) < each
    if (this.#byTime && (isFull || this.#behind.size > after.length || !after.every(isRead))) {
      // there is more than a page, and only a window reads that in the order of time
      this.#pending = "heads"
      return readOn
    }
    const events: Array<EncodedEnvelope> = []
    for (const row of rows) {
      const { position, slice, timestamp } = row
      const verdict = cursor.take(slice, position!, timestamp)
      if (verdict === "fork") return this.#forked(slice)
      // the events before it come with the next page, if this one is full
      if (verdict === "gap" && !isFull) return this.#gap(row)
      if (verdict === "next") events.push(row)
    }
    this.#pending = undefined
    if (!isFull) { for (const log of after) if (isRead(log)) this.#behind.delete(log[0]) }
    return pageOf(events)
  }

  /** Takes events that were read in another way. */
  pass(events: ReadonlyArray<EncodedEnvelope>): void {
    const { cursor } = this
    const passed = new Map<Slice.Slice, boolean>()
    for (const { position, slice, timestamp } of events) {
      if (!SliceRange.contains(cursor.range, slice)) continue
      // the first event of the log is not known yet, so others before these may have to be read
      const verdict = cursor.next(slice) === undefined ? "gap" : cursor.take(slice, position!, timestamp)
      if (verdict === "fork") this.#forked(slice)
      passed.set(slice, (verdict === "next" || verdict === "alreadyDelivered") && passed.get(slice) !== false)
    }
    // the signal of these events tells nothing new, but one of other events still does
    for (const [slice, isRead] of passed) if (isRead) this.#seen[slice]!++
  }

  #heedSignals(): void {
    const { max, min } = this.cursor.range
    let signalled = 0
    for (let slice = min; slice <= max; slice++) {
      if (this.#seen[slice] === this.#marks[slice]) continue
      this.#seen[slice] = this.#marks[slice]!
      signalled++
      this.#behind.add(slice)
    }
    if (signalled > maxLogs || signalled > 0 && !this.#knowsAll()) this.#pending = "heads"
  }

  #knowsAll(): boolean {
    return this.#isKnown ||= SliceRange.slices(this.cursor.range).every((slice) =>
      this.cursor.next(slice) !== undefined
    )
  }

  #askHeads(): Read {
    this.#pending = "heads"
    this.#asked.set(this.cursor)
    // the heads show all that was signalled until now
    this.#seen.set(this.#marks)
    return { _tag: "Heads" }
  }

  #readLogs(limit: number): Logs {
    const slices = [...this.#behind].slice(0, Math.min(maxLogs, limit))
    return {
      _tag: "Logs",
      after: slices.map((slice) => [slice, (this.cursor.next(slice) ?? 1) - 1] as const),
      each: Math.floor(limit / slices.length),
      last: this.#wasAtEnd ? lastRead(this.cursor, slices) : new Map()
    }
  }

  /** The next places of logs, if they are known. */
  #unread(slices: Iterable<Slice.Slice>): Places {
    return Array.from(slices).flatMap((slice): Places => {
      const next = this.cursor.next(slice)
      return next === undefined ? [] : [[slice, next]]
    })
  }

  #forked(slice: Slice.Slice): Fork {
    return this.#fork ??= { _tag: "Fork", slice, offset: this.cursor.offset(slice) }
  }

  #gap(event: EncodedEnvelope): ReadOutcome {
    return { _tag: "Gap", event, offset: this.cursor.offset(event.slice) }
  }
}

/** @internal The last event of each log that is known by position and timestamp. */
export const lastRead = (cursor: LogCursor, slices: Iterable<Slice.Slice>): Offsets => {
  const known = new Map<Slice.Slice, Offset>()
  for (const slice of slices) {
    const position = cursor.position(slice)
    if (position > 0) known.set(slice, { position, timestamp: cursor.timestamp(slice) } as Offset)
  }
  return known
}
