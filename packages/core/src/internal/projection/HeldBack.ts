import { type Element, type Place, reminder, type Skipped } from "../../Envelope.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { SequenceNumber } from "../../SequenceNumber.ts"
import type { Slice } from "../../Slice.ts"

/** @internal An event, or the place of one. */
export type Held = Exclude<Element<any>, { readonly _tag: "Skipped" }>

/** @internal The events of an entity that wait. */
export interface Entity {
  readonly persistenceId: PersistenceId
  /** In the order of their numbers. */
  readonly elements: Array<Held>
  bytes: number
}

/** Up to where the offset of a slice may move while an entity of it waits. */
interface Limit {
  readonly slice: Slice
  readonly timestamp: number
  /** The number whose handling lifts the limit. */
  until: number
}

/** In bytes, of all entities that wait. What is beyond is loaded again. */
const maxBytes = 4 * 1024 * 1024

/** While so many entities wait, nothing more is read of the source. */
const maxEntities = 1_000

/**
 * @internal
 * The events that wait until earlier ones of their entities have come. They hold back the offsets of their slices, so that they come again if the
 * worker begins anew. Pure but for its listeners.
 */
export class HeldBack {
  readonly #entities = new Map<PersistenceId, Entity>()
  readonly #limits = new Map<PersistenceId, Limit>()
  readonly #listeners = new Set<() => void>()
  #lifted: Array<readonly [PersistenceId, Limit]> = []
  #bytes = 0

  get isEmpty(): boolean {
    return this.#entities.size === 0
  }

  get isFull(): boolean {
    return this.#entities.size >= maxEntities
  }

  has(persistenceId: PersistenceId): boolean {
    return this.#entities.has(persistenceId)
  }

  /** Holds an event back. Returns its entity if no other event of it waits. */
  hold(element: Held): Entity | undefined {
    const { persistenceId, sequenceNumber, slice, timestamp } = element
    let entity = this.#entities.get(persistenceId)
    const isFirst = entity === undefined
    if (entity === undefined) this.#entities.set(persistenceId, entity = { persistenceId, elements: [], bytes: 0 })
    const { elements } = entity
    const at = elements.findLastIndex((held) => held.sequenceNumber <= sequenceNumber)
    const isThere = elements[at]?.sequenceNumber === sequenceNumber
    // a reminder holds nothing that the event itself does not
    if (!isThere || elements[at]!._tag === "Reminder") {
      const bytes = bytesOf(element)
      const fits = bytes === 0 || this.#bytes + bytes <= maxBytes
      elements.splice(isThere ? at : at + 1, isThere ? 1 : 0, fits ? element : reminder(element))
      if (fits) {
        entity.bytes += bytes
        this.#bytes += bytes
      }
      // of reminders at the end the last one says it all
      if (elements.at(-1)!._tag === "Reminder" && elements.at(-2)?._tag === "Reminder") elements.splice(-2, 1)
    }
    const limit = this.#limits.get(persistenceId)
    this.#limits.set(persistenceId, {
      slice,
      timestamp: Math.min(timestamp, limit?.timestamp ?? timestamp),
      until: Infinity
    })
    return isFirst ? entity : undefined
  }

  /** The first event of an entity that waits; if asked so, since it was held back then. */
  first(persistenceId: PersistenceId, since?: Entity): Held | undefined {
    const entity = this.#entities.get(persistenceId)
    return since === undefined || entity === since ? entity?.elements[0] : undefined
  }

  /** The events of an entity, which wait no more. */
  take(persistenceId: PersistenceId): ReadonlyArray<Held> {
    const entity = this.#entities.get(persistenceId)
    if (entity === undefined) return []
    this.#entities.delete(persistenceId)
    this.#bytes -= entity.bytes
    const limit = this.#limits.get(persistenceId)
    if (limit !== undefined) limit.until = entity.elements.at(-1)!.sequenceNumber
    this.changed()
    return entity.elements
  }

  /** Nothing is to be handled of an entity any more that its limit is for. */
  lift(persistenceId: PersistenceId): void {
    if (!this.#entities.has(persistenceId)) this.#limits.delete(persistenceId)
  }

  /** Events were handled. The limits that they lift are lifted until `revert`. */
  handled(elements: ReadonlyArray<Place | Skipped>): void {
    this.#lifted = []
    if (this.#limits.size === 0) return
    for (const element of elements) {
      if (!("persistenceId" in element)) continue
      const limit = this.#limits.get(element.persistenceId)
      if (limit === undefined || element.sequenceNumber < limit.until) continue
      this.#limits.delete(element.persistenceId)
      this.#lifted.push([element.persistenceId, limit])
    }
  }

  revert(): void {
    for (const [persistenceId, limit] of this.#lifted) {
      if (!this.#limits.has(persistenceId)) this.#limits.set(persistenceId, limit)
    }
    this.#lifted = []
  }

  /** What was handled is stored. */
  stored(): void {
    this.#lifted = []
  }

  /** The timestamp of the earliest event that waits, or is not stored yet since it does not. */
  get from(): number | undefined {
    let from: number | undefined
    for (const { timestamp } of this.#limits.values()) from = Math.min(timestamp, from ?? timestamp)
    for (const [, { timestamp }] of this.#lifted) from = Math.min(timestamp, from ?? timestamp)
    return from
  }

  /** The timestamps before which the offsets of slices have to stay. */
  limits(): ReadonlyMap<Slice, number> {
    if (this.#limits.size === 0) return none
    const limits = new Map<Slice, number>()
    for (const { slice, timestamp } of this.#limits.values()) {
      limits.set(slice, Math.min(timestamp, limits.get(slice) ?? timestamp))
    }
    return limits
  }

  /** Something was accepted of an entity that waits, or an entity waits no more. */
  changed(): void {
    // one that listens again at once is called at the next change
    for (const listener of new Set(this.#listeners)) listener()
  }

  /** Calls at each change, until the function that it returns is called. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }
}

const none: ReadonlyMap<Slice, number> = new Map()

const bytesOf = (element: Held): number => element._tag === "Envelope" ? element.bytes : 0

/** @internal The last number that is missing before an event; of a reminder it is its own. */
export const lastMissing = (held: Held): SequenceNumber =>
  (held._tag === "Reminder" ? held.sequenceNumber : held.sequenceNumber - 1) as SequenceNumber
