import type { EncodedElement, EncodedEnvelope } from "@sluice/core/Envelope"
import { isSkipped } from "@sluice/core/Envelope"
import { EventTooLarge } from "@sluice/core/Journal"
import { writer } from "./eventWriter.ts"
import { RecentFrames } from "./RecentFrames.ts"

/** @internal A JVM consumer accepts no larger message. */
export const maxMessageBytes = 4 * 1024 * 1024

/** What is written at once: enough for the cost of a write to vanish, and little, as each consumer that stands still keeps so much. */
const pieceBytes = 32 * 1024

/** In one message: no more than a consumer decodes at once without keeping others waiting. */
const batchEvents = 500

/** @internal What becomes of an event on the way to a plain consumer. */
export type Treatment = "send" | "skip" | "repeat"

/** @internal Makes pieces of envelopes: as many messages as are written at once, each with its prefix. */
export interface Pieces {
  /** Undefined after the last, or before an event that is too large. */
  readonly next: () => Buffer | undefined
  /** Whether nothing comes after what `next` has given last. */
  readonly isLast: () => boolean
  /** The event that no consumer could be sent. */
  readonly tooLarge: () => EventTooLarge | undefined
}

const tooLargeFor = ({ persistenceId }: EncodedEnvelope, bytes: number): EventTooLarge | undefined =>
  bytes > maxMessageBytes ? new EventTooLarge({ persistenceId, bytes, limit: maxMessageBytes }) : undefined

/** Elements of which those that are written are let go of, however long the rest of them takes. */
class Unwritten {
  readonly length: number
  readonly #elements: Array<EncodedElement | undefined>
  #first = 0

  constructor(elements: ReadonlyArray<EncodedElement>) {
    this.length = elements.length
    this.#elements = elements.slice()
  }

  readonly at = (index: number): EncodedElement => this.#elements[index]!

  /** Those from an index on, up to another one. */
  between(from: number, to: number): ReadonlyArray<EncodedElement> {
    return this.#elements.slice(from, to) as Array<EncodedElement>
  }

  /** Those before the index are written. */
  drop(index: number): void {
    while (this.#first < index) this.#elements[this.#first++] = undefined
  }
}

/** @internal One message per event, and nothing of what was left out, which a plain consumer does not know. */
export const eventPieces = (
  all: ReadonlyArray<EncodedElement>,
  treat: (envelope: EncodedEnvelope) => Treatment
): Pieces => {
  const elements = new Unwritten(all)
  let at = 0
  let tooLarge: EventTooLarge | undefined
  return {
    next: () => {
      elements.drop(at)
      writer.start()
      for (; at < elements.length; at++) {
        const element = elements.at(at)
        if (isSkipped(element)) continue
        const treatment = treat(element)
        if (treatment === "skip") continue
        const bytes = writer.measure(element, treatment === "repeat", true)
        tooLarge = tooLargeFor(element, bytes)
        if (tooLarge !== undefined || writer.length > 0 && writer.length + bytes > pieceBytes) break
        writer.prefix(bytes)
        writer.write(element, treatment === "repeat", true)
      }
      return writer.length === 0 ? undefined : writer.take()
    },
    isLast: () => at >= elements.length,
    tooLarge: () => tooLarge
  }
}

/** Of all streams of the process. */
const recent = new RecentFrames()

/** @internal Many events per message, and what was left out. What is the same for several consumers is encoded once. Each element is sent as `now` has it when its turn comes, if at all. */
export const batchPieces = (
  all: ReadonlyArray<EncodedElement>,
  now?: (element: EncodedElement) => EncodedElement | undefined
): Pieces => {
  const elements = new Unwritten(all)
  let at = 0
  let tooLarge: EventTooLarge | undefined
  return {
    next: () => {
      elements.drop(at)
      const first = at
      const same = now === undefined ? recent.find(elements, at) : undefined
      if (same !== undefined) {
        at += same.elements.length
        return same.bytes
      }
      writer.startBatch()
      let written = 0
      for (; at < elements.length && written < batchEvents; at++) {
        const selected = elements.at(at)
        const element = now === undefined ? selected : now(selected)
        if (element === undefined) continue
        if (isSkipped(element)) {
          writer.skipped(element)
          written++
          continue
        }
        const bytes = writer.measure(element, false, false)
        tooLarge = tooLargeFor(element, bytes)
        if (tooLarge !== undefined || written > 0 && writer.length + bytes > pieceBytes) break
        if (bytes > pieceBytes) {
          // alone, as with a batch around it a message could be too large
          at++
          writer.start()
          writer.prefix(bytes)
          writer.write(element, false, false)
          return writer.take()
        }
        writer.item(bytes)
        writer.write(element, false, false)
        written++
      }
      if (written === 0) return undefined
      const bytes = writer.takeBatch()
      if (now === undefined) {
        recent.keep({ elements: elements.between(first, at), bytes, isFull: at < elements.length })
      }
      return bytes
    },
    isLast: () => at >= elements.length,
    tooLarge: () => tooLarge
  }
}
