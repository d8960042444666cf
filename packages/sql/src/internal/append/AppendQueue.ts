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
  #waiting: Array<W> = []

  constructor(limits: Limits) {
    this.#limits = limits
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  add(waiting: W): void {
    this.#waiting.push(waiting)
  }

  /** Whoever appended has stopped waiting. */
  remove(waiting: W): void {
    const at = this.#waiting.indexOf(waiting)
    if (at >= 0) this.#waiting.splice(at, 1)
  }

  /** Takes all that wait. */
  takeAll(): ReadonlyArray<W> {
    const waiting = this.#waiting
    this.#waiting = []
    return waiting
  }

  /** Takes the next batch: the first append, however large it is, and what fits with it. */
  takeBatch(): ReadonlyArray<W> {
    const { joins, maxBytes, maxEvents } = this.#limits
    const batch: Array<W> = []
    const rest: Array<W> = []
    /** The last append of each entity that was looked at; undefined where it was left. */
    const entities = new Map<PersistenceId, AppendRequest | undefined>()
    let events = 0
    let bytes = 0
    for (const [i, waiting] of this.#waiting.entries()) {
      if (batch.length > 0 && (events >= maxEvents || bytes >= maxBytes)) {
        for (let left = i; left < this.#waiting.length; left++) rest.push(this.#waiting[left]!)
        break
      }
      const { request } = waiting
      const { entityType, persistenceId } = request
      const earlier = entities.get(persistenceId)
      const fits = batch.length === 0 || entityType === batch[0]!.request.entityType &&
          (!entities.has(persistenceId) || earlier !== undefined && joins(earlier, request))
      // an append that is left keeps back those of its entity that follow
      entities.set(persistenceId, fits ? request : undefined)
      if (!fits) {
        rest.push(waiting)
        continue
      }
      batch.push(waiting)
      events += request.events.length
      for (const event of request.events) bytes += sizeOf(event)
    }
    this.#waiting = rest
    return batch
  }
}
