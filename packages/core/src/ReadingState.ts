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
import { LogCursor, type Verdict as LogVerdict } from "./LogCursor.ts"
import type { Offset } from "./Offset.ts"
import type { Handled, StoredOffsets } from "./OffsetStore.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { Position } from "./Position.ts"
import { make as sequenceNumber, type SequenceNumber } from "./SequenceNumber.ts"
import type { Slice } from "./Slice.ts"
import type { SliceRange } from "./SliceRange.ts"
import type { Timestamp } from "./Timestamp.ts"

/**
 * The verdict on an event by the sequence numbers of its entity:
 *
 * - `accepted`: it is to be handled.
 * - `duplicate`: it was handled before, or waits to be.
 * - `gap`: earlier events of its entity are missing. They are to be replayed first.
 * - `unproven`: no event of its entity was read, and it is not the first one. Its predecessor tells whether something is missing.
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
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict = EntityVerdict | "passed" | "unsettled" | "outOfPlace" | "forked" | "unloaded"

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
 * What a worker has read. `judge` each element in the order of the source, and do what the verdict says. `advance` past
 * the elements that were handled, store `entities` with the offsets, and then say `stored` or `revert`. A worker that
 * begins from other offsets begins with another state.
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
  readonly #numbers = new EntityNumbers()
  /** What came next in logs before the last `advance`. */
  readonly #before = new Map<Slice, number | undefined>()

  constructor(
    range: SliceRange,
    { completeUpTo, offsets }: Pick<StoredOffsets, "completeUpTo" | "offsets">,
    options?: { readonly isStrict?: boolean | undefined }
  ) {
    this.#isStrict = options?.isStrict ?? true
    this.#cursor = new LogCursor(range, offsets)
    this.#handled = new LogCursor(range, offsets)
    for (const [slice, { position }] of completeUpTo) this.#completeUpTo.set(slice, position)
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
    { persistenceId, sequenceNumber, slice, timestamp }: Place,
    position: number,
    completeUpTo: number
  ): Verdict {
    const next = this.#cursor.next(slice) ?? position
    if (position < next && position <= completeUpTo) {
      // A replay shows again what was read in exact mode. That does not tell the stored number, which has to be loaded.
      this.#numbers.raise(persistenceId, sequenceNumber)
      return "duplicate"
    }
    const verdict = decide(
      sequenceNumber,
      this.#numbers.inFlight(persistenceId),
      this.#numbers.known(persistenceId),
      this.#isStrict
    )
    if (verdict !== "accepted" && verdict !== "duplicate") return verdict
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

  /** The entities whose stored numbers have to be loaded to judge the elements. */
  unknown(elements: ReadonlyArray<Element<unknown>>): ReadonlyArray<PersistenceId> {
    if (this.isExact) return noEntities
    const unknown = new Set<PersistenceId>()
    for (const element of elements) {
      if (element._tag === "Skipped" || !this.#completeUpTo.has(element.slice)) continue
      const { persistenceId } = element
      if (this.#numbers.last(persistenceId) === undefined) unknown.add(persistenceId)
    }
    return [...unknown]
  }

  /** The stored numbers of the entities were loaded. Entities that were not found have none. */
  loaded(
    persistenceIds: ReadonlyArray<PersistenceId>,
    found: ReadonlyMap<PersistenceId, SequenceNumber>
  ): void {
    this.#numbers.loaded(persistenceIds, found)
  }

  /** The first sequence number of an entity that is missing before an event that leaves a gap. */
  missingFrom(persistenceId: PersistenceId): SequenceNumber {
    return sequenceNumber((this.#numbers.last(persistenceId) ?? 0) + 1)
  }

  /**
   * Whether the predecessor of an unproven event shows that nothing is missing before it: it was deleted, or was read
   * in exact mode.
   */
  proves(slice: Slice, predecessor: Pick<Place, "position"> | undefined): boolean {
    return predecessor === undefined || (predecessor.position ?? Infinity) <= (this.#completeUpTo.get(slice) ?? 0)
  }

  /** Nothing is missing before an event any more. Events that the source does not have are gone. */
  complete({ persistenceId, sequenceNumber: last }: Pick<Place, "persistenceId" | "sequenceNumber">): void {
    this.#numbers.pass(persistenceId, last - 1)
  }

  /** Advances past elements that were handled, and returns those that the offsets move to. */
  advance(elements: ReadonlyArray<Place | Skipped>): ReadonlyArray<Standing> {
    if (this.isExact) return elements
    this.#before.clear()
    return elements.filter((element) => {
      const { position, slice, timestamp } = element
      if (position === undefined || !this.#completeUpTo.has(slice)) return true
      if ("persistenceId" in element) this.#numbers.handled(slice, element)
      const next = this.#handled.next(slice)
      const from = "from" in element ? element.from : position
      if (this.#handled.take(slice, position, timestamp, from) !== "next") return false
      if (!this.#before.has(slice)) this.#before.set(slice, next)
      return true
    })
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
    this.#numbers.stored(slice)
  }

  /** The elements of the last `advance` could not be stored, and are handled again. */
  revert(): void {
    this.#numbers.revert()
    for (const [slice, next] of this.#before) this.#handled.setNext(slice, next)
    this.#before.clear()
  }
}

/**
 * What a worker asks of what it has read, however its source says where an event stands.
 *
 * @category models
 * @since 0.1.0
 */
export type Reading = Pick<ReadingState, keyof ReadingState> & {
  /** The time of the earliest event that may wait while later ones are handled, where that can be. */
  readonly waitsFrom?: Timestamp | undefined
}

const ofLog: Readonly<Record<LogVerdict, Verdict>> = {
  next: "accepted",
  alreadyDelivered: "duplicate",
  gap: "outOfPlace",
  fork: "forked"
}

const noEntities: ReadonlyArray<PersistenceId> = []
