import type { Element, Place, Skipped } from "../../Envelope.ts"
import { newest, type Offset } from "../../Offset.ts"
import type { Handled, StoredOffsets } from "../../OffsetStore.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { Position } from "../../Position.ts"
import { decideOn, type Reading, type Standing, type Verdict } from "../../ReadingState.ts"
import type { StoredNumber } from "../../Rewind.ts"
import { make as sequenceNumber, type SequenceNumber } from "../../SequenceNumber.ts"
import type { Slice } from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { Timestamp } from "../../Timestamp.ts"
import { EntityNumbers } from "./EntityNumbers.ts"
import { Limits } from "./Limits.ts"

/** So many entities are remembered that were replayed. The replay of one that is older has ended. */
const maxAhead = 10_000

/** After how many handled events the offsets of all slices move, so that a worker that begins anew does not go back for long. */
const moveAllAfter = 10_000

const atStart = 0 as Position

/**
 * @internal
 * What a worker has read of a source that does not tell positions. The sequence numbers of entities decide about every event. The offset of a slice is
 * a timestamp: what the source shows up to it was handled. So a reader of any range goes on at the earliest offset of its slices; what it sees again
 * is a duplicate by its number. Offsets may go back.
 */
export class TimestampReading implements Reading {
  readonly #range: SliceRange.SliceRange
  readonly #numbers = new EntityNumbers()
  /** The timestamp at which the offset of each slice is, or is about to be. */
  readonly #timestamps = new Map<Slice, number>()
  /** The times that slices are read from; what is older is not handled. */
  readonly #since = new Map<Slice, number>()
  /** Entities whose events may come before their turn, with the latest of what was accepted since. They move no offset. */
  readonly #ahead = new Map<PersistenceId, number>()
  /** How many elements were handled since it was looked which of them still run ahead. */
  #sinceCaughtUp = 0
  readonly #limits = new Limits()
  /** The latest timestamp that was handled. */
  #latest = 0
  #handled = 0
  #moveAllAt = 1
  #before: { readonly latest: number; readonly handled: number; readonly moveAllAt: number } | undefined
  readonly #timestampsBefore = new Map<Slice, number>()
  /** From where to where it reads again what comes after the earliest offset; events that waited before are among that. */
  #again: { readonly from: number; readonly to: number } | undefined

