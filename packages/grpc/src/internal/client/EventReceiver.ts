import type { EncodedElement } from "@sluice/core/Envelope"
import { isSkipped } from "@sluice/core/Envelope"
import { JournalForked } from "@sluice/core/Journal"
import { LogCursor } from "@sluice/core/LogCursor"
import type { Offsets } from "@sluice/core/Offset"
import * as SliceRange from "@sluice/core/SliceRange"
import { readStreamOut } from "../wire/eventReader.ts"

/**
 * @internal
 * Takes the messages of a stream, over all its connections, and proves that nothing is missing. It knows where to go on. Pure but
 * for what it remembers.
 */
export class EventReceiver {
  readonly #streamId: string
  readonly #cursor: LogCursor
  /** What is wrong with a message, for after the events before it. */
  #fault: Error | undefined

  constructor(streamId: string, range: SliceRange.SliceRange, offsets: Offsets) {
    this.#streamId = streamId
    this.#cursor = new LogCursor(range, offsets)
  }

  /** After which events to go on. */
  get offsets(): Offsets {
    return this.#cursor.offsets()
  }

  get fault(): Error | undefined {
    return this.#fault
  }

  /** Another connection is made. */
  reset(): void {
    this.#fault = undefined
    this.#cursor.reopen()
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
    if (!SliceRange.contains(this.#cursor.range, slice)) {
      const what = isLeftOut ? "left out" : `event of '${element.persistenceId}'`
      throw new RangeError(`${what}, whose slice ${slice} is not in ${SliceRange.format(this.#cursor.range)}`)
    }
    if (position === undefined) throw new RangeError(`event of '${(element as any).persistenceId}' without a position`)
    const from = isLeftOut ? element.from : position
    const verdict = this.#cursor.take(slice, position, timestamp, from)
    if (verdict === "gap") {
      throw new RangeError(`position ${from} of slice ${slice} follows ${this.#cursor.next(slice)! - 1}`)
    }
    if (verdict === "fork") {
      throw new JournalForked({ entityType: this.#streamId, slice, offset: this.#cursor.offset(slice) })
    }
    return verdict === "next"
  }
}
