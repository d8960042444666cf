import * as Envelope from "@sluice/core/Envelope"
import type { EncodedElement, EncodedEnvelope } from "@sluice/core/Envelope"
import { beginning, type Offsets } from "@sluice/core/Offset"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import * as SliceRange from "@sluice/core/SliceRange"
import type { Replay, Start } from "@sluice/core/Source"
import type { Timestamp } from "@sluice/core/Timestamp"
import { readWithOrigin } from "../wire/eventReader.ts"
import { backtracking, maxSeen, published } from "../wire/messages.ts"

/**
 * The last numbers of so many entities are remembered, and of as many more that have come before. So are so many replays; one that is older has
 * ended.
 */
const maxEntities = 10_000

/** For how long, in milliseconds, whoever has asked for a replay waits for its first event. */
const replayedWithin = 10_000

/** The events of an entity that were asked for again. */
interface Replayed {
  readonly request: Replay
  readonly askedAt: number
  /** The last number of what was asked for, as far as it is known. */
  readonly until: number
  /** Whether that has come again. */
  isAnswered: boolean
  /** The latest of what has come since. */
  timestamp: number
}

/** How a message begins that carries a filtered event. */
const filteredTag = 0x12

/** @internal Where a plain producer is to go on: the time up to which everything has come, and what has come of that time. */
export interface PlainOffset {
  readonly timestamp: Timestamp
  readonly seen: ReadonlyMap<PersistenceId, number>
}

/**
 * @internal
 * Where a range begins that has these offsets: at the earliest, as the slices may have been read by several workers. Undefined for the beginning, and
 * for offsets that are positions.
 */
export const earliest = (range: SliceRange.SliceRange, offsets: Offsets): Timestamp | undefined => {
  let found: Timestamp | undefined
  for (const slice of SliceRange.slices(range)) {
    const { position, timestamp } = offsets.get(slice) ?? beginning
    if (position > 0 || timestamp === 0) return undefined
    if (found === undefined || timestamp < found) found = timestamp
  }
  return found
}

/**
 * @internal
 * Takes the messages of a plain producer, over all connections of a stream. Such a producer sends an event up to three times: when it was written
 * ("PS"), in its turn, and as a reminder without its payload ("BT"). What is known to have come already is left out; whoever reads decides about
 * the rest by sequence numbers. Pure but for what it remembers.
 */
export class PlainReceiver {
  readonly #range: SliceRange.SliceRange
  readonly #reminders: boolean
  /** The last number that has come of entities, in two generations. */
  #last = new Map<PersistenceId, number>()
  #older = new Map<PersistenceId, number>()
  #timestamp: Timestamp | undefined
  #seen = new Map<PersistenceId, number>()
  /** Entities that were asked for again, whose events may come before their turn. */
  readonly #replayed = new Map<PersistenceId, Replayed>()
  /** How many events have come since it was looked which replays have ended. */
  #sinceEnded = 0
  #fault: Error | undefined

  constructor(range: SliceRange.SliceRange, { offsets, reminders }: Pick<Start, "offsets" | "reminders">) {
    this.#range = range
    this.#reminders = reminders === true
    this.#timestamp = earliest(range, offsets)
  }

  /** After which events to go on; undefined for the beginning. */
  get offset(): PlainOffset | undefined {
    return this.#timestamp === undefined ? undefined : { timestamp: this.#timestamp, seen: this.#seen }
  }

  get fault(): Error | undefined {
    return this.#fault
  }