  constructor(
    range: SliceRange.SliceRange,
    { completeUpTo, offsets }: Pick<StoredOffsets, "completeUpTo" | "offsets">
  ) {
    this.#range = range
    for (const slice of SliceRange.slices(range)) {
      const timestamp = offsets.get(slice)?.timestamp ?? 0
      this.#timestamps.set(slice, timestamp)
      this.#since.set(slice, completeUpTo.get(slice)?.timestamp ?? timestamp)
    }
    const from = Math.min(...this.#timestamps.values())
    const to = newest(offsets.values())
    if (from < to) this.#again = { from, to }
  }

  get isExact(): boolean {
    return false
  }

  next(): number {
    return 1
  }

  offset(slice: Slice): Offset {
    return { position: atStart, timestamp: this.#timestamps.get(slice) as Timestamp }
  }

  completeUpTo(): number {
    return 0
  }

  completeBefore(slice: Slice): Timestamp {
    return this.#since.get(slice)! as Timestamp
  }

  judge(element: Element<unknown>): Verdict {
    // such a source leaves out no positions
    if (element._tag === "Skipped") return "duplicate"
    const { persistenceId, sequenceNumber, slice, timestamp } = element
    if (this.#again !== undefined && timestamp >= this.#again.to) this.#again = undefined
    if (timestamp < this.#since.get(slice)!) {
      // so are all before it
      this.#numbers.raise(persistenceId, sequenceNumber)
      return "duplicate"
    }
    const verdict = decideOn(this.#numbers, element, true)
    if (verdict !== "accepted") return verdict
    this.#numbers.accept(persistenceId, sequenceNumber)
    if (this.#ahead.size > 0 && timestamp > (this.#ahead.get(persistenceId) ?? Infinity)) {
      this.#ahead.set(persistenceId, timestamp)
    }
    return "accepted"
  }

  hold(place: Place): void {
    const { timestamp } = place
    this.#limits.hold(place, { at: timestamp, before: { position: atStart, timestamp: beforeTime(timestamp) } })
  }

  lift(persistenceId: PersistenceId): boolean {
    return this.#numbers.inFlight(persistenceId) === 0 && this.#limits.lift(persistenceId)
  }

  get isWaiting(): boolean {
    return this.#again !== undefined || !this.#limits.isEmpty
  }

  get waitsFrom(): Timestamp | undefined {
    const { from } = this.#limits
    // while it reads again, up to there was handled
    const again = this.#again === undefined ? undefined : this.#again.from + 1
    return (from === undefined || again === undefined ? from ?? again : Math.min(from, again)) as Timestamp | undefined
  }

  get isReplayWaiting(): boolean {
    return false
  }

  /** Events of the entity may come before their turn, until others are past all of them. */
  runsAhead(persistenceId: PersistenceId): void {
    // the oldest one is the first
    this.#ahead.delete(persistenceId)
    if (this.#ahead.size >= maxAhead) this.#ahead.delete(this.#ahead.keys().next().value!)
    this.#ahead.set(persistenceId, 0)
  }

  /** Those run ahead no more of which nothing waits, and that others are past. */
  #caughtUp(): void {
    this.#sinceCaughtUp = 0
    for (const [persistenceId, accepted] of this.#ahead) {
      if (accepted > 0 && accepted < this.#latest && !this.#limits.has(persistenceId)) this.#ahead.delete(persistenceId)
    }
  }

  unknown(elements: ReadonlyArray<Element<unknown>>): ReadonlyArray<PersistenceId> {
    const unknown = new Set<PersistenceId>()
    for (const element of elements) {
      if (element._tag === "Skipped") continue
      const { persistenceId } = element
      if (this.#numbers.last(persistenceId) === undefined) unknown.add(persistenceId)
    }
    return [...unknown]
  }

  loaded(persistenceIds: ReadonlyArray<PersistenceId>, found: ReadonlyMap<PersistenceId, StoredNumber>): void {
    this.#numbers.loaded(persistenceIds, found, 0, this.#limits)
  }

  /** A rewind leaves nothing known there. */
  rewound(): undefined {
    return undefined
  }

  last(persistenceId: PersistenceId): number | undefined {
    return this.#numbers.last(persistenceId)
  }

  missingFrom(persistenceId: PersistenceId): SequenceNumber {
    return sequenceNumber((this.#numbers.last(persistenceId) ?? 0) + 1)
  }

  /** One that is older than where the slice is read from, and what is before it, is not handled. */
  proves(slice: Slice, predecessor: Pick<Place, "position" | "timestamp"> | undefined): boolean {
    return predecessor === undefined || predecessor.timestamp < this.#since.get(slice)!
  }

  complete({ persistenceId, sequenceNumber }: Pick<Place, "persistenceId" | "sequenceNumber">): void {
    this.#numbers.pass(persistenceId, sequenceNumber - 1)
  }

  advance(elements: ReadonlyArray<Place | Skipped>): ReadonlyArray<Standing> {
    this.#before = { latest: this.#latest, handled: this.#handled, moveAllAt: this.#moveAllAt }
    this.#timestampsBefore.clear()
    this.#limits.handled(elements)
    const reached = new Map<Slice, number>()
    for (const element of elements) {
      if (!("persistenceId" in element)) continue
      const { persistenceId, slice, timestamp } = element
      this.#numbers.handled(slice, element)
      if (this.#ahead.has(persistenceId)) continue
      if (timestamp > (reached.get(slice) ?? this.#timestamps.get(slice)!)) reached.set(slice, timestamp)
      if (timestamp > this.#latest) this.#latest = timestamp
    }
    this.#handled += elements.length
    this.#sinceCaughtUp += elements.length
    if (this.#ahead.size > 0 && this.#sinceCaughtUp >= this.#ahead.size) this.#caughtUp()
    if (this.#handled >= this.#moveAllAt && this.#latest > 0) {
      while (this.#moveAllAt <= this.#handled) this.#moveAllAt += Math.min(9 * this.#moveAllAt, moveAllAfter)
      for (const slice of SliceRange.slices(this.#range)) {
        if (this.#latest > (reached.get(slice) ?? this.#timestamps.get(slice)!)) reached.set(slice, this.#latest)
      }
    }
    return this.#move(reached)
  }

  /** Elements were handled, and something that is before them was not. The numbers of their entities tell so, and the offsets stay. */
  handledBehind(elements: ReadonlyArray<Place | Skipped>): void {
    for (const element of elements) if ("persistenceId" in element) this.#numbers.handled(element.slice, element)
  }

  /** Moves the offsets as far as no event before them waits. */
  #move(reached: Map<Slice, number>): ReadonlyArray<Standing> {
    for (const [slice, { at }] of this.#limits.stays) {
      if (!reached.has(slice) && this.#timestamps.get(slice)! >= at) reached.set(slice, at)
    }
    const moved: Array<Standing> = []
    for (const [slice, timestamp] of reached) {
      const before = this.#timestamps.get(slice)!
      const stay = this.#limits.of(slice)
      const to = stay === undefined || stay.at > timestamp ? timestamp : stay.before.timestamp
      if (to === before) continue
      this.#timestampsBefore.set(slice, before)
      this.#timestamps.set(slice, to)
      moved.push({ slice, position: atStart, timestamp: to as Timestamp })
    }
    return moved
  }

  get ahead(): Iterable<Slice> {
    return this.#numbers.slices
  }

  entities(slice: Slice): ReadonlyMap<PersistenceId, Handled> {
    return this.#numbers.ahead(slice)
  }

  stored(slice: Slice): void {
    this.#limits.stored()
    this.#numbers.stored(slice)
  }

  revert(): void {
    this.#numbers.revert()
    this.#limits.revert()
    for (const [slice, timestamp] of this.#timestampsBefore) this.#timestamps.set(slice, timestamp)
    this.#timestampsBefore.clear()
    if (this.#before !== undefined) {
      const { handled, latest, moveAllAt } = this.#before
      this.#latest = latest
      this.#handled = handled
      this.#moveAllAt = moveAllAt
    }
  }
}

const beforeTime = (timestamp: Timestamp): Timestamp => Math.max(0, timestamp - 1) as Timestamp
