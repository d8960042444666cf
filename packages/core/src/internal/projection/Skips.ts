import type { PersistenceId } from "../../PersistenceId.ts"
import type { DeadLetterId, Skip } from "../../ProjectionManagement.ts"

/** @internal The events that a worker is to skip. Pure. */
export class Skips {
  readonly #byEntity = new Map<PersistenceId, ReadonlyArray<Skip>>()

  constructor(skips: ReadonlyArray<Skip>) {
    for (const skip of skips) this.#byEntity.set(skip.persistenceId, [...this.#of(skip), skip])
  }

  #of({ persistenceId }: DeadLetterId): ReadonlyArray<Skip> {
    return this.#byEntity.get(persistenceId) ?? []
  }

  get(event: DeadLetterId): Skip | undefined {
    return this.#byEntity.size === 0
      ? undefined
      : this.#of(event).find(({ sequenceNumber }) => sequenceNumber === event.sequenceNumber)
  }

  has(event: DeadLetterId): boolean {
    return this.get(event) !== undefined
  }

  /** Whether any of the events is to be skipped. */
  hasAny(events: ReadonlyArray<DeadLetterId>): boolean {
    return this.#byEntity.size > 0 && events.some((event) => this.has(event))
  }

  /** An event was skipped, or is not to be any more. */
  ended(event: DeadLetterId): void {
    const left = this.#of(event).filter(({ sequenceNumber }) => sequenceNumber !== event.sequenceNumber)
    if (left.length === 0) this.#byEntity.delete(event.persistenceId)
    else this.#byEntity.set(event.persistenceId, left)
  }
}
