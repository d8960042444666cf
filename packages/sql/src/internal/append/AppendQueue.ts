import { sizeOf } from "@sluice/core/Envelope"
import type { AppendRequest } from "@sluice/core/Journal"
import type { PersistenceId } from "@sluice/core/PersistenceId"

/** @internal How much a batch has. */
export interface Limits {
  /** A batch is full with so many events. */
  readonly maxEvents: number
  /** A batch is full with so many bytes. */
  readonly maxBytes: number
  /** Whether two appends of one entity may be in one batch. */
  readonly joins: (earlier: AppendRequest, later: AppendRequest) => boolean
}

/**
 * @internal
 * The appends that wait for a lane, in the order in which they came. A batch takes those of one entity type, and leaves the order within each
 * entity as it is.
 */
export class AppendQueue<W extends { readonly request: AppendRequest }> {
  readonly #limits: Limits
  /** In their order. Those who stop waiting may be thousands at a time. */
  #waiting = new Set<W>()
  #events = 0

  constructor(limits: Limits) {
    this.#limits = limits
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0
  }

  /** How many events wait. */
  get events(): number {
    return this.#events
  }

  add(waiting: W): void {
    this.#waiting.add(waiting)
    this.#events += waiting.request.events.length
  }

  /** Whoever appended has stopped waiting. */
  remove(waiting: W): void {
    if (!this.#waiting.delete(waiting)) return
    this.#events -= waiting.request.events.length
  }

  /** Takes all that wait. */
  takeAll(): ReadonlyArray<W> {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    this.#events = 0
    return waiting
  }

  /** Takes the next batch, of what may be taken: the first such append, however large it is, and what fits with it. */
  takeBatch(mayTake: (request: AppendRequest) => boolean = all): ReadonlyArray<W> {
    const { joins, maxBytes, maxEvents } = this.#limits
    const batch: Array<W> = []
    /** The last append of each entity that was looked at; undefined where it was left. */
    const entities = new Map<PersistenceId, AppendRequest | undefined>()
    let events = 0
    let bytes = 0
    for (const waiting of this.#waiting) {
      if (batch.length > 0 && (events >= maxEvents || bytes >= maxBytes)) break
      const { request } = waiting
      const { entityType, persistenceId } = request
      const earlier = entities.get(persistenceId)
      const fits = (batch.length === 0 || entityType === batch[0]!.request.entityType) &&
        (entities.has(persistenceId) ? earlier !== undefined && joins(earlier, request) : mayTake(request))
      // an append that is left keeps back those of its entity that follow
      entities.set(persistenceId, fits ? request : undefined)
      if (!fits) continue
      this.#waiting.delete(waiting)
      batch.push(waiting)
      events += request.events.length
      for (const event of request.events) bytes += sizeOf(event)
    }
    this.#events -= events
    return batch
  }
}

const all = () => true
