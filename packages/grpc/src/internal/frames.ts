import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { EventTooLarge } from "@sluice/core/Journal"
import { writer } from "./eventWriter.ts"

/** @internal A JVM consumer accepts no larger message. */
export const maxMessageBytes = 4 * 1024 * 1024

/** What is written at once: enough for the cost of a write to vanish. */
const pieceBytes = 64 * 1024

/** @internal What becomes of an event on the way to a plain consumer. */
export type Treatment = "send" | "skip" | "repeat"

/** @internal Makes pieces of envelopes: as many messages as are written at once, each with its prefix. */
export interface Pieces {
  /** Undefined after the last, or before an event that is too large. */
  readonly next: () => Buffer | undefined
  /** The event that no consumer could be sent. */
  readonly tooLarge: () => EventTooLarge | undefined
}

/** @internal One message per event. */
export const eventPieces = (
  envelopes: ReadonlyArray<EncodedEnvelope>,
  treat: (envelope: EncodedEnvelope) => Treatment
): Pieces => {
  let at = 0
  let tooLarge: EventTooLarge | undefined
  return {
    next: () => {
      while (at < envelopes.length && tooLarge === undefined) {
        const envelope = envelopes[at]!
        const treatment = treat(envelope)
        if (treatment !== "skip") {
          const bytes = writer.measure(envelope, treatment === "repeat", true)
          if (bytes > maxMessageBytes) {
            const { persistenceId } = envelope
            tooLarge = new EventTooLarge({ persistenceId, bytes, limit: maxMessageBytes })
            break
          }
          if (writer.length > 0 && writer.length + bytes > pieceBytes) break
          writer.prefix(bytes)
          writer.write(envelope, treatment === "repeat", true)
        }
        at++
      }
      return writer.length === 0 ? undefined : writer.take()
    },
    tooLarge: () => tooLarge
  }
}