  /** Another connection is made. Returns the replays that were cut off, and are still waited for: they are to be asked for once more. */
  reset(now: number): ReadonlyArray<Replay> {
    this.#fault = undefined
    for (const [persistenceId, { askedAt, isAnswered }] of this.#replayed) {
      if (isAnswered || now - askedAt > replayedWithin) this.#replayed.delete(persistenceId)
    }
    return Array.from(this.#replayed.values(), ({ request }) => request)
  }

  /** What may be new. Throws at a message that breaks the protocol, or has a `fault` when events come before it. */
  receive(messages: ReadonlyArray<Buffer>): Array<EncodedElement> {
    const received: Array<EncodedElement> = []
    const read: Array<EncodedElement> = []
    try {
      for (const message of messages) {
        read.length = 0
        const origin = readWithOrigin(message, read)
        for (const element of read) {
          const taken = this.#taken(element, origin, message[0] === filteredTag)
          if (taken !== undefined) received.push(taken)
        }
      }
    } catch (error) {
      this.#fault = error as Error
      if (received.length === 0) throw error
    }
    return received
  }

  #taken(element: EncodedElement, origin: string, isFiltered: boolean): EncodedElement | undefined {
    if (Envelope.isSkipped(element)) throw new RangeError("a part that is left out, of a producer without positions")
    const { payload, persistenceId, sequenceNumber, slice, timestamp } = element
    if (!SliceRange.contains(this.#range, slice)) {
      throw new RangeError(
        `event of '${persistenceId}', whose slice ${slice} is not in ${SliceRange.format(this.#range)}`
      )
    }
    const inTurn = origin !== published && origin !== backtracking
    if (this.#replayed.size > 0 && ++this.#sinceEnded >= this.#replayed.size) this.#endReplays()
    const replayed = this.#replayed.size === 0 ? undefined : this.#replayed.get(persistenceId)
    if (replayed !== undefined) {
      if (inTurn && sequenceNumber === replayed.until) replayed.isAnswered = true
      if (timestamp > replayed.timestamp) replayed.timestamp = timestamp
    } else if (inTurn && !isOlder(timestamp, this.#timestamp)) this.#moveTo(element)
    const last = this.#lastOf(persistenceId)
    // a later event may come before those that are replayed
    if (replayed === undefined && sequenceNumber <= last) return undefined
    // something before it has not come: in its turn, it comes again after that
    if (origin === published && sequenceNumber !== last + 1) return undefined
    if (origin === backtracking && payload === undefined && !isFiltered) {
      return this.#reminders ? { ...element, payload: Envelope.notSent } : undefined
    }
    // whatever is missing before it is asked for by whoever reads
    if (origin !== backtracking && (replayed === undefined || sequenceNumber === last + 1)) {
      this.#remember(persistenceId, sequenceNumber)
    }
    return element
  }

  /** The events of an entity are about to come again. */
  replay(request: Replay, now: number): void {
    const { from, persistenceId } = request
    const until = Math.max(from, this.#lastOf(persistenceId), this.#replayed.get(persistenceId)?.until ?? 0)
    // the oldest one is the first
    this.#replayed.delete(persistenceId)
    if (this.#replayed.size >= maxEntities) this.#replayed.delete(this.#replayed.keys().next().value!)
    this.#replayed.set(persistenceId, { request, askedAt: now, until, isAnswered: false, timestamp: 0 })
    this.#remember(persistenceId, from - 1)
  }

  /** A replay has ended once it has brought what was asked for, and the stream is past all of it. */
  #endReplays(): void {
    this.#sinceEnded = 0
    for (const [persistenceId, { isAnswered, timestamp }] of this.#replayed) {
      if (isAnswered && timestamp < this.#timestamp!) this.#replayed.delete(persistenceId)
    }
  }

  #moveTo({ persistenceId, sequenceNumber, timestamp }: EncodedEnvelope): void {
    if (timestamp !== this.#timestamp) this.#seen.clear()
    this.#timestamp = timestamp
    // an event that is not named comes again
    if (this.#seen.size < maxSeen || this.#seen.has(persistenceId)) this.#seen.set(persistenceId, sequenceNumber)
  }

  #lastOf(persistenceId: PersistenceId): number {
    return this.#last.get(persistenceId) ?? this.#older.get(persistenceId) ?? 0
  }

  #remember(persistenceId: PersistenceId, last: number): void {
    if (this.#last.size >= maxEntities) {
      this.#older = this.#last
      this.#last = new Map()
    }
    this.#last.set(persistenceId, last)
  }
}

const isOlder = (timestamp: number, than: number | undefined): boolean => than !== undefined && timestamp < than
