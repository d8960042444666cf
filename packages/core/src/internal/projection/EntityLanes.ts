import type * as Cause from "effect/Cause"
import type { Element, Envelope } from "../../Envelope.ts"
import type { PersistenceId } from "../../PersistenceId.ts"

/** So many events for each that is handled at a time wait behind the oldest one that is not handled, or are handled before it. */
const eventsEach = 16

/** In bytes of payload, tags and metadata. An event that has more is alone. */
const maxBytes = 4 * 1024 * 1024

/** Elements without an event have no content, but they need memory. */
const maxElements = 10_000

/** @internal An event, and the elements without an event that come before it. */
export interface Entry {
  readonly elements: ReadonlyArray<Element<any>>
  /** The last of the elements; undefined if none of them has an event. */
  readonly envelope: Envelope<any> | undefined
  readonly bytes: number
}

/**
 * @internal
 * Events that are handled at the same time, those of an entity one after the other. Pure: `add` entries in the order of the source while there is
 * room. Whoever may `begin` takes one after the other with `next`, and says whether it was `handled` or has `failed`, until there is none. Entries
 * leave in the order of the source: those that were handled with `leave`, and one that has failed with `pass`, once it is the first.
 */
export class EntityLanes {
  readonly #parallelism: number
  /** In the order of the source. */
  readonly #entries: Array<Entry> = []
  readonly #handled = new Set<Entry>()
  readonly #failures = new Map<Entry, Cause.Cause<unknown>>()
  /** The events that wait for one of their entity which is ready, handled, or has failed. */
  readonly #waiting = new Map<PersistenceId, Array<Entry>>()
  readonly #ready: Array<Entry> = []
  /** How many of the first entries were handled, and how many elements they have. */
  #ahead = 0
  #elementsAhead = 0
  #busy = 0
  #bytes = 0
  #elements = 0
  #isStopped = false

  constructor(parallelism: number) {
    this.#parallelism = parallelism
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0
  }

  get hasRoom(): boolean {
    return this.isEmpty || this.#entries.length < eventsEach * this.#parallelism && this.#bytes < maxBytes &&
        this.#elements < maxElements
  }

  /** How many elements may leave. */
  get elementsAhead(): number {
    return this.#elementsAhead
  }

  /** Whether somebody is handling an event. */
  get isBusy(): boolean {
    return this.#busy > 0
  }

  add(entry: Entry): void {
    this.#entries.push(entry)
    this.#bytes += entry.bytes
    this.#elements += entry.elements.length
    if (entry.envelope === undefined) {
      this.#isHandled(entry)
      return
    }
    const { persistenceId } = entry.envelope
    const waiting = this.#waiting.get(persistenceId)
    if (waiting !== undefined) waiting.push(entry)
    else {
      this.#waiting.set(persistenceId, [])
      this.#ready.push(entry)
    }
  }

  /** Whether somebody else may begin to handle events; if so, it counts as busy until `next` has none for it. */
  begin(): boolean {
    if (this.#isStopped || this.#ready.length === 0 || this.#busy === this.#parallelism) return false
    this.#busy++
    return true
  }

  /** What to handle next. Without anything, whoever asks is not busy any more. */
  next(): Entry | undefined {
    const entry = this.#isStopped ? undefined : this.#ready.shift()
    if (entry === undefined) this.#busy--
    return entry
  }

  /** Nothing is handled from now on but what somebody has. */
  stop(): void {
    this.#isStopped = true
  }

  handled(entry: Entry): void {
    this.#followedBy(entry)
    this.#isHandled(entry)
  }

  failed(entry: Entry, cause: Cause.Cause<unknown>): void {
    this.#failures.set(entry, cause)
  }

  /** Takes the first entries out, which were all handled. */
  leave(): ReadonlyArray<Entry> {
    const entries = this.#entries.splice(0, this.#ahead)
    for (const entry of entries) this.#forget(entry)
    this.#ahead = 0
    this.#elementsAhead = 0
    return entries
  }

  /** The first entry that was not handled, if it has failed. */
  get poison(): { readonly entry: Entry; readonly cause: Cause.Cause<unknown> } | undefined {
    const entry = this.#entries[this.#ahead]
    const cause = entry && this.#failures.get(entry)
    return cause && { entry, cause }
  }

  /** Takes the first entry out, which has failed, once those before it have left. Later events of its entity can be handled. */
  pass(): void {
    const entry = this.#entries.shift()!
    this.#followedBy(entry)
    this.#forget(entry)
    this.#lookAhead()
  }

  #isHandled(entry: Entry): void {
    this.#handled.add(entry)
    this.#lookAhead()
  }

  #lookAhead(): void {
    for (let entry = this.#entries[this.#ahead]; entry !== undefined; entry = this.#entries[this.#ahead]) {
      if (!this.#handled.has(entry)) return
      this.#ahead++
      this.#elementsAhead += entry.elements.length
    }
  }

  #followedBy({ envelope }: Entry): void {
    const { persistenceId } = envelope!
    const next = this.#waiting.get(persistenceId)!.shift()
    if (next === undefined) this.#waiting.delete(persistenceId)
    else this.#ready.push(next)
  }

  #forget(entry: Entry): void {
    this.#handled.delete(entry)
    this.#failures.delete(entry)
    this.#bytes -= entry.bytes
    this.#elements -= entry.elements.length
  }
}
