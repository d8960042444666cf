import type { Place, Skipped } from "../../Envelope.ts"
import type { Offset } from "../../Offset.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { Slice } from "../../Slice.ts"
import type { Timestamp } from "../../Timestamp.ts"

/** @internal Where the offset of a slice has to stay while an event waits. */
export interface Stay {
  /** Where the event stands, by what the slice is read in the order of: its position, or its time. */
  readonly at: number
  /** The last offset that is before it. */
  readonly before: Offset
}

interface Limit {
  readonly slice: Slice
  /** Undefined if only events wait that were passed over, which the offset is past. */
  readonly stay: Stay | undefined
  readonly timestamp: Timestamp
  /** Whether an event waits that was passed over, or was fetched. */
  readonly isPast: boolean
  /** The number whose handling lifts the limit. */
  readonly until: number
  /** The last one that was handled since it is there. */
  handled: number
}

/**
 * @internal
 * What the events of entities that wait for earlier ones hold back, until they are handled: the offsets of their slices, so that they come again if the
 * worker begins anew. Pure.
 */
export class Limits {
  readonly #limits = new Map<PersistenceId, Limit>()
  readonly #bySlice = new Map<Slice, Map<PersistenceId, Stay>>()
  /** The first of each slice. */
  readonly #first = new Map<Slice, Stay>()
  /** The slices of which limits were lifted, and nobody has asked since. */
  #changed = new Set<Slice>()
  #lifted: Array<readonly [PersistenceId, Limit]> = []
  /** What was handled before the last elements were. */
  readonly #before = new Map<Limit, number>()

  get isEmpty(): boolean {
    return this.#limits.size === 0
  }

  has(persistenceId: PersistenceId): boolean {
    return this.#limits.has(persistenceId)
  }

  /** An event waits from now on. Without a place to stay before, it is one that the offset is past. */
  hold({ persistenceId, slice, timestamp }: Place, stay: Stay | undefined): void {
    const known = this.#limits.get(persistenceId)
    const first = known?.stay !== undefined && (stay === undefined || known.stay.at <= stay.at) ? known.stay : stay
    this.#set(persistenceId, {
      slice,
      stay: first,
      timestamp: known === undefined || timestamp < known.timestamp ? timestamp : known.timestamp,
      isPast: stay === undefined || known?.isPast === true,
      until: Infinity,
      handled: known?.handled ?? 0
    })
  }

  /** The events of an entity wait no more. It is limited until the last of them is handled. */
  release(persistenceId: PersistenceId, until: number): void {
    const limit = this.#limits.get(persistenceId)
    if (limit !== undefined) this.#limits.set(persistenceId, { ...limit, until })
  }

  /** Lifts the limit of an entity of which everything that it is for was handled, or needs no handling any more. Returns whether there was one. */
  lift(persistenceId: PersistenceId, isHandled: boolean): boolean {
    const limit = this.#limits.get(persistenceId)
    if (limit === undefined || !isHandled && limit.handled < limit.until) return false
    this.#delete(persistenceId, limit)
    return true
  }

  /** Events were handled. The limits that they lift are lifted until `revert`. */
  handled(elements: ReadonlyArray<Place | Skipped>): void {
    this.stored()
    if (this.#limits.size === 0) return
    for (const element of elements) {
      if (!("persistenceId" in element)) continue
      const limit = this.#limits.get(element.persistenceId)
      if (limit === undefined) continue
      if (!this.#before.has(limit)) this.#before.set(limit, limit.handled)
      limit.handled = Math.max(limit.handled, element.sequenceNumber)
      if (limit.handled < limit.until) continue
      this.#delete(element.persistenceId, limit)
      this.#lifted.push([element.persistenceId, limit])
    }
  }

  revert(): void {
    for (const [limit, handled] of this.#before) limit.handled = handled
    for (const [persistenceId, limit] of this.#lifted) {
      if (!this.#limits.has(persistenceId)) this.#set(persistenceId, limit)
    }
    this.stored()
  }

  /** What was handled is stored. */
  stored(): void {
    this.#lifted = []
    this.#before.clear()
  }

  /** The time of the earliest event that waits, or is not stored yet since it does not. */
  get from(): Timestamp | undefined {
    let from: Timestamp | undefined
    for (const { timestamp } of this.#limits.values()) if (from === undefined || timestamp < from) from = timestamp
    for (const [, { timestamp }] of this.#lifted) if (from === undefined || timestamp < from) from = timestamp
    return from
  }

  /** Whether an event waits that was passed over, or was fetched. */
  get holdsPast(): boolean {
    for (const { isPast } of this.#limits.values()) if (isPast) return true
    return false
  }

  /** Where the offset of a slice has to stay; undefined if it may go on. */
  of(slice: Slice): Stay | undefined {
    return this.#first.get(slice)
  }

  /** Where the offsets have to stay of slices of which an event waits. */
  get stays(): Iterable<readonly [Slice, Stay]> {
    return this.#first
  }

  /** The slices whose offsets may go on further than when it was asked last. */
  changed(): ReadonlySet<Slice> {
    const changed = this.#changed
    if (changed.size === 0) return none
    this.#changed = new Set()
    return changed
  }

  #set(persistenceId: PersistenceId, limit: Limit): void {
    this.#limits.set(persistenceId, limit)
    const { slice, stay } = limit
    if (stay === undefined) return
    let entities = this.#bySlice.get(slice)
    if (entities === undefined) this.#bySlice.set(slice, entities = new Map())
    entities.set(persistenceId, stay)
    const first = this.#first.get(slice)
    if (first === undefined || stay.at < first.at) this.#first.set(slice, stay)
  }

  #delete(persistenceId: PersistenceId, { slice, stay }: Limit): void {
    this.#limits.delete(persistenceId)
    const entities = this.#bySlice.get(slice)
    if (stay === undefined || entities === undefined) return
    entities.delete(persistenceId)
    if (entities.size === 0) this.#bySlice.delete(slice)
    if (this.#first.get(slice) !== stay) return
    let first: Stay | undefined
    for (const other of entities.values()) if (first === undefined || other.at < first.at) first = other
    if (first === undefined) this.#first.delete(slice)
    else this.#first.set(slice, first)
    this.#changed.add(slice)
  }
}

const none: ReadonlySet<Slice> = new Set()
