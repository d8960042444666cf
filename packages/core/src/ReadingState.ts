/**
 * What a worker has read, between an open source and the handling of its elements. It tells which element comes next,
 * which was handled before, and what is missing.
 *
 * A slice is read in one of two modes. In exact mode the positions of its log tell everything, and sequence numbers are
 * not looked at. At the first part of its log that is left out for now, a slice changes to the mode per entity. Then
 * the last sequence number of each entity tells its next event, because a replay may bring events of an entity later.
 *
 * @since 0.1.0
 */
import type { Element, Place, Skipped } from "./Envelope.ts"
import { EntityNumbers } from "./internal/projection/EntityNumbers.ts"
import { Limits } from "./internal/projection/Limits.ts"
import { LogCursor, type Verdict as LogVerdict } from "./LogCursor.ts"
import type { Offset } from "./Offset.ts"
import type { Handled, StoredOffsets } from "./OffsetStore.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { Position } from "./Position.ts"
import { forgottenSince, isJumped, type Rewind, type StoredNumber } from "./Rewind.ts"
import { make as sequenceNumber, type SequenceNumber } from "./SequenceNumber.ts"
import type { Slice } from "./Slice.ts"
import type { SliceRange } from "./SliceRange.ts"
import { make as timestamp, type Timestamp } from "./Timestamp.ts"

/**
 * The verdict on an event by the sequence numbers of its entity:
 *
 * - `accepted`: it is to be handled.
 * - `duplicate`: it was handled before, or waits to be.
 * - `gap`: earlier events of its entity are missing. They are to be replayed first, while it waits.
 * - `unproven`: no event of its entity was read, and it is not the first one. It waits as well, until its predecessor has told whether something is
 *   missing.
 * - `unknown`: the stored sequence number of its entity has to be loaded first.
 *
 * @category models
 * @since 0.1.0
 */
export type EntityVerdict = "accepted" | "duplicate" | "gap" | "unproven" | "unknown"

/**
 * The verdict on an element: as on an event, or
 *
 * - `passed`: it was handled before, by a replay, and now is the next of its log. The offset moves past it.
 * - `unsettled`: its slice changes to the mode per entity. What was read of the slice before must be stored first.
 * - `outOfPlace`: events before it are missing, so the source has lost them.
 * - `forked`: its log has another history than the one that was read.
 * - `unloaded`: it is the reminder of an event that is to be handled, and has to be loaded first.
 * - `rewound`: the slice was rewound since a number of its entity was stored. It waits until it is found out which of the handled ones is the last that
 *   does not come again.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict = EntityVerdict | "passed" | "unsettled" | "outOfPlace" | "forked" | "unloaded" | "rewound"

/**
 * The verdict on an event by its sequence number. `inFlight` is the last number of its entity that was accepted and not
 * stored yet. `stored` is the last one that was stored. They are 0 if there is none, and undefined if it is not known.
 * A strict source shows every event of an entity, or reports a skipped range. One that is not strict may show only the
 * latest.
 *
 * @category deciding
 * @since 0.1.0
 */
export const decide = (
  sequenceNumber: number,
  inFlight: number,
  stored: number | undefined,
  isStrict: boolean
): EntityVerdict => {
  if (stored === undefined && inFlight === 0) return "unknown"
  const last = inFlight > 0 ? inFlight : stored!
  if (sequenceNumber > last) {
    if (!isStrict || sequenceNumber === last + 1) return "accepted"
    return last === 0 ? "unproven" : "gap"
  }
  return "duplicate"
}

/**
 * The last sequence numbers of entities.
 *
 * @category models
 * @since 0.1.0
 */
export interface LastNumbers {
  /** The last one that was accepted and is not stored; 0 if there is none. */
  readonly inFlight: (persistenceId: PersistenceId) => number
  /** The last one that is stored: 0 if there is none, undefined if it has to be loaded. */
  readonly known: (persistenceId: PersistenceId) => number | undefined
}

/**
 * The verdict on an element by the sequence numbers of its entity, as {@link decide} says. The reminder of an event that is to be handled is
 * `unloaded`.
 *
 * @category deciding
 * @since 0.1.0
 */
