import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { LogCursor } from "@sluice/core/LogCursor"
import type { Offsets } from "@sluice/core/Offset"
import * as SliceRange from "@sluice/core/SliceRange"
import { readOn, type ReadOutcome } from "@sluice/sql/adapter/ReadOutcome"

/**
 * @internal
 * What a reader of the journal in a file has read. All events of a file have timestamps in the order of their commits. So it reads on
 * after a timestamp, whatever the log. Pure but for what it remembers.
 */
export class FilePlan {
  readonly cursor: LogCursor
  /** The timestamp after which it reads on. */
  #after: number
  /** The count of signals when the end was reached last; undefined before that. */
  #seen: number | undefined

  /** No unread event is at or before the timestamp `after`. */
  constructor(range: SliceRange.SliceRange, start: Offsets, after: number) {
    this.cursor = new LogCursor(range, start)
    this.#after = after
  }

  get after(): number {
    return this.#after
  }

  /** Whether nothing was signalled since the end was reached. `signals` is how many there were. */
  isAtEnd(signals: number): boolean {
    return this.#seen === signals
  }

  /** Takes the events that follow in the order of their timestamps. `signals` is how many there were before they were read. */
  page(found: ReadonlyArray<EncodedEnvelope>, signals: number): ReadOutcome {
    if (found.length === 0) {
      this.#seen = signals
      return { _tag: "Page", events: found }
    }
    const events: Array<EncodedEnvelope> = []
    for (const event of found) {
      const { position, slice, timestamp } = event
      const verdict = this.cursor.take(slice, position!, timestamp)
      // events of other logs that were already read may lie before the first unread one
      if (verdict === "alreadyDelivered") continue
      if (verdict !== "next") {
        // the events before it are delivered first
        if (events.length > 0) break
        const offset = this.cursor.offset(slice)
        return verdict === "fork" ? { _tag: "Fork", slice, offset } : { _tag: "Gap", event, offset }
      }
      events.push(event)
      this.#after = timestamp
    }
    if (events.length > 0) return { _tag: "Page", events }
    this.#after = found.at(-1)!.timestamp
    return readOn
  }

  /** Takes events that were read in another way. `signals` is how many there were, that of these events included. */
  pass(events: ReadonlyArray<EncodedEnvelope>, signals: number): void {
    if (this.#seen === undefined) return
    const { cursor } = this
    let isAll = true
    for (const { position, slice, timestamp } of events) {
      if (!SliceRange.contains(cursor.range, slice)) continue
      // the first event of the log is not known yet, so others before these may have to be read
      const verdict = cursor.next(slice) === undefined ? "gap" : cursor.take(slice, position!, timestamp)
      if (verdict === "gap" || verdict === "fork") isAll = false
    }
    if (!isAll || this.#seen + 1 !== signals) return
    // if another process had committed before these, there would have been another signal
    this.#seen++
    this.#after = events.at(-1)!.timestamp
  }
}
