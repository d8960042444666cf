import type { Place } from "../../Envelope.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { Queue } from "../../RecoveryStrategy.ts"

/** Of the room that is left a worker takes this share at a time, so that those of other processes find some as well. */
const share = 64

/**
 * @internal
 * The entities of which an event was put aside, as a worker knows them: all that are parked, as it is its events alone that park them, and some that are
 * no more, as their letters were handled since. Before an event is queued, the storage says which. Pure.
 */
export class ParkedEntities {
  readonly #ids: Set<PersistenceId>
  readonly #isParkable: (place: Place) => boolean
  readonly queue: Queue
  #room = 0

  constructor(
    ids: Iterable<PersistenceId>,
    options: {
      readonly queue: Queue
      /** Whether an event that is put aside has later ones wait: it does not come again by itself, and no later one supersedes it. */
      readonly isParkable: (place: Place) => boolean
    }
  ) {
    this.#ids = new Set(ids)
    this.queue = options.queue
    this.#isParkable = options.isParkable
  }

  get size(): number {
    return this.#ids.size
  }

  has(place: Place): boolean {
    return this.#ids.size > 0 && this.#ids.has(place.persistenceId) && this.#isParkable(place)
  }

  /** Whether any of the events is of an entity that may be parked. */
  hasAny(places: ReadonlyArray<Place>): boolean {
    return this.#ids.size > 0 && places.some((place) => this.has(place))
  }

  /** An event was put aside. */
  park(place: Place): void {
    if (this.#isParkable(place)) this.#ids.add(place.persistenceId)
  }

  /** Of an entity nothing is put aside any more. */
  unpark(persistenceId: PersistenceId): void {
    this.#ids.delete(persistenceId)
  }

  /** So many events wait in all, and so many more are to. Part of the room that is left is this worker's. */
  waiting(events: number, more: number): void {
    const left = Math.max(0, this.queue.capacity - events)
    this.#room = Math.min(left, Math.max(more, Math.floor(left / share)))
  }

  /** How many events it may queue before it looks again how many wait. */
  get room(): number {
    return this.#room
  }

  queued(events: number): void {
    this.#room -= events
  }
}
