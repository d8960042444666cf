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

/** Events of an entity that wait, from one number to another. */
interface Wait {
  readonly from: number
  readonly to: number
  /** That of the first. */
  readonly timestamp: Timestamp
  /** That of the first. Undefined if the offset is past all of them. */
  readonly stay: Stay | undefined
  /** Whether one of them was passed over, or was fetched. */
  readonly isPast: boolean
}

/** What waits of an entity, in the order of its numbers. */
interface Limit {
  readonly slice: Slice
  readonly waits: Array<Wait>
}

/** Of an entity of which more events wait, the last ones count as one. */
const maxWaits = 32

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
  /** The slices whose offsets may go on further, and nobody has asked since. */
  #changed = new Set<Slice>()
  /** What has waited of the last elements that were handled. */
  #handled: Array<readonly [PersistenceId, Limit]> = []

  get isEmpty(): boolean {
    return this.#limits.size === 0
  }

  has(persistenceId: PersistenceId): boolean {
    return this.#limits.has(persistenceId)
  }

  /** An event waits from now on, or still. Without a place to stay before, it is one that the offset is past, unless it is known to wait. */
  hold({ persistenceId, sequenceNumber, slice, timestamp }: Place, stay: Stay | undefined): void {
    const limit = this.#limits.get(persistenceId) ?? { slice, waits: [] }
    const { waits } = limit
    const at = waits.findLastIndex(({ from }) => from <= sequenceNumber)
    const before = waits[at]
    const isKnown = before !== undefined && sequenceNumber <= before.to
    if (isKnown && stay === undefined) return
    waits.splice(at + 1, 0, { from: sequenceNumber, to: sequenceNumber, timestamp, stay, isPast: stay === undefined })
    const isAsBefore = before !== undefined && before.stay === undefined && stay === undefined
    if (isKnown || isAsBefore || waits.length > maxWaits) join(waits, Math.max(at, 0))
    this.#follow(persistenceId, limit)
  }

  /** Nothing of an entity waits any more, or needs to be handled. Returns whether anything has waited until now. */
  lift(persistenceId: PersistenceId): boolean {
    const limit = this.#limits.get(persistenceId)
    if (limit === undefined) return false
    limit.waits.length = 0
    this.#follow(persistenceId, limit)
    return true
  }

  /** Events were handled. They limit nothing any more, until `revert`. */
  handled(elements: ReadonlyArray<Place | Skipped>): void {
    this.stored()
    if (this.#limits.size === 0) return
    for (const element of elements) {
      if (!("persistenceId" in element)) continue
      const { persistenceId, sequenceNumber } = element
      const limit = this.#limits.get(persistenceId)
      if (limit === undefined) continue
      const { slice, waits } = limit
      const rest = waits.findIndex(({ to }) => to > sequenceNumber)
      if (rest !== 0 && waits.length > 0) {
        this.#handled.push([persistenceId, { slice, waits: waits.splice(0, rest < 0 ? waits.length : rest) }])
      }
    }
    for (const [persistenceId] of this.#handled) {
      const limit = this.#limits.get(persistenceId)
      if (limit !== undefined) this.#follow(persistenceId, limit)
    }
  }

  revert(): void {
    for (const [persistenceId, { slice, waits }] of this.#handled.toReversed()) {
      const limit = this.#limits.get(persistenceId) ?? { slice, waits: [] }
      limit.waits.unshift(...waits)
      this.#follow(persistenceId, limit)
    }
    this.stored()
  }

  /** What was handled is stored. */
  stored(): void {
    this.#handled = []
  }

  /** The time of the earliest event that waits, or is not stored yet since it does not. */
  get from(): Timestamp | undefined {
    let from: Timestamp | undefined
    const see = ({ waits: [first] }: Limit) => {
      if (first !== undefined && (from === undefined || first.timestamp < from)) from = first.timestamp
    }
    for (const limit of this.#limits.values()) see(limit)
    for (const [, limit] of this.#handled) see(limit)
    return from
  }

  /** Whether an event waits that was passed over, or was fetched. */
  get holdsPast(): boolean {
    for (const { waits } of this.#limits.values()) if (waits.some(({ isPast }) => isPast)) return true
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

  /** Has the offset of a slice stay before the first event of the entity that still waits. */
  #follow(persistenceId: PersistenceId, limit: Limit): void {
    const { slice, waits } = limit
    if (waits.length === 0) this.#limits.delete(persistenceId)
    else this.#limits.set(persistenceId, limit)
    const stay = waits.find((wait) => wait.stay !== undefined)?.stay
    const entities = this.#bySlice.get(slice) ?? new Map<PersistenceId, Stay>()
    const before = entities.get(persistenceId)
    if (stay === before) return
    if (stay === undefined) entities.delete(persistenceId)
    else entities.set(persistenceId, stay)
    if (entities.size === 0) this.#bySlice.delete(slice)
    else this.#bySlice.set(slice, entities)
    const first = this.#first.get(slice)
    if (stay !== undefined && (first === undefined || stay.at < first.at)) this.#first.set(slice, stay)
    else if (first === before) this.#findFirst(slice, entities)
  }

  #findFirst(slice: Slice, entities: ReadonlyMap<PersistenceId, Stay>): void {
    let first: Stay | undefined
    for (const stay of entities.values()) if (first === undefined || stay.at < first.at) first = stay
    if (first === undefined) this.#first.delete(slice)
    else this.#first.set(slice, first)
    this.#changed.add(slice)
  }
}

/** Makes one of what waits at an index and what is next to it. */
const join = (waits: Array<Wait>, at: number): void => {
  const [a, b] = [waits[at]!, waits[at + 1]!]
  const isFirst = b.stay === undefined || a.stay !== undefined && a.stay.at <= b.stay.at
  waits.splice(at, 2, {
    from: a.from,
    to: Math.max(a.to, b.to),
    timestamp: a.timestamp,
    stay: isFirst ? a.stay : b.stay,
    isPast: a.isPast || b.isPast
  })
}

const none: ReadonlySet<Slice> = new Set()
