import { LogCursor } from "@sluice/core/LogCursor"
import type { Offset, Offsets } from "@sluice/core/Offset"
import type { Position } from "@sluice/core/Position"
import * as Slice from "@sluice/core/Slice"
import type * as SliceRange from "@sluice/core/SliceRange"
import type { Timestamp } from "@sluice/core/Timestamp"
import type { TimeCursor } from "../adapter/JournalDialect.ts"
import type { Fork } from "../adapter/ReadOutcome.ts"

/** @internal How many logs are asked for in one query. */
export const maxLogs = 128

/** @internal Where a change is. */
export interface Change {
  readonly slice: Slice.Slice
  readonly position: Position
  readonly timestamp: Timestamp
}

/** @internal The changes that were found, up to where there was room for their content. */
export interface Cut {
  readonly rows: ReadonlyArray<Change>
  /** Whether changes were left out because the page was full. */
  readonly isCut: boolean
}

/** @internal Where logs are read after. */
export type After = ReadonlyArray<readonly [slice: Slice.Slice, offset: Offset]>

/** @internal Up to `each` changes of each of the logs, after the offsets. */
export interface Logs {
  readonly _tag: "Logs"
  readonly after: After
  readonly each: number
}

/** @internal Up to `count` changes of all logs, in the order of time. */
export interface Window {
  readonly _tag: "Window"
  readonly after: TimeCursor
  readonly count: number
}

/** @internal What is to be read next. */
export type Read =
  /** The heads of all logs, to find those that have more. */
  | { readonly _tag: "Heads" }
  /** The timestamps of the first changes after the offsets, of those logs of which something was read. */
  | { readonly _tag: "Firsts"; readonly after: After }
  | Window
  | Logs
  /** Nothing: all changes that are known of have been read. */
  | { readonly _tag: "Nothing" }
  | Fork

/**
 * @internal
 * What a reader of the changes of durable states has read, and what it reads next. Pure but for what it remembers: `next` says what to
 * read, and the method of that name takes what was found.
 *
 * An entity that changes again leaves its position, so the positions of a log have gaps. In the order of time it reads up to the heads
 * that it has asked for: a change that is committed later may be older than those of other logs.
 */
export class StateLogPlan {
  readonly cursor: LogCursor
  readonly #byTime: boolean
  /** How often each log was signalled: now, when the heads were asked for, and when they were found. */
  readonly #marks: Readonly<Float64Array>
  readonly #asked = new Float64Array(Slice.count)
  readonly #seen = new Float64Array(Slice.count).fill(-1)
  /** The logs that have more. */
  readonly #behind = new Set<Slice.Slice>()
  /** The heads when they were asked for last. */
  #heads: Offsets = new Map()
  /** What is read in the order of time: after a place, and up to the newest of the heads. */
  #window: { readonly after: TimeCursor; readonly end: number } | undefined
  #fork: Fork | undefined
  readonly #maxRows: number
  /** Fewer than `maxRows` where states are large, as a database may have to read all of them to tell their sizes. */
  #rows: number

  constructor(options: {
    readonly range: SliceRange.SliceRange
    readonly start: Offsets
    readonly byTime: boolean
    readonly marks: Readonly<Float64Array>
    readonly maxRows: number
  }) {
    this.cursor = new LogCursor(options.range, options.start)
    this.#byTime = options.byTime
    this.#marks = options.marks
    this.#maxRows = this.#rows = options.maxRows
  }

