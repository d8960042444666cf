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
  #events = 0

  constructor(limits: Limits) {
    this.#limits = limits
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  /** How many events wait. */
  get events(): number {
    return this.#events
  }

  add(waiting: W): void {
    this.#waiting.push(waiting)
    this.#events += waiting.request.events.length
  }

  /** Whoever appended has stopped waiting. */
  remove(waiting: W): void {
    const at = this.#waiting.indexOf(waiting)
    if (at < 0) return
    this.#waiting.splice(at, 1)
    this.#events -= waiting.request.events.length
  }

  /** Takes all that wait. */
  takeAll(): ReadonlyArray<W> {
    const waiting = this.#waiting
    this.#waiting = []
    this.#events = 0
    return waiting
  }

  /** Takes the next batch, of what may be taken: the first such append, however large it is, and what fits with it. */
  takeBatch(mayTake: (request: AppendRequest) => boolean = all): ReadonlyArray<W> {
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
      const fits = (batch.length === 0 || entityType === batch[0]!.request.entityType) &&
        (entities.has(persistenceId) ? earlier !== undefined && joins(earlier, request) : mayTake(request))
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
    this.#events -= events
    return batch
  }
}

const all = () => true
