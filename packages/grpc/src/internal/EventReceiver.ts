import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { Offset, Offsets } from "@sluice/core/Offset"
import type { Slice } from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import { readStreamOut } from "./eventReader.ts"

/**
 * @internal
 * Takes the messages of a stream, over all its connections, and proves that nothing is missing. It knows where to go on. Pure but
 * for what it remembers.
 */
export class EventReceiver {
  readonly #range: SliceRange.SliceRange
  readonly #offsets: Map<Slice, Offset>
  /** What is wrong with a message, for after the events before it. */
  #fault: Error | undefined

  constructor(range: SliceRange.SliceRange, offsets: Offsets) {
    this.#range = range
    this.#offsets = new Map(offsets)
  }

  /** After which events to go on. */
  get offsets(): Offsets {
    return this.#offsets
  }

  get fault(): Error | undefined {
    return this.#fault
  }

  /** Another connection is made. */
  reset(): void {
    this.#fault = undefined
  }

  /** The events that are new. Throws at a message that breaks the protocol, or has a `fault` when events come before it. */
  receive(messages: ReadonlyArray<Buffer>): Array<EncodedEnvelope> {
    const envelopes: Array<EncodedEnvelope> = []
    try {
      for (const message of messages) {
        const envelope = this.#accept(message)
        if (envelope !== undefined) envelopes.push(envelope)
      }
    } catch (error) {
      if (envelopes.length === 0) throw error
      this.#fault = error as Error
    }
    return envelopes
  }

  #accept(message: Buffer): EncodedEnvelope | undefined {
    const envelope = readStreamOut(message)
    const { persistenceId, position, slice, timestamp } = envelope
    if (!SliceRange.contains(this.#range, slice)) {
      throw new RangeError(
        `event of '${persistenceId}', whose slice ${slice} is not in ${SliceRange.format(this.#range)}`
      )
    }
    if (position === undefined) throw new RangeError(`event of '${persistenceId}' without a position`)
    const offset = this.#offsets.get(slice)
    // what is asked for from a time on may begin anywhere
    const last = offset?.position === 0 && offset.timestamp > 0 ? position - 1 : offset?.position ?? 0
    if (position <= last) return undefined
    if (position > last + 1) throw new RangeError(`position ${position} of slice ${slice} follows ${last}`)
    this.#offsets.set(slice, { position, timestamp })
    return envelope
  }
}
