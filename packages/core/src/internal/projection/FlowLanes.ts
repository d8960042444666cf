import type { NonEmptyReadonlyArray } from "effect/Array"
import type { Element, Envelope } from "../../Envelope.ts"
import type { Done } from "../../Flow.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import { maxBytes, maxElements } from "./inHandLimits.ts"
import type { Left } from "./SliceLanes.ts"

/** So many events are taken at a time. It is few, as the time that each is taken for begins for all of them. */
const atOnce = 16

/** @internal An event that was taken, and when, in milliseconds. */
export interface Taken {
  readonly envelope: Envelope<any>
  readonly at: number
}

/**
 * @internal
 * Events that a flow has, or is to be given. Pure: `add` elements in the order of the source while there is room, `take` events in that order, and say which
 * are `done`, in any order. Elements that are done, or have no event, `leave` in the order of their slice; with `inSourceOrder`, in that of the source.
 */
export class FlowLanes {
  readonly #maxEvents: number
  readonly #inSourceOrder: boolean
  /** The elements of slices, or all in one, each from the first event on that is not done. */
  readonly #lanes = new Map<number, Array<Element<any>>>()
  /** Those in a lane that are done. */
  readonly #behind = new Set<Element<any>>()
  #waiting: Array<Envelope<any>> = []
  /** What was taken and is not done, by entity and number. */
  readonly #taken = new Map<PersistenceId, Map<number, Envelope<any>>>()
  /** The same, the first that was taken first. */
  readonly #takenAt = new Map<Envelope<any>, number>()
  #left: Array<Element<any>> = []
  #events = 0
  #bytes = 0
  #elements = 0

  constructor(maxEvents: number, options?: { readonly inSourceOrder?: boolean | undefined }) {
    this.#maxEvents = maxEvents
    this.#inSourceOrder = options?.inSourceOrder === true
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
        this.#waiting.push(element)
        if (lane === undefined) this.#lanes.set(key, [element])
      } else if (lane === undefined) this.#left.push(element)
      lane?.push(element)
    }
  }

  /** The first event that was not taken. */
  get waiting(): Envelope<any> | undefined {
    return this.#waiting[0]
  }

  /** The event that was taken first and is not done. */
  get oldest(): Taken | undefined {
    for (const [envelope, at] of this.#takenAt) return { envelope, at }
    return undefined
  }

  /** Takes the next events, of which there has to be one. */
  take(now: number): NonEmptyReadonlyArray<Envelope<any>> {
    const taken = this.#waiting.splice(0, atOnce)
    for (const envelope of taken) {
      let ofEntity = this.#taken.get(envelope.persistenceId)
      if (ofEntity === undefined) this.#taken.set(envelope.persistenceId, ofEntity = new Map())
      ofEntity.set(envelope.sequenceNumber, envelope)
      this.#takenAt.set(envelope, now)
    }
    return taken as unknown as NonEmptyReadonlyArray<Envelope<any>>
  }

  /** Returns the event that is done; none if it was not taken, or was done before. */
  done({ persistenceId, sequenceNumber }: Done): Envelope<any> | undefined {
    const ofEntity = this.#taken.get(persistenceId)
    const envelope = ofEntity?.get(sequenceNumber)
    if (envelope === undefined) return undefined
    ofEntity!.delete(sequenceNumber)
    if (ofEntity!.size === 0) this.#taken.delete(persistenceId)
    this.#takenAt.delete(envelope)
    const key = this.#inSourceOrder ? 0 : envelope.slice
    const lane = this.#lanes.get(key)!
    this.#behind.add(envelope)
    let n = 0
    for (; n < lane.length; n++) {
      const element = lane[n]!
      if (element._tag === "Envelope" && !this.#behind.delete(element)) break
      this.#left.push(element)
    }
    if (n === lane.length) this.#lanes.delete(key)
    else if (n > 0) lane.splice(0, n)
    return envelope
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
}
