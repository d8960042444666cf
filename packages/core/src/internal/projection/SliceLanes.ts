import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Cause from "effect/Cause"
import type { Element, Envelope } from "../../Envelope.ts"
import type { Slice } from "../../Slice.ts"
import { maxBytes, maxElements } from "./inHandLimits.ts"

/** So many events for each that is handled at a time are in hand, or as many as a group has, if that is more. */
const eventsEach = 16

/** @internal Elements that may leave. */
export interface Left {
  readonly elements: ReadonlyArray<Element<any>>
  readonly bytes: number
}

/** @internal An event that has failed, or without a cause one that waits behind such an event of its entity, or is to be skipped. */
export interface Failure {
  readonly envelope: Envelope<any>
  readonly cause: Cause.Cause<unknown> | undefined
}

/** @internal How much a group has. One that is full of bytes takes no more, however large its last event is. */
export interface GroupLimits {
  readonly size: number
  readonly bytes: number
}

const single: GroupLimits = { size: 1, bytes: Infinity }

/** The elements of a slice from the first event on that is not handled. */
interface Lane {
  readonly elements: Array<Element<any>>
  /** So many of the next events are handled one by one, as they have failed together. */
  alone: number
}

/**
 * @internal
 * Events that are handled at the same time, those of a slice one after the other, or in groups. So what is handled of a slice is always a first part of it, which
 * is all that an offset can tell. Pure: `add` elements in the order of the source while there is room. Whoever may `begin` takes what is next of a slice
 * with `next`, and says whether that, or the first part of it, was `handled`, or has failed: one event with `failed`, several with `failedTogether`, until there is nothing next. Elements that were handled, or have no
 * event, `leave` in the order of their slice, and so does an event that has failed with `pass`. With `inSourceOrder` they leave in the order of the source.
 */
export class SliceLanes {
  readonly #parallelism: number
  readonly #limits: GroupLimits
  readonly #lanes = new Map<Slice, Lane>()
  /** Those of which nobody handles anything, and nothing has failed. */
  readonly #ready: Array<Lane> = []
  readonly #failures: Array<Failure> = []
  /** In the order of the source, if they leave so. */
  readonly #order: Array<Element<any>> | undefined
  /** Those in the order that are done. */
  readonly #behind = new Set<Element<any>>()
  #left: Array<Element<any>> = []
  #bytesLeft = 0
  #eventsLeft = 0
  #busy = 0
  #events = 0
  #bytes = 0
  #elements = 0
  #isStopped = false

  constructor(
    parallelism: number,
    options?: { readonly inSourceOrder?: boolean | undefined; readonly group?: GroupLimits | undefined }
  ) {
    this.#parallelism = parallelism
    this.#limits = options?.group ?? single
    this.#order = options?.inSourceOrder === true ? [] : undefined
  }

  get isEmpty(): boolean {
    return this.#elements === 0
  }

  get hasRoom(): boolean {
    return this.isEmpty ||
      this.#events < Math.max(eventsEach, this.#limits.size) * this.#parallelism && this.#bytes < maxBytes &&
        this.#elements < maxElements
  }

  /** How many elements may leave. */
  get elementsLeft(): number {
    return this.#left.length
  }

  /** How many events somebody is handling. */
  get busy(): number {
    return this.#busy
  }

  add(elements: ReadonlyArray<Element<any>>): void {
    this.#elements += elements.length
    for (const element of elements) {
      if (element._tag === "Envelope") {
        this.#events++
        this.#bytes += element.bytes
      }
      this.#order?.push(element)
      const lane = this.#lanes.get(element.slice)
      if (lane !== undefined) lane.elements.push(element)
      else if (element._tag !== "Envelope") this.#isDone(element)
      else {
        const lane: Lane = { elements: [element], alone: 0 }
        this.#lanes.set(element.slice, lane)
        this.#ready.push(lane)
      }
    }
  }

