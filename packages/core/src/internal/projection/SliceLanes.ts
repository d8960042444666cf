import type * as Cause from "effect/Cause"
import type { Element, Envelope } from "../../Envelope.ts"
import type { Slice } from "../../Slice.ts"
import { maxBytes, maxElements } from "./inHandLimits.ts"

/** So many events for each that is handled at a time are in hand. */
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

/**
 * @internal
 * Events that are handled at the same time, those of a slice one after the other. So what is handled of a slice is always a first part of it, which
 * is all that an offset can tell. Pure: `add` elements in the order of the source while there is room. Whoever may `begin` takes one event after the
 * other with `next`, and says whether it was `handled` or has `failed`, until there is none. Elements that were handled, or have no event, `leave`
 * in the order of their slice, and so does an event that has failed with `pass`. With `inSourceOrder` they leave in the order of the source.
 */
export class SliceLanes {
  readonly #parallelism: number
  /** The elements of slices, each from the first event on that is not handled. */
  readonly #lanes = new Map<Slice, Array<Element<any>>>()
  readonly #ready: Array<Envelope<any>> = []
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

  constructor(parallelism: number, options?: { readonly inSourceOrder?: boolean | undefined }) {
    this.#parallelism = parallelism
    this.#order = options?.inSourceOrder === true ? [] : undefined
  }

  get isEmpty(): boolean {
    return this.#elements === 0
  }

  get hasRoom(): boolean {
    return this.isEmpty || this.#events < eventsEach * this.#parallelism && this.#bytes < maxBytes &&
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
      if (lane !== undefined) lane.push(element)
      else if (element._tag !== "Envelope") this.#isDone(element)
      else {
        this.#lanes.set(element.slice, [element])
        this.#ready.push(element)
      }
    }
  }

  /** Whether somebody else may begin to handle events; if so, it counts as busy until `next` has none for it. */
  begin(): boolean {
    if (this.#isStopped || this.#ready.length === 0 || this.#busy === this.#parallelism) return false
    this.#busy++
    return true
  }

  /** What to handle next. Without anything, whoever asks is not busy any more. */
  next(): Envelope<any> | undefined {
    const envelope = this.#isStopped ? undefined : this.#ready.shift()
    if (envelope === undefined) this.#busy--
    return envelope
  }

  /** Nothing is handled from now on but what somebody has. */
  stop(): void {
    this.#isStopped = true
  }

  handled(envelope: Envelope<any>): void {
    this.#isDone(envelope)
    this.#goOn(envelope)
  }

  failed(envelope: Envelope<any>, cause: Cause.Cause<unknown> | undefined): void {
    this.#failures.push({ envelope, cause })
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
    this.#goOn(envelope)
  }

  /** What is done and may not leave yet, as something before it is not done. */
  get behind(): ReadonlyArray<Element<any>> {
    return this.#order?.filter((element) => this.#behind.has(element)) ?? []
  }

  /** The first element of a lane is done or has left. So are the next ones, up to the next event. */
  #goOn({ slice }: Envelope<any>): void {
    const lane = this.#lanes.get(slice)!
    lane.shift()
    for (let element = lane[0]; element !== undefined; element = lane[0]) {
      if (element._tag === "Envelope") {
        this.#ready.push(element)
        return
      }
      this.#isDone(element)
      lane.shift()
    }
    this.#lanes.delete(slice)
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
