import type { EncodedEnvelope } from "../../Envelope.ts"
import type { Offsets } from "../../Offset.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import * as Slice from "../../Slice.ts"

/**
 * @internal
 * The numbers of the newest snapshots of entities, as a reader of their journal knows them. Pure but for what it
 * remembers.
 *
 * Snapshots are looked up for events up to the heads that the logs had when reading began, and for events that were
 * deleted. What is appended later is read as it is: whoever reads has had all that is before it.
 */
export class SnapshotNumbers {
  /** The positions, by slice, up to which snapshots are looked up. */
  readonly #past = new Float64Array(Slice.count)
  /** 0 for an entity without a snapshot. The entities that were looked up first come first. */
  readonly #known = new Map<PersistenceId, number>()
  readonly #capacity: number
  #hasForgotten = false

  /** Remembers the snapshots of so many entities, of 10,000 by default. */
  constructor(heads: Offsets, capacity = 10_000) {
    this.#capacity = capacity
    this.raise(heads)
  }

  /** Snapshots are looked up at least to these heads. */
  raise(heads: Offsets): void {
    for (const [slice, { position }] of heads) {
      if (position > this.#past[slice]!) this.#past[slice] = position
    }
    this.#hasForgotten = false
  }

  /**
   * Whether the heads have to be read again before the page is: events of it are past them, and it was forgotten of an
   * entity that its earlier events were left out in favour of a snapshot. The event of that snapshot may be among these.
   */
  needsHeads(page: ReadonlyArray<EncodedEnvelope>): boolean {
    return this.#hasForgotten && page.some((event) => !this.#isPast(event))
  }

  /** The entities of a page whose newest snapshot has to be looked up. */
  unknown(page: ReadonlyArray<EncodedEnvelope>): ReadonlySet<PersistenceId> {
    const found = new Set<PersistenceId>()
    for (const event of page) {
      const known = this.#known.get(event.persistenceId)
      // an event is deleted once a snapshot includes it, which may be a newer one than is known
      const isMissing = event.payload === undefined
        ? known === undefined || known < event.sequenceNumber
        : known === undefined && this.#isPast(event)
      if (isMissing) found.add(event.persistenceId)
    }
    return found
  }

  /** Remembers of the entities which snapshot is their newest, if they have one. */
  learn(entities: Iterable<PersistenceId>, newest: ReadonlyMap<PersistenceId, number>): void {
    for (const persistenceId of entities) {
      // those that are learnt again come last
      this.#known.delete(persistenceId)
      this.#known.set(persistenceId, newest.get(persistenceId) ?? 0)
    }
  }

  /** The entities whose newest snapshot stands in the place of an event of the page, with its number. */
  due(page: ReadonlyArray<EncodedEnvelope>): ReadonlyMap<PersistenceId, number> {
    const found = new Map<PersistenceId, number>()
    if (this.#known.size === 0) return found
    for (const { persistenceId, sequenceNumber } of page) {
      if (this.#known.get(persistenceId) === sequenceNumber) found.set(persistenceId, sequenceNumber)
    }
    return found
  }

  /** The number of the newest snapshot of the event's entity, if the event is not after it. */
  notBefore({ persistenceId, sequenceNumber }: EncodedEnvelope): number | undefined {
    const known = this.#known.get(persistenceId)
    return known !== undefined && known >= sequenceNumber ? known : undefined
  }

  /** Forgets what there is no room for. To be called when a page is done. */
  forget(): void {
    for (const [persistenceId, known] of this.#known) {
      if (this.#known.size <= this.#capacity) return
      this.#known.delete(persistenceId)
      if (known > 0) this.#hasForgotten = true
    }
  }

  #isPast({ position, slice }: EncodedEnvelope): boolean {
    return position !== undefined && position <= this.#past[slice]!
  }
}