  /** Whether somebody else may begin to handle events; if so, it counts as busy until `next` has none for it. */
  begin(): boolean {
    if (this.#isStopped || this.#ready.length === 0 || this.#busy === this.#parallelism) return false
    this.#busy++
    return true
  }

  /** What to handle next, of one slice. Without anything, whoever asks is not busy any more. */
  next(): NonEmptyReadonlyArray<Envelope<any>> | undefined {
    const lane = this.#isStopped ? undefined : this.#ready.shift()
    if (lane === undefined) {
      this.#busy--
      return undefined
    }
    const { bytes, size } = lane.alone > 0 ? single : this.#limits
    const envelopes: Array<Envelope<any>> = []
    let sum = 0
    for (const element of lane.elements) {
      if (element._tag !== "Envelope") continue
      envelopes.push(element)
      sum += element.bytes
      if (envelopes.length >= size || sum >= bytes) break
    }
    return envelopes as unknown as NonEmptyReadonlyArray<Envelope<any>>
  }

  /** Nothing is handled from now on but what somebody has. */
  stop(): void {
    this.#isStopped = true
  }

  handled(envelopes: NonEmptyReadonlyArray<Envelope<any>>): void {
    const lane = this.#lanes.get(envelopes[0].slice)!
    const { elements } = lane
    const handled = elements.splice(0, elements.indexOf(envelopes.at(-1)!) + 1)
    for (const element of handled) this.#isDone(element)
    this.#goOn(lane, envelopes[0].slice, envelopes.length)
  }

  failed(envelope: Envelope<any>, cause: Cause.Cause<unknown> | undefined): void {
    this.#failures.push({ envelope, cause })
  }

  /** They are handled again, one by one. */
  failedTogether(envelopes: NonEmptyReadonlyArray<Envelope<any>>): void {
    const lane = this.#lanes.get(envelopes[0].slice)!
    lane.alone = envelopes.length
    this.#ready.push(lane)
  }

  /** Takes the elements out that may leave. */
  leave(): Left {
    const left = { elements: this.#left, bytes: this.#bytesLeft }
    this.#elements -= left.elements.length
    this.#bytes -= left.bytes
    this.#events -= this.#eventsLeft
    this.#left = []
    this.#bytesLeft = 0
    this.#eventsLeft = 0
    return left
  }

  /** An event that has failed, and that `pass` may take out. */
  get poison(): Failure | undefined {
    const order = this.#order
    return order === undefined ? this.#failures[0] : this.#failures.find(({ envelope }) => envelope === order[0])
  }

  /** Takes the event out that has failed, once all that may leave has left. Later events of its slice can be handled. */
  pass(failure: Failure): void {
    const { envelope } = failure
    this.#failures.splice(this.#failures.indexOf(failure), 1)
    this.#elements--
    this.#events--
    this.#bytes -= envelope.bytes
    this.#order?.shift()
    this.#takeInOrder()
    const lane = this.#lanes.get(envelope.slice)!
    lane.elements.shift()
    this.#goOn(lane, envelope.slice, 1)
  }

  /** What is done and may not leave yet, as something before it is not done. */
  get behind(): ReadonlyArray<Element<any>> {
    return this.#order?.filter((element) => this.#behind.has(element)) ?? []
  }

  /** So many events of a lane are done, or have left. So are the next elements, up to the next event. */
  #goOn(lane: Lane, slice: Slice, events: number): void {
    const { elements } = lane
    lane.alone = Math.max(0, lane.alone - events)
    const next = elements.findIndex(({ _tag }) => _tag === "Envelope")
    for (const element of elements.splice(0, next < 0 ? elements.length : next)) this.#isDone(element)
    if (next < 0) this.#lanes.delete(slice)
    else this.#ready.push(lane)
  }

  #isDone(element: Element<any>): void {
    if (this.#order === undefined) this.#mayLeave(element)
    else {
      this.#behind.add(element)
      this.#takeInOrder()
    }
  }

  #takeInOrder(): void {
    for (let element = this.#order?.[0]; element !== undefined; element = this.#order![0]) {
      if (!this.#behind.delete(element)) return
      this.#order!.shift()
      this.#mayLeave(element)
    }
  }

  #mayLeave(element: Element<any>): void {
    this.#left.push(element)
    if (element._tag !== "Envelope") return
    this.#eventsLeft++
    this.#bytesLeft += element.bytes
  }
}
