import { type Element, reminder } from "../../Envelope.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { SequenceNumber } from "../../SequenceNumber.ts"

/** @internal An event, or the place of one. */
export type Held = Exclude<Element<any>, { readonly _tag: "Skipped" }>

/** @internal The events of an entity that wait. */
export interface Entity {
  readonly persistenceId: PersistenceId
  /** In the order of their numbers. */
  readonly elements: Array<Held>
}

/** In bytes, of all entities that wait. What is beyond is loaded again. */
const maxBytes = 4 * 1024 * 1024

/** What an element takes beside its content, in bytes. */
const overhead = 200

/** While so many entities wait, nothing more is read of the source. */
const maxEntities = 5_000

/**
 * @internal
 * The events that wait until earlier ones of their entities have come. Pure but for its listeners.
 */
export class HeldBack {
  readonly #entities = new Map<PersistenceId, Entity>()
  /** Of single entities, and of all. */
  readonly #listeners = new Map<PersistenceId | undefined, Set<() => void>>()
  #bytes = 0

  get isEmpty(): boolean {
    return this.#entities.size === 0
  }

  get isFull(): boolean {
    return this.#entities.size >= maxEntities
  }

  /** Whether so many wait that those who fill their gaps are not to be held up. */
  get isFilling(): boolean {
    return this.#entities.size >= maxEntities / 2
  }

  has(persistenceId: PersistenceId): boolean {
    return this.#entities.has(persistenceId)
  }

  /** Holds an event back. Returns its entity if no other event of it waits. */
  hold(element: Held): Entity | undefined {
    const { persistenceId, sequenceNumber } = element
    let entity = this.#entities.get(persistenceId)
    const isFirst = entity === undefined
    if (entity === undefined) this.#entities.set(persistenceId, entity = { persistenceId, elements: [] })
    const { elements } = entity
    const at = elements.findLastIndex((held) => held.sequenceNumber <= sequenceNumber)
    const isThere = elements[at]?.sequenceNumber === sequenceNumber
    // a reminder holds nothing that the event itself does not
    if (!isThere || elements[at]!._tag === "Reminder") {
      const bytes = bytesOf(element)
      const fits = this.#bytes + bytes <= maxBytes
      elements.splice(isThere ? at : at + 1, isThere ? 1 : 0, fits ? element : reminder(element))
      if (fits) this.#bytes += bytes
      // of reminders at the end the last one says it all
      if (elements.at(-1)!._tag === "Reminder" && elements.at(-2)?._tag === "Reminder") elements.splice(-2, 1)
    }
    return isFirst ? entity : undefined
  }

  /** The first event of an entity that waits; if asked so, since it was held back then. */
  first(persistenceId: PersistenceId, since?: Entity): Held | undefined {
    const entity = this.#entities.get(persistenceId)
    return since === undefined || entity === since ? entity?.elements[0] : undefined
  }

  /** The first event of an entity that waits, if nothing is missing before it any more, as the last number that was accepted shows. */
  due(persistenceId: PersistenceId, last: number): Held | undefined {
    const first = this.first(persistenceId)
    if (first === undefined || lastMissing(first) <= last) return first
    this.#call(persistenceId)
    return undefined
  }

  /** The first event of an entity was accepted, or was before. It waits no more. */
  accepted({ persistenceId }: Held): void {
    const { elements } = this.#entities.get(persistenceId)!
    this.#bytes -= bytesOf(elements.shift()!)
    if (elements.length === 0) this.#entities.delete(persistenceId)
    this.#call(persistenceId)
    if (elements.length === 0) this.#call(undefined)
  }

  #call(what: PersistenceId | undefined): void {
    const listeners = this.#listeners.get(what)
    // one that listens again at once is called at the next change
    if (listeners !== undefined) { for (const listener of new Set(listeners)) listener() }
  }

  /**
   * Calls when an event has come of an entity that waits, or it waits no more; if it is of none, when any waits no more. Until the function that it returns
   * is called.
   */
  listen(persistenceId: PersistenceId | undefined, listener: () => void): () => void {
    const listeners = this.#listeners.get(persistenceId) ?? new Set()
    this.#listeners.set(persistenceId, listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0 && this.#listeners.get(persistenceId) === listeners) {
        this.#listeners.delete(persistenceId)
      }
    }
  }
}

const bytesOf = (element: Held): number =>
  element._tag === "Reminder" ? 0 : overhead + (element._tag === "Envelope" ? element.bytes : 0)

/** @internal The last number that is missing before an event; of a reminder it is its own. */
export const lastMissing = (held: Held): SequenceNumber =>
  (held._tag === "Reminder" ? held.sequenceNumber : held.sequenceNumber - 1) as SequenceNumber
