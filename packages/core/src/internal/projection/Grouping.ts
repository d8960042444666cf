import type { Element, Envelope } from "../../Envelope.ts"

/** A group has no more than so many elements without an event. They have no content, but they need memory. */
const maxPlaceholders = 10_000

/** @internal When a group has to be handled, and when offsets have to be stored. Times are in milliseconds. */
export interface GroupingOptions {
  /** How many events a group has at most. */
  readonly size: number
  /** How many bytes a group may have before no more is added. */
  readonly bytes: number
  /** For how long a group may wait for more. */
  readonly within: number
  /** After how many elements, and after how long, offsets are stored. Undefined if they are stored with each group. */
  readonly save: { readonly after: number; readonly within: number } | undefined
  /** Whether offsets are stored after the first group, however small it is. */
  readonly savesFirst?: boolean | undefined
}

/** @internal Elements that are handled together. */
export interface Group {
  readonly elements: ReadonlyArray<Element<any>>
  /** Those of them that have an event. */
  readonly envelopes: ReadonlyArray<Envelope<any>>
  readonly bytes: number
}

/**
 * @internal
 * The group of elements that wait to be handled together, and how many were handled since offsets were stored. Pure:
 * `add` elements. Once the group is full or due, `drain` it and handle it. Then say what was `handled` and `saved`.
 * Times are those of a monotonic clock, in milliseconds.
 */
export class Grouping {
  readonly #options: GroupingOptions
  #elements: Array<Element<any>> = []
  #envelopes: Array<Envelope<any>> = []
  #bytes = 0
  #unsaved = 0
  #groupDue = Infinity
  #saveDue = Infinity
  #hasSaved = false
  #oldestDue: number
  #isHandlingEvents = false

  /** The first event was to be handled earlier, if a worker that was interrupted has waited for more. */
  constructor(options: GroupingOptions, oldestDue = Infinity) {
    this.#options = options
    this.#oldestDue = oldestDue
  }

  /** Adds an element. Says whether the group is full. */
  add(element: Exclude<Element<any>, { readonly _tag: "Poison" }>): boolean {
    this.#elements.push(element)
    if (element._tag !== "Envelope") return this.#elements.length - this.#envelopes.length >= maxPlaceholders
    this.#envelopes.push(element)
    this.#bytes += element.bytes
    return this.#envelopes.length === this.#options.size || this.#bytes >= this.#options.bytes
  }

  get isEmpty(): boolean {
    return this.#elements.length === 0
  }

  /** Whether no element has an event, so that the group waits for nothing. */
  get hasNoEvents(): boolean {
    return this.#envelopes.length === 0
  }

  /** There are no more elements for now. So the group and the offsets, if any are ahead of the store, become due. */
  pause(now: number, isAhead: boolean): void {
    const { save, within } = this.#options
    if (!this.isEmpty && this.#groupDue === Infinity) {
      this.#groupDue = Math.min(now + within, this.#oldestDue)
      if (!this.hasNoEvents) this.#oldestDue = this.#groupDue
    }
    if (save !== undefined && isAhead && this.#saveDue === Infinity) this.#saveDue = now + save.within
  }

  /** When the group is to be handled or offsets are to be stored, whichever comes first. `Infinity` if neither is. */
  get due(): number {
    return Math.min(this.#groupDue, this.#saveDue)
  }

  /** When the oldest event that has waited for more, and is not handled yet, is to be handled. `Infinity` if there is none. */
  get oldestDue(): number {
    return this.#oldestDue
  }

  isGroupDue(now: number): boolean {
    return now >= this.#groupDue
  }

  isSaveDue(now: number): boolean {
    return now >= this.#saveDue
  }

  /** Returns the group, which is empty from then on. */
  drain(): Group {
    const group = { elements: this.#elements, envelopes: this.#envelopes, bytes: this.#bytes }
    this.#elements = []
    this.#envelopes = []
    this.#bytes = 0
    this.#groupDue = Infinity
    this.#isHandlingEvents = group.envelopes.length > 0
    return group
  }

  /** A group of so many elements was handled. Says whether offsets have to be stored now. */
  handled(elements: number, now: number): boolean {
    const { save, savesFirst } = this.#options
    if (this.#isHandlingEvents) this.#oldestDue = Infinity
    if (save === undefined) return false
    this.#unsaved += elements
    if (this.#saveDue === Infinity) this.#saveDue = now + save.within
    return this.#unsaved >= save.after || now >= this.#saveDue || savesFirst === true && !this.#hasSaved
  }

  /** Whether offsets would have to be stored if so many elements more were handled. */
  isSaveDueAfter(elements: number): boolean {
    const { save, savesFirst } = this.#options
    return save !== undefined && (this.#unsaved + elements >= save.after || savesFirst === true && !this.#hasSaved)
  }

  /** All offsets that are ahead are being stored. */
  saved(): void {
    this.#unsaved = 0
    this.#saveDue = Infinity
    this.#hasSaved = true
  }
}
