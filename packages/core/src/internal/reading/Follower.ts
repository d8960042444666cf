import type { EncodedEnvelope } from "../../Envelope.ts"
import { maxPageBytes } from "../../Journal.ts"
import { LogCursor, type Verdict } from "../../LogCursor.ts"
import type { Offsets } from "../../Offset.ts"
import type * as Slice from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { JournalTail } from "./JournalTail.ts"

/** @internal What a follower does after it was shown a page of the journal. */
export type AfterPage = "deliver" | "lookAgain" | "openReader" | "takeTail" | "fail"

/** @internal What comes next in the tail. */
export interface Taken {
  readonly events: ReadonlyArray<EncodedEnvelope>
  /** Whether the tail has forgotten what comes after these. */
  readonly isBehind: boolean
  /** The event after these, if it is of another history than what was read. */
  readonly fork: EncodedEnvelope | undefined
}

/**
 * @internal
 * How far a follower of a journal is, and where its next events come from. They come from a reader until that has come
 * as far as the tail. Then they come from the tail, until that has forgotten the next one. Pure but for what it
 * remembers.
 */
export class Follower {
  readonly cursor: LogCursor
  /** How many pages of the reader in use were empty, one after the other, though the tail has more. */
  #emptyPages = 0
  /** The number of the next event to be taken from the tail. */
  #number = 0

  constructor(range: SliceRange.SliceRange, start: Offsets) {
    this.cursor = new LogCursor(range, start)
  }

  /**
   * What to do after a page of the journal, which the cursor has taken. A reader that finds nothing looks a second time. If the tail has
   * more even then, another reader is opened, as the first need not see what the tail has seen. If the tail has another history, it fails.
   */
  afterPage(page: ReadonlyArray<EncodedEnvelope>, tail: JournalTail<unknown>): AfterPage {
    if (page.length > 0) {
      this.#emptyPages = 0
      return "deliver"
    }
    if (this.#isUpTo(tail)) {
      this.#emptyPages = 0
      // whatever was not read yet comes from the tail
      this.#number = tail.end
      return "takeTail"
    }
    if (++this.#emptyPages === 1) return "lookAgain"
    this.#emptyPages = 0
    return this.forkedFrom(tail) === undefined ? "openReader" : "fail"
  }

  /** Takes the next events from the tail. */
  take(tail: JournalTail<unknown>, limit: number): Taken {
    const { cursor } = this
    const events: Array<EncodedEnvelope> = []
    let bytes = 0
    let isBehind = this.#number < tail.start
    while (!isBehind && this.#number < tail.end && events.length < limit && bytes < maxPageBytes) {
      const event = tail.at(this.#number)
      if (SliceRange.contains(cursor.range, event.slice)) {
        const verdict = cursor.take(event.slice, event.position!, event.timestamp)
        if (verdict === "fork") return { events, isBehind, fork: event }
        isBehind = verdict === "gap"
        if (isBehind) break
        if (verdict === "next") {
          events.push(event)
          bytes += tail.size(this.#number)
        }
      }
      this.#number++
    }
    return { events, isBehind, fork: undefined }
  }

  /** A slice of which the tail has another history than what was read. */
  forkedFrom(tail: JournalTail<unknown>): Slice.Slice | undefined {
    return SliceRange.slices(this.cursor.range).find((slice) => this.#headOf(tail, slice) === "fork")
  }

  #isUpTo(tail: JournalTail<unknown>): boolean {
    return SliceRange.slices(this.cursor.range).every((slice) => this.#headOf(tail, slice) === "alreadyDelivered")
  }

  #headOf({ heads }: JournalTail<unknown>, slice: Slice.Slice): Verdict {
    return this.cursor.verdict(slice, heads.position(slice), heads.timestamp(slice))
  }
}