  next(limit: number): Read {
    const count = Math.min(limit, this.#rows)
    if (this.#fork !== undefined) return this.#fork
    if (this.#window !== undefined) return { _tag: "Window", after: this.#window.after, count }
    if (this.#behind.size === 0) return this.#isSignalled() ? this.#askHeads() : { _tag: "Nothing" }
    if (this.#byTime) {
      return { _tag: "Firsts", after: this.#after([...this.#behind]).filter(([, { position }]) => position > 0) }
    }
    const logs = [...this.#behind].slice(0, Math.min(maxLogs, count))
    return { _tag: "Logs", after: this.#after(logs), each: Math.floor(count / logs.length) }
  }

  /** Finds the logs that have more. */
  heads(found: Offsets): void {
    for (const [slice, { position, timestamp }] of found) {
      const verdict = this.cursor.verdict(slice, position, timestamp)
      if (verdict === "fork" || position < this.cursor.position(slice)) return this.#forked(slice)
      if (verdict !== "alreadyDelivered") this.#behind.add(slice)
    }
    this.#seen.set(this.#asked)
    this.#heads = found
  }

  /** Opens a window that begins with the first change that is unread. */
  firsts(timestamps: Iterable<number>): void {
    let timestamp = Infinity
    for (const first of timestamps) timestamp = Math.min(timestamp, first)
    let end = 0
    for (const slice of this.#behind) {
      const { position, timestamp: since } = this.cursor.offset(slice)
      if (position === 0) timestamp = Math.min(timestamp, since)
      end = Math.max(end, this.#heads.get(slice)?.timestamp ?? 0)
    }
    if (timestamp > end) this.#behind.clear()
    else this.#window = { after: { timestamp, slice: -1 }, end }
  }

  /** Those of the changes in a window that are to be read: they are not yet, and their logs are complete before them. */
  unread<C extends Change>(found: ReadonlyArray<C>): ReadonlyArray<C> {
    return found.filter(({ position, slice, timestamp }) =>
      position <= (this.#heads.get(slice)?.position ?? 0) &&
      this.cursor.verdict(slice, position, timestamp) !== "alreadyDelivered"
    )
  }

  /** Goes past the changes of a window that were read, if they are of the history that was read before. `found` are all that were found. */
  window({ count }: Window, found: ReadonlyArray<Change>, page: Cut): boolean {
    if (!this.#take(page)) return false
    const { end } = this.#window!
    const last = page.isCut ? page.rows.at(-1)! : found.at(-1)
    const isOver = last === undefined || !page.isCut && found.length < count || last.timestamp > end
    this.#window = isOver ? undefined : { after: last, end }
    if (isOver) this.#behind.clear()
    return true
  }

  /** Goes past the changes that were read of logs by themselves, if they are of the history that was read before. */
  logs({ after, each }: Logs, page: Cut): boolean {
    if (!this.#take(page)) return false
    if (page.isCut) return true
    const counts = new Map<Slice.Slice, number>()
    for (const { slice } of page.rows) counts.set(slice, (counts.get(slice) ?? 0) + 1)
    for (const [slice] of after) if ((counts.get(slice) ?? 0) < each) this.#behind.delete(slice)
    return true
  }

  /** Goes past changes, over gaps as well, up to one of another history. */
  #take({ isCut, rows }: Cut): boolean {
    this.#rows = isCut ? rows.length * 2 : Math.min(this.#maxRows, this.#rows * 4)
    for (const { position, slice, timestamp } of rows) {
      if (this.cursor.verdict(slice, position, timestamp) === "fork") {
        this.#forked(slice)
        return false
      }
      this.cursor.moveTo(slice, position, timestamp)
    }
    return true
  }

  #isSignalled(): boolean {
    const { max, min } = this.cursor.range
    for (let slice = min; slice <= max; slice++) if (this.#seen[slice] !== this.#marks[slice]) return true
    return false
  }

  #askHeads(): Read {
    // the heads show all that was signalled until now
    this.#asked.set(this.#marks)
    return { _tag: "Heads" }
  }

  #after(slices: ReadonlyArray<Slice.Slice>): After {
    return slices.map((slice) => [slice, this.cursor.offset(slice)] as const)
  }

  #forked(slice: Slice.Slice): void {
    this.#fork ??= { _tag: "Fork", slice, offset: this.cursor.offset(slice) }
  }
}
