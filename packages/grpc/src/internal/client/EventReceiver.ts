import type { EncodedElement } from "@sluice/core/Envelope"
import { isSkipped } from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import { readStreamOut } from "../wire/eventReader.ts"

/** The position of a slice without an offset. */
const none = -1

/**
 * @internal
 * Takes the messages of a stream, over all its connections, and proves that nothing is missing. It knows where to go on. Pure but
 * for what it remembers.
 */
export class EventReceiver {
  readonly #range: SliceRange.SliceRange
  // by slice: where to go on, and how far it is known that there is nothing
  readonly #positions = new Float64Array(Slice.count).fill(none)
  readonly #timestamps = new Float64Array(Slice.count)
  readonly #skipped = new Float64Array(Slice.count)
  /** What is wrong with a message, for after the events before it. */
  #fault: Error | undefined

  constructor(range: SliceRange.SliceRange, offsets: Offset.Offsets) {
    this.#range = range
    for (const [slice, { position, timestamp }] of offsets) {
      this.#positions[slice] = position
      this.#timestamps[slice] = timestamp
    }
  }

  /** After which events to go on. */
  get offsets(): Offset.Offsets {
    const offsets = new Map<Slice.Slice, Offset.Offset>()
    for (let slice = 0; slice < Slice.count; slice++) {
      const position = this.#positions[slice]!
      if (position !== none) offsets.set(Slice.make(slice), Offset.make(position, this.#timestamps[slice]!))
    }
    return offsets
  }

  get fault(): Error | undefined {
    return this.#fault
  }

  /** Another connection is made. */
  reset(): void {
    this.#fault = undefined
    this.#skipped.fill(0)
  }

  /** What is new. Throws at a message that breaks the protocol, or has a `fault` when events come before it. */
  receive(messages: ReadonlyArray<Buffer>): Array<EncodedElement> {
    const received: Array<EncodedElement> = []
    try {
      for (const message of messages) readStreamOut(message, received)
    } catch (error) {
      this.#fault = error as Error
    }
    let kept = 0
    try {
      for (const element of received) if (this.#isNew(element)) received[kept++] = element
    } catch (error) {
      this.#fault = error as Error
    }
    received.length = kept
    if (kept === 0 && this.#fault !== undefined) throw this.#fault
    return received
  }

  #isNew(element: EncodedElement): boolean {
    const { position, slice, timestamp } = element
    const isLeftOut = isSkipped(element)
    if (!SliceRange.contains(this.#range, slice)) {
      const what = isLeftOut ? "left out" : `event of '${element.persistenceId}'`
      throw new RangeError(`${what}, whose slice ${slice} is not in ${SliceRange.format(this.#range)}`)
    }
    if (position === undefined) throw new RangeError(`event of '${(element as any).persistenceId}' without a position`)
    const known = this.#positions[slice]!
    const last = Math.max(known, this.#skipped[slice]!, 0)
    if (position <= last) return false
    const from = isLeftOut ? element.from : position
    // what is asked for from a time on may begin anywhere
    if (from > last + 1 && !(last === 0 && known === 0 && this.#timestamps[slice]! > 0)) {
      throw new RangeError(`position ${from} of slice ${slice} follows ${last}`)
    }
    if (timestamp === undefined) {
      this.#skipped[slice] = position
    } else {
      this.#positions[slice] = position
      this.#timestamps[slice] = timestamp
    }
    return true
  }
}
