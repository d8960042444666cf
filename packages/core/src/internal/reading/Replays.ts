import type { EncodedEnvelope } from "../../Envelope.ts"
import type { Replay } from "../../Feed.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import { make as sequenceNumber, type SequenceNumber } from "../../SequenceNumber.ts"

/** So many entities may wait for their replay. */
const maxWaiting = 1_000

/**
 * @internal
 * The replays that a feed was asked for, one entity after the other. Pure but for what it remembers. An entity that is
 * asked for again is replayed once, from the lower number on.
 */
export class Replays {
  /** From which number on each entity is replayed, in the order of the requests. */
  readonly #asked = new Map<PersistenceId, SequenceNumber>()
  /** The number that comes next of the first entity. */
  #next: SequenceNumber | undefined

  get isIdle(): boolean {
    return this.#asked.size === 0
  }

  /** Returns false if too many wait already. */
  ask({ from, persistenceId }: Replay): boolean {
    const asked = this.#asked.get(persistenceId)
    if (asked === undefined && this.#asked.size === maxWaiting) return false
    if (asked !== undefined && asked <= from) return true
    this.#asked.set(persistenceId, from)
    // the first begins again
    if (this.#asked.keys().next().value === persistenceId) this.#next = undefined
    return true
  }

  /** What is to be read next; undefined if nothing is. */
  get next(): Replay | undefined {
    for (const [persistenceId, from] of this.#asked) return { persistenceId, from: this.#next ?? from }
    return undefined
  }

  /** A page of a replay was read. A page without events is the last of its entity. */
  read({ from, persistenceId }: Replay, page: ReadonlyArray<EncodedEnvelope>): void {
    const { next } = this
    // it was asked for from a lower number on meanwhile
    if (next?.persistenceId !== persistenceId || next.from !== from) return
    const last = page.at(-1)
    this.#next = last && sequenceNumber(last.sequenceNumber + 1)
    if (last === undefined) this.#asked.delete(persistenceId)
  }
}
