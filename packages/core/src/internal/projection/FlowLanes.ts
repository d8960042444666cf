import type { NonEmptyReadonlyArray } from "effect/Array"
import type { Element, Envelope, Place } from "../../Envelope.ts"
import type { Done } from "../../Flow.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import { maxBytes, maxElements } from "./inHandLimits.ts"
import type { Left } from "./SliceLanes.ts"

/** So many events are taken at a time. It is few, as all that was taken is waited for when a command comes. */
const atOnce = 16

/** @internal An event before which nothing is left of what was taken, and since when, in milliseconds. */
export interface Oldest {
  readonly envelope: Envelope<any>
  readonly since: number
}

/**
 * @internal
 * Events that a flow has, or is to be given. Pure: `add` elements in the order of the source while there is room, `take` events in that order, and say which
 * are `done`, in any order. Elements that are done, or have no event, `leave` in the order of their slice; with `inSourceOrder`, in that of the source.
 * Events of entities that are parked are not taken. Each is `parked` once everything before it is done: `pass` it, or `unpark` its entity.
 */
export class FlowLanes {
  readonly #maxEvents: number
  readonly #inSourceOrder: boolean
  readonly #isParked: (place: Place) => boolean
  /** The elements of slices, or all in one, each from the first event on that is not done. */
  readonly #lanes = new Map<number, Array<Element<any>>>()
  /** Those in a lane that are done. */
  readonly #behind = new Set<Element<any>>()
  #waiting: Array<Envelope<any>> = []
  /** What is not taken, as its entity was parked when the first of them came. */
  readonly #parked = new Map<PersistenceId, Array<Envelope<any>>>()
  /** Those that are the first in their lane. */
  readonly #due = new Set<Envelope<any>>()
  /** What was taken and is not done, by entity and number. */
  readonly #taken = new Map<PersistenceId, Map<number, Envelope<any>>>()
  /** The same, the first that was taken first. */
  readonly #inOrder = new Set<Envelope<any>>()
  #oldestSince = 0
  #left: Array<Element<any>> = []
  #events = 0
  #bytes = 0
  #elements = 0

  constructor(
    maxEvents: number,
    options?: {
      readonly inSourceOrder?: boolean | undefined
      readonly isParked?: ((place: Place) => boolean) | undefined
    }
  ) {
    this.#maxEvents = maxEvents
    this.#inSourceOrder = options?.inSourceOrder === true
    this.#isParked = options?.isParked ?? (() => false)
  }

  get isEmpty(): boolean {
    return this.#elements === 0
  }

  get hasRoom(): boolean {
    return this.isEmpty ||
      this.#events < this.#maxEvents && this.#bytes < maxBytes && this.#elements < maxElements
  }

  get elementsLeft(): number {
    return this.#left.length
  }

