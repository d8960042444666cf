import type { Place } from "../../Envelope.ts"
import type { Handled } from "../../OffsetStore.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { StoredNumber } from "../../Rewind.ts"
import { make as sequenceNumber, type SequenceNumber } from "../../SequenceNumber.ts"
import type { Slice } from "../../Slice.ts"

/** The stored numbers of so many entities are remembered at most. Those of others are loaded again. */
const maxEntities = 10_000

/**
 * @internal
 * The last sequence numbers of entities: those that are stored, those that were accepted since, and those that were handled since. Pure.
 */
export class EntityNumbers {
  readonly #inFlight = new Map<PersistenceId, SequenceNumber>()
  readonly #known = new Map<PersistenceId, number>()
  /** Stored numbers that may be older than a rewind. */
  readonly #old = new Map<PersistenceId, StoredNumber>()
  /** The last numbers that were handled and are not stored, slice by slice. */
  readonly #ahead = new Map<Slice, Map<PersistenceId, Handled>>()

  /** The last number that was accepted and is not stored; 0 if there is none. */
  inFlight(persistenceId: PersistenceId): number {
    return this.#inFlight.get(persistenceId) ?? 0
  }

  /** The last number that is stored, as far as it is known: 0 if there is none, undefined if it has to be loaded. */
  known(persistenceId: PersistenceId): number | undefined {
    return this.#known.get(persistenceId)
  }

  /** The last number that was accepted or is stored; undefined if it has to be loaded. */
  last(persistenceId: PersistenceId): number | undefined {
    return this.#inFlight.get(persistenceId) ?? this.#known.get(persistenceId)
  }

  /** The number that is stored of an entity, if that may be older than a rewind. */
  old(persistenceId: PersistenceId): StoredNumber | undefined {
    return this.#old.get(persistenceId)
  }

  /** What is stored of an entity tells as it is that everything up to the number was handled. */
  isNotOld(persistenceId: PersistenceId, last: number): void {
    this.#old.delete(persistenceId)
    this.pass(persistenceId, last)
  }

  accept(persistenceId: PersistenceId, sequenceNumber: SequenceNumber): void {
    this.#inFlight.set(persistenceId, sequenceNumber)
  }

  /** Everything up to the number needs no handling any more. */
  pass(persistenceId: PersistenceId, last: number): void {
    this.#known.set(persistenceId, Math.max(last, this.#known.get(persistenceId) ?? 0))
    const inFlight = this.#inFlight.get(persistenceId)
    if (inFlight !== undefined) this.#inFlight.set(persistenceId, sequenceNumber(Math.max(last, inFlight)))
  }

  /** A higher number than the one that is known may be stored. One that is not known has to be loaded all the same. */
  raise(persistenceId: PersistenceId, last: number): void {
    const known = this.#known.get(persistenceId)
    if (known !== undefined && known < last) this.#known.set(persistenceId, last)
  }

  /**
   * The stored numbers of the entities were loaded. Entities that were not found have none. Higher ones may have become known meanwhile. Those that
   * were stored before a revision may be older than a rewind. Those of entities that are still needed, or have an event in hand, are not forgotten.
   */
  loaded(
    persistenceIds: ReadonlyArray<PersistenceId>,
    found: ReadonlyMap<PersistenceId, StoredNumber>,
    before = 0,
    needed?: { readonly has: (persistenceId: PersistenceId) => boolean }
  ): void {
    if (this.#known.size + this.#old.size + persistenceIds.length > maxEntities) {
      for (const numbers of [this.#known, this.#old]) {
        for (const persistenceId of numbers.keys()) {
          if (needed?.has(persistenceId) !== true && !this.#inFlight.has(persistenceId)) numbers.delete(persistenceId)
        }
      }
    }
    for (const persistenceId of persistenceIds) {
      const stored = found.get(persistenceId)
      if (stored !== undefined && stored.revision < before) this.#old.set(persistenceId, stored)
      else this.#known.set(persistenceId, Math.max(stored?.sequenceNumber ?? 0, this.#known.get(persistenceId) ?? 0))
    }
  }

  handled(slice: Slice, { persistenceId, sequenceNumber }: Place): void {
    // what was handled when it was replayed comes once more in its turn: nothing of its entity may be in hand then
    if (!this.#inFlight.has(persistenceId) || sequenceNumber <= (this.#known.get(persistenceId) ?? 0)) return
    let ahead = this.#ahead.get(slice)
    if (ahead === undefined) this.#ahead.set(slice, ahead = new Map())
    const { first = sequenceNumber, last = 0 } = ahead.get(persistenceId) ?? {}
    if (sequenceNumber > last) ahead.set(persistenceId, { first, last: sequenceNumber })
  }

  /** The slices whose entities have numbers to be stored. */
  get slices(): Iterable<Slice> {
    return this.#ahead.keys()
  }

  /** The numbers that are to be stored of a slice. */
  ahead(slice: Slice): ReadonlyMap<PersistenceId, Handled> {
    return this.#ahead.get(slice) ?? none
  }

  /** The numbers of a slice are stored. */
  stored(slice: Slice): void {
    const ahead = this.#ahead.get(slice)
    if (ahead === undefined) return
    this.#ahead.delete(slice)
    for (const [persistenceId, { last }] of ahead) {
      // Higher numbers may be stored already, if a replay has brought them before their turn. Forgotten ones are loaded
      // again.
      this.raise(persistenceId, last)
      this.#old.delete(persistenceId)
      if (this.#inFlight.get(persistenceId)! <= last) this.#inFlight.delete(persistenceId)
    }
  }

  /** What was handled could not be stored, and is handled again. */
  revert(): void {
    this.#ahead.clear()
  }
}

const none: ReadonlyMap<PersistenceId, Handled> = new Map()