export const decideOn = (
  numbers: LastNumbers,
  { _tag, persistenceId, sequenceNumber }: Exclude<Element<unknown>, Skipped>,
  isStrict: boolean
): EntityVerdict | "unloaded" => {
  const verdict = decide(sequenceNumber, numbers.inFlight(persistenceId), numbers.known(persistenceId), isStrict)
  return verdict === "accepted" && _tag === "Reminder" ? "unloaded" : verdict
}

/**
 * Where an offset moves to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Standing {
  readonly slice: Slice
  readonly position: Position | undefined
  readonly timestamp: Timestamp | undefined
}

/**
 * The last number that was stored of an entity before its slice was rewound. Of its events up to that number, those that are older than the time were
 * handled.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rewound {
  readonly last: number
  readonly since: Timestamp
}

/**
 * What a worker has read. `judge` each element in the order of the source, and do what the verdict says. `hold` one that has to wait for earlier ones
 * of its entity, and `advance` past its place in the log all the same: the offset stays before it until it is handled. `advance` past the elements that
 * were handled, store `entities` with the offsets, and then say `stored` or `revert`. A worker that begins from other offsets begins with another state.
 *
 * **Example** (An event that comes twice, and one whose predecessor is missing)
 *
 * ```ts
 * import { Envelope, Offset, PersistenceId, Position, ReadingState, SequenceNumber, Slice, SliceRange, Timestamp } from "@sluice/core"
 *
 * const persistenceId = PersistenceId.make("cart", "c-1")
 * const event = (n: number) =>
 *   Envelope.placeholder({
 *     persistenceId,
 *     sequenceNumber: SequenceNumber.make(n),
 *     slice: Slice.ofPersistenceId(persistenceId),
 *     position: Position.make(n),
 *     timestamp: Timestamp.make(n)
 *   })
 * const state = new ReadingState.ReadingState(SliceRange.full, { offsets: Offset.none, completeUpTo: new Map() })
 * const verdicts = [event(1), event(1), event(3)].map((element) => state.judge(element))
 * verdicts // => ["accepted", "duplicate", "outOfPlace"]
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export class ReadingState {
  readonly #isStrict: boolean
  /** Up to where the logs were judged. */
  readonly #cursor: LogCursor
  /**
   * Up to where they were handled, in the mode per entity. A replay is not in the order of a log, and moves no offset.
   */
  readonly #handled: LogCursor
  /** The position up to which each log is stored. */
  readonly #storedPositions = new Map<Slice, number>()
  /** The slices in the mode per entity, and up to which position each was read in exact mode. */
  readonly #completeUpTo = new Map<Slice, number>()
  /** The time of the event at that position; 0 if it is not known, or there is none. */
  readonly #timeUpTo = new Map<Slice, number>()
  readonly #numbers = new EntityNumbers()
  readonly #rewinds = new Map<Slice, ReadonlyArray<Rewind>>()
  /** Of the slices that were rewound, up to which time each was read completely; undefined if it still is. */
  readonly #completeUntil = new Map<Slice, Timestamp | undefined>()
  /** The revision of the last rewind; 0 if there is none. */
  readonly #rewoundAt: number
  readonly #limits = new Limits()
  /** Up to where slices were handled whose offsets have to stay before an event that waits. */
  readonly #reached = new Map<Slice, Standing>()
  /** What came next in logs before the last `advance`, and up to where they were handled. */
  readonly #before = new Map<Slice, number | undefined>()
  readonly #reachedBefore = new Map<Slice, Standing | undefined>()

  constructor(
    range: SliceRange,
    { completeUpTo, offsets, rewinds }: Pick<StoredOffsets, "completeUpTo" | "offsets"> & Partial<StoredOffsets>,
    options?: { readonly isStrict?: boolean | undefined }
  ) {
    this.#isStrict = options?.isStrict ?? true
    this.#cursor = new LogCursor(range, offsets)
    this.#handled = new LogCursor(range, offsets)
    for (const [slice, { position, timestamp }] of completeUpTo) {
      this.#completeUpTo.set(slice, position)
      this.#timeUpTo.set(slice, timestamp)
    }
    let rewoundAt = 0
    for (const [slice, some] of rewinds ?? []) {
      this.#rewinds.set(slice, some)
      this.#completeUntil.set(slice, completeUpTo.get(slice)?.timestamp)
      for (const { revision } of some) rewoundAt = Math.max(rewoundAt, revision)
    }
    this.#rewoundAt = rewoundAt
    for (const [slice, { position }] of offsets) this.#storedPositions.set(slice, position)
  }

  /** Whether all slices are in exact mode. */
  get isExact(): boolean {
    return this.#completeUpTo.size === 0
  }

  /** The position that is to come next in the log of a slice. */
  next(slice: Slice): number {
    return this.#cursor.next(slice) ?? 1
  }

  /** The last offset that is known of the log of a slice. */
  offset(slice: Slice): Offset {
    return this.#cursor.offset(slice)
  }

  /** Up to which position a slice was read in exact mode; undefined if it still is. */
  completeUpTo(slice: Slice): number | undefined {
    return this.#completeUpTo.get(slice)
  }

  /** From when on the events of a slice may not have been read, as far as that is known: those that are older were read in exact mode. */
  completeBefore(slice: Slice): Timestamp {
    const time = this.#timeUpTo.get(slice) ?? 0
    return timestamp(time > 0 ? time + 1 : 0)
  }

  /**
   * The verdict on an element. If it is accepted, it counts as read from now on. Only an event of a replay may be ahead
   * of its log. For any other element that is ahead, the source has lost the events between.
   */
  judge(element: Element<unknown>, isReplay = false): Verdict {
    const { position, slice, timestamp } = element
    // a source without positions promises nothing
    if (position === undefined) return "accepted"
    if (element._tag === "Skipped") return this.#judgeSkipped(element)
    const completeUpTo = this.#completeUpTo.size === 0 ? undefined : this.#completeUpTo.get(slice)
    return completeUpTo === undefined || !isReplay && position > (this.#cursor.next(slice) ?? position)
      ? ofLog[this.#cursor.take(slice, position, timestamp)]
      : this.#judgePerEntity(element, position, completeUpTo)
  }

  #judgeSkipped({ from, isDeferred, position, slice, timestamp }: Skipped): Verdict {
    const changesMode = isDeferred && !this.#completeUpTo.has(slice) &&
      this.#cursor.verdict(slice, position, timestamp, from) === "next"
    if (changesMode) {
      // the offset, as events that are older than the time to begin at are read, and never stored
      if (this.#cursor.offset(slice).position !== (this.#storedPositions.get(slice) ?? 0)) return "unsettled"
      this.#completeUpTo.set(slice, this.#cursor.position(slice))
      this.#timeUpTo.set(slice, this.#cursor.timestamp(slice))
      this.#handled.setNext(slice, this.#cursor.next(slice))
    }
    const next = this.#cursor.next(slice) ?? from
    const verdict = this.#cursor.take(slice, position, timestamp, from)
    if (verdict === "alreadyDelivered" && position >= next) this.#passOlder(slice, position)
    return ofLog[verdict]
  }

  /** Goes past a part of a log that is older than the time to begin at: it is not handled, and neither was anything before it. */
  #passOlder(slice: Slice, position: number): void {
    if (this.#completeUpTo.has(slice)) this.#handled.setNext(slice, position + 1)
  }

  #judgePerEntity(
    element: Exclude<Element<unknown>, Skipped>,
    position: number,
    completeUpTo: number
  ): Verdict {
    const { persistenceId, sequenceNumber, slice, timestamp } = element
    const next = this.#cursor.next(slice) ?? position
    if (position < next && position <= completeUpTo) {
      // A replay shows again what was read in exact mode. That does not tell the stored number, which has to be loaded.
      this.#numbers.raise(persistenceId, sequenceNumber)
      return "duplicate"
    }
    const rewound = this.rewound(persistenceId, slice)
    if (rewound !== undefined && timestamp < rewound.since && sequenceNumber <= rewound.last) {
      this.#numbers.raise(persistenceId, sequenceNumber)
      return "duplicate"
    }
    const isFound = rewound === undefined || this.#findLast(element, rewound)
    const verdict = isFound ? decideOn(this.#numbers, element, this.#isStrict) : "rewound"
    if (position < next && this.#rewinds.size > 0 && isJumped(this.#rewinds.get(slice), timestamp)) {
      // what was left out before it comes all the same
      if (verdict !== "accepted") return verdict
      this.#numbers.accept(persistenceId, sequenceNumber)
      return "passed"
    }
    if (verdict !== "accepted" && verdict !== "duplicate") {
      return position >= next && this.#cursor.verdict(slice, position, timestamp) === "fork" ? "forked" : verdict
    }
    const inLog = position < next ? "alreadyDelivered" : this.#cursor.take(slice, position, timestamp)
    if (inLog === "fork") return "forked"
    if (verdict === "duplicate") {
      if (inLog === "next") return "passed"
      if (inLog === "alreadyDelivered" && position >= next) this.#passOlder(slice, position)
      return "duplicate"
    }
    this.#numbers.accept(persistenceId, sequenceNumber)
    return "accepted"
  }

  /** Whether the last number of an entity that was rewound is known, or is found by one of its events. */
  #findLast({ persistenceId, sequenceNumber, timestamp }: Place, { last, since }: Rewound): boolean {
    if (this.#numbers.last(persistenceId) !== undefined) return true
    if (this.#isStrict && timestamp >= since && sequenceNumber > 1) return false
    this.#numbers.pass(persistenceId, Math.min(last, sequenceNumber - 1))
    return true
  }

  /**
   * An event waits for earlier ones of its entity, or to be loaded, from now on. It counts as read in its log, and the offset stays before it until it
   * is handled. One of a replay is not in the order of its log.
   */
  hold(place: Place, isReplay = false): void {
    const { position, slice, timestamp } = place
    if (position === undefined) return
    const isNext = !isReplay && position >= (this.#cursor.next(slice) ?? position)
    const before = this.#cursor.offset(slice)
    if (isNext) this.#cursor.take(slice, position, timestamp)
    this.#limits.hold(place, isNext ? { at: position, before } : undefined)
  }

  /** What has waited of an entity was judged. Returns whether it needs no handling any more, so that the next `advance` moves the offset past it. */
  lift(persistenceId: PersistenceId): boolean {
    return this.#numbers.inFlight(persistenceId) === 0 && this.#limits.lift(persistenceId)
  }

  /** Whether any event waits, or is not handled yet since it does not. */
  get isWaiting(): boolean {
    return !this.#limits.isEmpty
  }

  /** The time of the earliest event that waits, or is not stored yet since it does not; undefined if none is. */
  get waitsFrom(): Timestamp | undefined {
    return this.#limits.from
  }

  /** Whether an event of a replay waits, or is not handled yet since it does not. */
  get isReplayWaiting(): boolean {
    return this.#limits.holdsPast
  }

  /** The last number of an entity that was accepted or is stored; undefined if it has to be loaded. */
  last(persistenceId: PersistenceId): number | undefined {
    return this.#numbers.last(persistenceId)
  }

  /** The entities whose stored numbers have to be loaded to judge the elements. */
  unknown(elements: ReadonlyArray<Element<unknown>>): ReadonlyArray<PersistenceId> {
    if (this.isExact) return noEntities
    const unknown = new Set<PersistenceId>()
    for (const element of elements) {
      if (element._tag === "Skipped" || !this.#completeUpTo.has(element.slice)) continue
      const { persistenceId } = element
      const isLoaded = this.#numbers.last(persistenceId) !== undefined || this.#numbers.old(persistenceId) !== undefined
      if (!isLoaded) unknown.add(persistenceId)
    }
    return [...unknown]
  }

  /** The stored numbers of the entities were loaded. Entities that were not found have none. */
  loaded(
    persistenceIds: ReadonlyArray<PersistenceId>,
    found: ReadonlyMap<PersistenceId, StoredNumber>
  ): void {
    this.#numbers.loaded(persistenceIds, found, this.#rewoundAt, this.#limits)
  }

  /**
   * The last number that was stored of an entity before its slice was rewound. It is undefined if there is none, or if another was stored since.
   */
  rewound(persistenceId: PersistenceId, slice: Slice): Rewound | undefined {
    const stored = this.#rewoundAt === 0 ? undefined : this.#numbers.old(persistenceId)
    if (stored === undefined) return undefined
    const { sequenceNumber: last } = stored
    const since = forgottenSince(this.#rewinds.get(slice), stored)
    const isComplete = since !== undefined && since <= (this.#completeUntil.get(slice) ?? Infinity) + 1
    if (since !== undefined && !isComplete) return { last, since }
    // what was read in exact mode tells all of it
    this.#numbers.isNotOld(persistenceId, isComplete ? 0 : last)
    return undefined
  }

  /** The first sequence number of an entity that is missing before an event that leaves a gap. */
  missingFrom(persistenceId: PersistenceId): SequenceNumber {
    return sequenceNumber((this.#numbers.last(persistenceId) ?? 0) + 1)
  }

  /**
   * Whether the predecessor of an unproven event shows that nothing is missing before it: it was deleted, or was read
   * in exact mode.
   */
  proves(slice: Slice, predecessor: Pick<Place, "position" | "timestamp"> | undefined): boolean {
    return predecessor === undefined || (predecessor.position ?? Infinity) <= (this.#completeUpTo.get(slice) ?? 0)
  }

  /** Nothing is missing before an event any more. Events that the source does not have are gone. */
  complete({ persistenceId, sequenceNumber: last }: Pick<Place, "persistenceId" | "sequenceNumber">): void {
    this.#numbers.pass(persistenceId, last - 1)
  }

  /** Advances past elements that were handled, and returns where offsets move to. */
  advance(elements: ReadonlyArray<Place | Skipped>): ReadonlyArray<Standing> {
    if (this.isExact) return elements
    this.#before.clear()
    this.#reachedBefore.clear()
    this.#limits.handled(elements)
    const standings = elements.filter((element) => {
      const { position, slice, timestamp } = element
      if (position === undefined || !this.#completeUpTo.has(slice)) return true
      if ("persistenceId" in element) this.#numbers.handled(slice, element)
      const next = this.#handled.next(slice)
      const from = "from" in element ? element.from : position
      if (this.#handled.take(slice, position, timestamp, from) !== "next") return false
      if (!this.#before.has(slice)) this.#before.set(slice, next)
      if (this.#limits.of(slice) === undefined && !this.#reached.has(slice)) return true
      if (timestamp !== undefined) this.#reach(slice, { slice, position, timestamp })
      return false
    })
    const changed = this.#limits.changed()
    if (changed.size === 0 && this.#reachedBefore.size === 0) return standings
    for (const slice of changed) this.#reach(slice, this.#reached.get(slice))
    return [...standings, ...this.#move()]
  }

  #reach(slice: Slice, to: Standing | undefined): void {
    if (!this.#reachedBefore.has(slice)) this.#reachedBefore.set(slice, this.#reached.get(slice))
    if (to !== undefined) this.#reached.set(slice, to)
  }

  /** Moves the offsets of slices as far as no event of them waits. */
  #move(): ReadonlyArray<Standing> {
    const moved: Array<Standing> = []
    for (const slice of this.#reachedBefore.keys()) {
      const reached = this.#reached.get(slice)
      const stay = this.#limits.of(slice)
      if (stay === undefined) this.#reached.delete(slice)
      if (reached === undefined) continue
      const { position, timestamp } = stay === undefined || reached.position! < stay.at ? reached : stay.before
      if (position! > (this.#storedPositions.get(slice) ?? 0)) moved.push({ slice, position, timestamp })
    }
    return moved
  }

  /** The slices whose entities have numbers to be stored. */
  get ahead(): Iterable<Slice> {
    return this.#numbers.slices
  }

  /** The numbers of entities that are to be stored with the offset of a slice; undefined in exact mode. */
  entities(slice: Slice): ReadonlyMap<PersistenceId, Handled> | undefined {
    if (!this.#completeUpTo.has(slice)) return undefined
    return this.#numbers.ahead(slice)
  }

  /** The offset of a slice is stored, and the numbers of its entities. */
  stored(slice: Slice, position: number): void {
    this.#storedPositions.set(slice, position)
    this.#limits.stored()
    this.#numbers.stored(slice)
  }

  /** The elements of the last `advance` could not be stored, and are handled again. */
  revert(): void {
    this.#numbers.revert()
    this.#limits.revert()
    for (const [slice, next] of this.#before) this.#handled.setNext(slice, next)
    for (const [slice, reached] of this.#reachedBefore) {
      if (reached === undefined) this.#reached.delete(slice)
      else this.#reached.set(slice, reached)
    }
    this.#before.clear()
    this.#reachedBefore.clear()
  }
}

/**
 * What a worker asks of what it has read, however its source says where an event stands.
 *
 * @category models
 * @since 0.1.0
 */
export type Reading = Pick<ReadingState, keyof ReadingState>

const ofLog: Readonly<Record<LogVerdict, Verdict>> = {
  next: "accepted",
  alreadyDelivered: "duplicate",
  gap: "outOfPlace",
  fork: "forked"
}

const noEntities: ReadonlyArray<PersistenceId> = []