  add(elements: ReadonlyArray<Element<any>>): void {
    this.#elements += elements.length
    for (const element of elements) {
      const key = this.#inSourceOrder ? 0 : element.slice
      const lane = this.#lanes.get(key)
      if (element._tag === "Envelope") {
        this.#events++
        this.#bytes += element.bytes
        if (this.#waitsBehind(element)) this.#park(element)
        else this.#waiting.push(element)
        if (lane === undefined) {
          const lane = [element]
          this.#lanes.set(key, lane)
          this.#look(lane)
        }
      } else if (lane === undefined) this.#left.push(element)
      lane?.push(element)
    }
  }

  /** The first event that was not taken. */
  get waiting(): Envelope<any> | undefined {
    return this.#waiting[0]
  }

  /** The event that was taken first and is not done. */
  get oldest(): Oldest | undefined {
    for (const envelope of this.#inOrder) return { envelope, since: this.#oldestSince }
    return undefined
  }

  /** Takes the next events, of which there has to be one. */
  take(now: number): NonEmptyReadonlyArray<Envelope<any>> {
    const taken = this.#waiting.splice(0, atOnce)
    if (this.#inOrder.size === 0) this.#oldestSince = now
    for (const envelope of taken) {
      let ofEntity = this.#taken.get(envelope.persistenceId)
      if (ofEntity === undefined) this.#taken.set(envelope.persistenceId, ofEntity = new Map())
      ofEntity.set(envelope.sequenceNumber, envelope)
      this.#inOrder.add(envelope)
    }
    return taken as unknown as NonEmptyReadonlyArray<Envelope<any>>
  }

  /** Returns the event that is done; none if it was not taken, or was done before. */
  done({ persistenceId, sequenceNumber }: Done, now: number): Envelope<any> | undefined {
    const ofEntity = this.#taken.get(persistenceId)
    const envelope = ofEntity?.get(sequenceNumber)
    if (envelope === undefined) return undefined
    ofEntity!.delete(sequenceNumber)
    if (ofEntity!.size === 0) this.#taken.delete(persistenceId)
    if (envelope === this.oldest?.envelope) this.#oldestSince = now
    this.#inOrder.delete(envelope)
    const key = this.#inSourceOrder ? 0 : envelope.slice
    const lane = this.#lanes.get(key)!
    this.#behind.add(envelope)
    this.#goOn(key, lane)
    return envelope
  }

  /** An event of an entity that may be parked, before which everything is done. */
  get parked(): Envelope<any> | undefined {
    for (const envelope of this.#due) return envelope
    return undefined
  }

  /** Takes the event out that is `parked`, once all that may leave has left. */
  pass(envelope: Envelope<any>): void {
    const ofEntity = this.#parked.get(envelope.persistenceId)!
    ofEntity.shift()
    if (ofEntity.length === 0) this.#parked.delete(envelope.persistenceId)
    this.#due.delete(envelope)
    this.#elements--
    this.#events--
    this.#bytes -= envelope.bytes
    const key = this.#inSourceOrder ? 0 : envelope.slice
    const lane = this.#lanes.get(key)!
    lane.shift()
    this.#goOn(key, lane)
  }

  /** The event that is `parked` is to be taken: it is the next, and then come those of its entity, up to one that is not to be taken either. */
  unpark({ persistenceId }: Envelope<any>): void {
    const ofEntity = this.#parked.get(persistenceId)!
    const at = ofEntity.findIndex((envelope, i) => i > 0 && this.#isParked(envelope))
    const free = ofEntity.splice(0, at < 0 ? ofEntity.length : at)
    if (ofEntity.length === 0) this.#parked.delete(persistenceId)
    for (const envelope of free) this.#due.delete(envelope)
    this.#waiting = [...free, ...this.#waiting]
  }

  /** Takes the elements out that may leave. */
  leave(): Left {
    const elements = this.#left
    let bytes = 0
    for (const element of elements) {
      if (element._tag !== "Envelope") continue
      this.#events--
      bytes += element.bytes
    }
    this.#bytes -= bytes
    this.#elements -= elements.length
    this.#left = []
    return { elements, bytes }
  }

  /** What is done and may not leave yet, in the order of the source within each lane. */
  get behind(): ReadonlyArray<Element<any>> {
    return [...this.#lanes.values()].flatMap((lane) => lane.filter((element) => this.#behind.has(element)))
  }

  /** Events of an entity stay in order: once one of them is not taken, the later ones are not either. */
  #waitsBehind(envelope: Envelope<any>): boolean {
    return this.#parked.size > 0 && this.#parked.has(envelope.persistenceId) || this.#isParked(envelope)
  }

  #park(envelope: Envelope<any>): void {
    const ofEntity = this.#parked.get(envelope.persistenceId)
    if (ofEntity === undefined) this.#parked.set(envelope.persistenceId, [envelope])
    else ofEntity.push(envelope)
  }

  /** What is done at the beginning of a lane may leave. */
  #goOn(key: number, lane: Array<Element<any>>): void {
    let n = 0
    for (; n < lane.length; n++) {
      const element = lane[n]!
      if (element._tag === "Envelope" && !this.#behind.delete(element)) break
      this.#left.push(element)
    }
    if (n === lane.length) {
      this.#lanes.delete(key)
      return
    }
    if (n > 0) lane.splice(0, n)
    this.#look(lane)
  }

  /** The first element of a lane may be of a parked entity, and then is the first of that as well. */
  #look([first]: ReadonlyArray<Element<any>>): void {
    if (first?._tag !== "Envelope" || this.#parked.size === 0) return
    if (this.#parked.get(first.persistenceId)?.[0] === first) this.#due.add(first)
  }
}
