import type { Receipt } from "@sluice/core/Receipt"
import type { ReplicationMetadata } from "@sluice/core/ReplicationMetadata"
import type { Arriving } from "../ReplicatedEventSourced.ts"

/** So many entities are known, those that were given something last: what a failover loses is of the last seconds. */
const most = 10_000

/**
 * @internal
 * Which event of each origin an entity was given last, and has stored. A database that loses commits while the process lives has lost events of others with its offsets, and the process would go on behind
 * them: the next event of the same origin says which one was before it, so that its entity notices.
 */
export class LastGiven {
  readonly #last = new Map<string, Map<string, number>>()
  /** The number of the event that an entity lacks, and for which the stream has begun again. */
  readonly #missed = new Map<string, number>()

  /** The receipt of what was stored last. */
  receipt: Receipt | undefined

  /** The number of the one before an event; undefined where that is not known, or the event comes again. */
  before(id: string, { origin, originSequenceNumber }: ReplicationMetadata): number | undefined {
    const previous = this.#last.get(id)?.get(origin)
    return previous === undefined || previous >= originSequenceNumber ? undefined : previous
  }

  /** Whether the stream is to begin again from its offsets, which are before what the database has lost with them: once for each event that is missed. */
  isToBeginAgain(id: string, missed: number): boolean {
    if (this.#missed.get(id) === missed) return false
    this.#missed.set(id, missed)
    if (this.#missed.size > most) this.#missed.delete(this.#missed.keys().next().value!)
    return true
  }

  stored(id: string, arriving: ReadonlyArray<Arriving<unknown>>): void {
    const origins = this.#last.get(id) ?? new Map<string, number>()
    for (const { replication: { origin, originSequenceNumber } } of arriving) origins.set(origin, originSequenceNumber)
    this.#missed.delete(id)
    // as the one that was given something last
    this.#last.delete(id)
    this.#last.set(id, origins)
    if (this.#last.size > most) this.#last.delete(this.#last.keys().next().value!)
  }
}
