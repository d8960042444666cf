import type { EncodedElement, EncodedEnvelope } from "@sluice/core/Envelope"
import { encoded, isSkipped } from "@sluice/core/Envelope"
import type { Payload } from "@sluice/core/Payload"
import * as PersistenceId from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import type { Timestamp } from "@sluice/core/Timestamp"
import { StreamOutSchema } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { fromStreamOut, skipped } from "./messages.ts"
import { decodeSaid, type Said } from "./metadata.ts"
import { decode } from "./methods.ts"
import { textOf } from "./text.ts"

/**
 * Reads StreamOut messages in the form that every encoder writes them in: no message that is to be merged with another, numbers within 53
 * bits. It gives up at anything else, and at bytes that are no message, for the generated decoder to make sense of it, or to say what
 * is wrong. It never reads beyond the end that it was given.
 */
class EventReader {
  #bytes: Uint8Array = noBytes
  #at = 0
  #end = 0

  /** What the last event says that it comes from; empty for a stream's own. */
  origin = ""

  // the payloads of a stream are of few types
  readonly #manifest = new Remembered()

  /**
   * Adds what the message carries. False where it gives up, having added nothing. Throws at what the protocol does not promise, after
   * what is before.
   */
  read(bytes: Uint8Array, elements: Array<EncodedElement>): boolean {
    this.#bytes = bytes
    this.#at = 0
    const end = this.#end = bytes.length
    if (bytes[0] !== 0xca || bytes[1] !== 0x3e) return this.#message(end, elements)
    this.#at = 2
    // nothing may follow
    if (this.#delimited(end) !== end) return false
    const first = this.#at
    while (this.#at < end) {
      const to = bytes[this.#at++] === 0x0a ? this.#delimited(end) : -1
      if (to < 0) return false
      this.#at = to
    }
    for (let at = first; at < end;) {
      this.#at = at + 1
      const to = this.#delimited(end)
      const start = this.#at
      this.#end = to
      if (!this.#message(to, elements)) {
        fromStreamOut(decode(StreamOutSchema, bytes.subarray(start, to)), elements, true)
      }
      this.#end = end
      at = to
    }
    return true
  }

  #message(end: number, elements: Array<EncodedElement>): boolean {
    const bytes = this.#bytes
    const tag = this.#at < end ? bytes[this.#at++]! : 0
    if (tag === 0x0a || tag === 0x12) {
      // nothing may follow
      if (this.#delimited(end) !== end) return false
      const envelope = this.#event(end, tag === 0x0a)
      if (envelope === undefined) return false
      elements.push(envelope)
      return true
    }
    if (tag !== 0xd2 || bytes[this.#at++] !== 0x3e || this.#delimited(end) !== end) return false
    return this.#skipped(end, elements)
  }

  #skipped(end: number, elements: Array<EncodedElement>): boolean {
    let slice = 0
    let from = 0
    let to = 0
    let timestamp = 0
    let isDeferred = false
    while (this.#at < end) {
      const tag = this.#bytes[this.#at++]!
      const value = tag === 0x08 || tag === 0x10 || tag === 0x18 || tag === 0x20 || tag === 0x28 ? this.#varint() : -1
      if (value < 0) return false
      if (tag === 0x08) slice = value
      else if (tag === 0x10) from = value
      else if (tag === 0x18) to = value
      else if (tag === 0x20) timestamp = value
      else isDeferred = value !== 0
    }
    if (slice > 1023) return false
    elements.push(skipped(slice, from, to, timestamp, isDeferred))
    return true
  }

  #event(end: number, isEvent: boolean): EncodedEnvelope | undefined {
    const bytes = this.#bytes
    let id: PersistenceId.PersistenceId | undefined
    let sequence = 0
    let position = 0
    let timestamp = -1
    let manifest: string | undefined
    let value: Uint8Array = noBytes
    let metadata: Payload | undefined
    let tags: Array<string> = noTags
    this.origin = ""
    while (this.#at < end) {
      const tag = bytes[this.#at++]!
      switch (tag) {
        case 0x0a: {
          const to = this.#delimited(end)
          if (to < 0) return undefined
          id = this.#persistenceId(to)
          if (id === undefined) return undefined
          break
        }
        case 0x10:
          if ((sequence = this.#varint()) < 0) return undefined
          break
        case 0x18:
          if (this.#varint() < 0) return undefined
          break
        case 0x22: {
          const to = this.#delimited(end)
          if (to < 0) return undefined
          const time = this.#offset(to)
          if (time < 0) return undefined
          // of several the first counts
          if (timestamp < 0) timestamp = time
          break
        }
        case 0x2a: {
          const to = this.#delimited(end)
          if (to < 0) return undefined
          if (!isEvent) {
            // the source of a filtered event
            if (!this.#originTo(to)) return undefined
            break
          }
          if (manifest !== undefined) return undefined
          manifest = ""
          while (this.#at < to) {
            const field = bytes[this.#at++]!
            const until = field === 0x0a || field === 0x12 ? this.#delimited(to) : -1
            if (until < 0) return undefined
            if (field === 0x0a) {
              const text = this.#manifest.text(bytes, this.#at, until)
              if (text === undefined) return undefined
              manifest = text
            } else {
              value = new Uint8Array(bytes.buffer, bytes.byteOffset + this.#at, until - this.#at)
            }
            this.#at = until
          }
          break
        }
        case 0x32: {
          const to = isEvent ? this.#delimited(end) : -1
          if (to < 0 || !this.#originTo(to)) return undefined
          break
        }
        case 0x3a: {
          const to = isEvent ? this.#delimited(end) : -1
          if (to < 0 || metadata !== undefined) return undefined
          metadata = this.#any(to)
          if (metadata === undefined) return undefined
          break
        }
        case 0x42: {
          const to = isEvent ? this.#delimited(end) : -1
          const text = to < 0 ? undefined : this.#text(to)
          if (text === undefined) return undefined
          if (tags === noTags) tags = []
          tags.push(text)
          break
        }
        default:
          if (tag === 0xc8 && bytes[this.#at] === 0x3e && this.#at++ < end) {
            if ((position = this.#varint()) < 0) return undefined
          } else if (!this.#skip(tag, end)) {
            return undefined
          }
      }
      if (this.#at > end) return undefined
    }
    if (id === undefined || timestamp < 0) return undefined
    const said = metadata === undefined ? nothing : decodeSaid([metadata])
    return encoded({
      persistenceId: id,
      sequenceNumber: sequence as SequenceNumber,
      // the slice is a function of the id, whatever the peer says
      slice: Slice.ofPersistenceId(id),
      position: position === 0 ? undefined : position as Position,
      timestamp: timestamp as Timestamp,
      tags,
      metadata: said.metadata,
      replication: said.replication,
      foreignMetadata: said.foreignMetadata
    }, manifest === undefined ? undefined : { manifest, bytes: value })
  }

  /** In microseconds; -1 without a timestamp. What was seen is not used, and looked at only for being valid. */
  #offset(end: number): number {
    const bytes = this.#bytes
    let timestamp = -1
    while (this.#at < end) {
      switch (bytes[this.#at++]) {
        case 0x0a: {
          const to = this.#delimited(end)
          if (to < 0 || timestamp >= 0) return -1
          let seconds = 0
          let nanos = 0
          while (this.#at < to) {
            const field = bytes[this.#at++]
            const value = this.#varint()
            if (value < 0 || this.#at > to) return -1
            if (field === 0x08) seconds = value
            else if (field === 0x10 && value < 1_000_000_000) nanos = value
            else return -1
          }
          timestamp = seconds * 1_000_000 + Math.floor(nanos / 1000)
          if (!Number.isSafeInteger(timestamp)) return -1
          break
        }
        case 0x12: {
          const to = this.#delimited(end)
          if (to < 0) return -1
          while (this.#at < to) {
            const field = bytes[this.#at++]
            if (field === 0x0a) {
              const until = this.#delimited(to)
              if (until < 0 || !this.#isText(until)) return -1
            } else if (field !== 0x10 || this.#varint() < 0 || this.#at > to) return -1
          }
          break
        }
        default:
          return -1
      }
    }
    return timestamp
  }

  #any(end: number): Payload | undefined {
    const bytes = this.#bytes
    let manifest = ""
    let value: Uint8Array = noBytes
    while (this.#at < end) {
      const field = bytes[this.#at++]
      const to = field === 0x0a || field === 0x12 ? this.#delimited(end) : -1
      if (to < 0) return undefined
      if (field === 0x0a) {
        const text = this.#text(to)
        if (text === undefined) return undefined
        manifest = text
      } else {
        value = new Uint8Array(bytes.buffer, bytes.byteOffset + this.#at, to - this.#at)
        this.#at = to
      }
    }
    return { manifest, bytes: value }
  }

  /** Goes past a field of a later version. */
  #skip(tag: number, end: number): boolean {
    const bytes = this.#bytes
    let number = (tag & 0x7f) >>> 3
    for (let byte = tag, weight = 16; byte > 0x7f; weight *= 128) {
      if (this.#at >= end || weight > 0x7ffff) return false
      byte = bytes[this.#at++]!
      number += (byte & 0x7f) * weight
    }
    // what is known is not of this wire type, or more metadata
    if (number <= 8 || number === 1001 || number === 1002) return false
    switch (tag & 7) {
      case 0:
        return this.#varint() >= 0
      case 1:
        this.#at += 8
        return true
      case 2: {
        const to = this.#delimited(end)
        if (to >= 0) this.#at = to
        return to >= 0
      }
      case 5:
        this.#at += 4
        return true
      default:
        return false
    }
  }

  /** A safe integer from 0, or -1. */
  #varint(): number {
    const bytes = this.#bytes
    const end = this.#end
    let at = this.#at
    let value = 0
    let weight = 1
    for (let i = 0; i < 8; i++) {
      if (at >= end) return -1
      const byte = bytes[at++]!
      value += (byte & 0x7f) * weight
      if (byte < 0x80) {
        this.#at = at
        return value <= Number.MAX_SAFE_INTEGER ? value : -1
      }
      weight *= 128
    }
    return -1
  }

  /** Where the content that begins here ends, or -1 if that is beyond the end. */
  #delimited(end: number): number {
    const length = this.#varint()
    if (length < 0) return -1
    const to = this.#at + length
    return to > end ? -1 : to
  }

  #text(end: number): string | undefined {
    const text = textOf(this.#bytes, this.#at, end)
    this.#at = end
    return text
  }

  #originTo(end: number): boolean {
    if (this.#at === end) return true
    const text = this.#text(end)
    this.origin = text ?? ""
    return text !== undefined
  }

  /** Whether the text is valid, without making it. */
  #isText(end: number): boolean {
    const bytes = this.#bytes
    for (let at = this.#at; at < end; at++) if (bytes[at]! > 0x7f) return this.#text(end) !== undefined
    this.#at = end
    return true
  }

  #persistenceId(end: number): PersistenceId.PersistenceId | undefined {
    const text = this.#text(end)
    return PersistenceId.is(text) ? text : undefined
  }
}

const nothing: Partial<Said> = {}
const noTags: Array<string> = []
const noBytes = new Uint8Array()

/** Text that mostly is the same as before. */
class Remembered {
  #bytes: Uint8Array = noBytes
  #text = ""

  text(bytes: Uint8Array, start: number, end: number): string | undefined {
    const known = this.#bytes
    const length = end - start
    let same = 0
    if (length === known.length) { while (same < length && bytes[start + same] === known[same]) same++ }
    if (same === length) return this.#text
    const text = textOf(bytes, start, end)
    if (text === undefined) return undefined
    this.#bytes = bytes.slice(start, end)
    this.#text = text
    return text
  }
}

const reader = new EventReader()

/**
 * @internal
 * Adds the events that a StreamOut carries, and what it says is left out. Throws when the message is not what the protocol promises, after
 * what is before.
 */
export const readStreamOut = (bytes: Uint8Array, elements: Array<EncodedElement>): void => {
  if (!reader.read(bytes, elements)) fromStreamOut(decode(StreamOutSchema, bytes), elements)
}

/**
 * @internal
 * As `readStreamOut`, and returns what the last event says that it comes from, which is empty for what comes in its turn.
 */
export const readWithOrigin = (bytes: Uint8Array, elements: Array<EncodedElement>): string => {
  reader.origin = ""
  if (reader.read(bytes, elements)) return reader.origin
  const out = decode(StreamOutSchema, bytes)
  fromStreamOut(out, elements)
  const { message } = out
  return message.case === "event" || message.case === "filteredEvent" ? message.value.source : ""
}

/** @internal The events that messages carry, of which nothing is left out. Throws at a message without an event. */
export const readEvents = (messages: ReadonlyArray<Uint8Array>): Array<EncodedEnvelope> => {
  const elements: Array<EncodedElement> = []
  for (const message of messages) {
    const before = elements.length
    readStreamOut(message, elements)
    if (elements.length === before) throw new RangeError("a message that is not of one event, or of several")
  }
  if (elements.some(isSkipped)) throw new RangeError("a message that is not of events alone")
  return elements as Array<EncodedEnvelope>
}

/** @internal The one event that a StreamOut carries. */
export const readEvent = (bytes: Uint8Array): EncodedEnvelope => {
  const events = readEvents([bytes])
  if (events.length !== 1) throw new RangeError("a message that is not of one event")
  return events[0]!
}
