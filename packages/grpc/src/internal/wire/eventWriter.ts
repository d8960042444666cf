import type { EncodedEnvelope, Skipped } from "@sluice/core/Envelope"
import type { Payload } from "@sluice/core/Payload"
import { backtracking } from "./messages.ts"
import { encodeSaid, metadataUrl, outgoing } from "./metadata.ts"

/**
 * @internal
 * Writes envelopes as StreamOut messages into one buffer, which grows. It writes what protobuf's canonical form is, byte by byte: fields in
 * the order of their numbers, none that has its default value, and no longer number than needed.
 */
export class EventWriter {
  #bytes = Buffer.allocUnsafeSlow(128 * 1024)
  #length = 0

  // of the envelope that was measured last: strings as UTF-8 are measured once, before anything is written
  #id = 0
  #timestamp = 0
  #seen = 0
  #offset = 0
  #manifest = 0
  #payload = 0
  #metadataText = ""
  #metadataBytes = 0
  #metadata = 0
  /** Metadata that is more than texts. */
  #said: ReadonlyArray<Payload> = noPayloads
  #event = 0

  /** How many bytes were written. */
  get length(): number {
    return this.#length
  }

  /** What was written, to be kept. */
  take(): Buffer {
    const bytes = Buffer.allocUnsafe(this.#length)
    this.#bytes.copy(bytes, 0, 0, this.#length)
    this.#length = 0
    return bytes
  }

  /** Begins anew, without what was left behind where something has thrown before it was taken. */
  start(): void {
    this.#length = 0
  }

  /** Begins anew with a batch: a message whose size is not known yet. */
  startBatch(): void {
    this.#length = batchRoom
  }

  /** What was written since the batch was begun, as a message with its prefix. */
  takeBatch(): Buffer {
    const content = this.#length - batchRoom
    const bytes = 2 + varintLength(content) + content
    const start = this.#length - bytes - 5
    this.#length = start
    this.prefix(bytes)
    this.#bytes[this.#length++] = 0xca
    this.#delimiter(0x3e, content)
    this.#length += content
    const frame = Buffer.allocUnsafe(this.#length - start)
    this.#bytes.copy(frame, 0, start, this.#length)
    this.#length = 0
    return frame
  }

  /** Writes what a batch puts before a message of so many bytes. */
  item(bytes: number): void {
    this.#reserve(11)
    this.#delimiter(0x0a, bytes)
  }

  /** Writes the StreamOut of what was left out into a batch. */
  skipped({ from, isDeferred, position, slice, timestamp }: Skipped): void {
    const content = (slice === 0 ? 0 : 1 + varintLength(slice)) + 1 + varintLength(from) + 1 + varintLength(position) +
      (timestamp === undefined ? 0 : 1 + varintLength(timestamp)) + (isDeferred ? 2 : 0)
    this.item(2 + varintLength(content) + content)
    this.#reserve(content + 8)
    this.#bytes[this.#length++] = 0xd2
    this.#delimiter(0x3e, content)
    if (slice !== 0) this.#number(0x08, slice)
    this.#number(0x10, from)
    this.#number(0x18, position)
    if (timestamp !== undefined) this.#number(0x20, timestamp)
    if (isDeferred) this.#number(0x28, 1)
  }

  /** Writes what gRPC puts before a message of so many bytes. */
  prefix(bytes: number): void {
    this.#reserve(5)
    this.#bytes[this.#length] = 0
    this.#bytes.writeUInt32BE(bytes, this.#length + 1)
    this.#length += 5
  }

  /**
   * Measures the StreamOut of an envelope, which `write` then writes. `repeats` leaves out what a repetition does not carry, and
   * `seen` says whether the offset names the event, which plain peers need.
   */
  measure(envelope: EncodedEnvelope, repeats: boolean, seen: boolean): number {
    const { payload, persistenceId, position, sequenceNumber, slice, tags, timestamp } = envelope
    const id = this.#id = utf8Length(persistenceId)
    const sequence = sequenceNumber === 0 ? 0 : 1 + varintLength(sequenceNumber)
    const seconds = Math.floor(timestamp / 1_000_000)
    const nanos = (timestamp - seconds * 1_000_000) * 1000
    this.#timestamp = (seconds === 0 ? 0 : 1 + varintLength(seconds)) + (nanos === 0 ? 0 : 1 + varintLength(nanos))
    this.#seen = seen ? delimited(id) + sequence : 0
    this.#offset = 1 + 1 + this.#timestamp + (seen ? delimited(this.#seen) : 0)
    let event = delimited(id) + sequence + (slice === 0 ? 0 : 1 + varintLength(slice)) + delimited(this.#offset)
    if (position !== undefined && position > 0) event += 2 + varintLength(position)
    if (payload !== undefined) {
      if (repeats) {
        event += 2 + backtracking.length
      } else {
        const manifest = this.#manifest = utf8Length(payload.manifest)
        const bytes = payload.bytes.length
        this.#payload = (manifest === 0 ? 0 : delimited(manifest)) + (bytes === 0 ? 0 : delimited(bytes))
        event += delimited(this.#payload)
        event += this.#measureMetadata(envelope)
      }
      for (let i = 0; i < tags.length; i++) event += delimited(utf8Length(tags[i]!))
    }
    this.#event = event
    return delimited(event)
  }

  #measureMetadata(envelope: EncodedEnvelope): number {
    const { foreignMetadata, replication } = envelope
    this.#metadata = 0
    if (replication !== undefined || foreignMetadata !== undefined) {
      this.#said = encodeSaid(envelope)
      // the tag of all but the first takes two bytes
      let bytes = this.#said.length - 1
      for (const any of this.#said) bytes += delimited(anyLength(any))
      return bytes
    }
    this.#said = noPayloads
    const metadata = outgoing(envelope.metadata)
    for (const _ in metadata) {
      this.#metadataText = JSON.stringify(metadata)
      this.#metadataBytes = utf8Length(this.#metadataText)
      this.#metadata = delimited(metadataUrl.length) + delimited(this.#metadataBytes)
      return delimited(this.#metadata)
    }
    return 0
  }

  /** Writes the envelope that was measured last, in the same way. */
  write(envelope: EncodedEnvelope, repeats: boolean, seen: boolean): void {
    const { payload, persistenceId, position, sequenceNumber, slice, tags, timestamp } = envelope
    this.#reserve(this.#event + 16)
    const isEvent = payload !== undefined
    this.#delimiter(isEvent ? 0x0a : 0x12, this.#event)
    this.#text(0x0a, persistenceId, this.#id)
    if (sequenceNumber !== 0) this.#number(0x10, sequenceNumber)
    if (slice !== 0) this.#number(0x18, slice)
    this.#delimiter(0x22, this.#offset)
    this.#delimiter(0x0a, this.#timestamp)
    const seconds = Math.floor(timestamp / 1_000_000)
    const nanos = (timestamp - seconds * 1_000_000) * 1000
    if (seconds !== 0) this.#number(0x08, seconds)
    if (nanos !== 0) this.#number(0x10, nanos)
    if (seen) {
      this.#delimiter(0x12, this.#seen)
      this.#text(0x0a, persistenceId, this.#id)
      if (sequenceNumber !== 0) this.#number(0x10, sequenceNumber)
    }
    if (isEvent) {
      if (repeats) {
        this.#text(0x32, backtracking, backtracking.length)
      } else {
        this.#delimiter(0x2a, this.#payload)
        if (this.#manifest > 0) this.#text(0x0a, payload.manifest, this.#manifest)
        if (payload.bytes.length > 0) {
          this.#delimiter(0x12, payload.bytes.length)
          this.#bytes.set(payload.bytes, this.#length)
          this.#length += payload.bytes.length
        }
        if (this.#metadata > 0) {
          this.#delimiter(0x3a, this.#metadata)
          this.#text(0x0a, metadataUrl, metadataUrl.length)
          this.#text(0x12, this.#metadataText, this.#metadataBytes)
        } else if (this.#said.length > 0) {
          this.#any(0x3a, this.#said[0]!)
        }
      }
      for (let i = 0; i < tags.length; i++) this.#text(0x42, tags[i]!, utf8Length(tags[i]!))
    }
    if (position !== undefined && position > 0) {
      this.#bytes[this.#length++] = 0xc8
      this.#number(0x3e, position)
    }
    if (!isEvent || repeats) return
    for (let i = 1; i < this.#said.length; i++) {
      this.#bytes[this.#length++] = 0xd2
      this.#any(0x3e, this.#said[i]!)
    }
  }

  #any(tag: number, any: Payload): void {
    const manifest = utf8Length(any.manifest)
    this.#delimiter(tag, anyLength(any))
    if (manifest > 0) this.#text(0x0a, any.manifest, manifest)
    if (any.bytes.length === 0) return
    this.#delimiter(0x12, any.bytes.length)
    this.#bytes.set(any.bytes, this.#length)
    this.#length += any.bytes.length
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length))
    this.#bytes.copy(grown, 0, 0, this.#length)
    this.#bytes = grown
  }

  #number(tag: number, value: number): void {
    this.#bytes[this.#length++] = tag
    this.#varint(value)
  }

  #delimiter(tag: number, bytes: number): void {
    this.#bytes[this.#length++] = tag
    this.#varint(bytes)
  }

  #varint(value: number): void {
    const bytes = this.#bytes
    let at = this.#length
    while (value > 0x7fffffff) {
      bytes[at++] = value % 128 | 0x80
      value = Math.floor(value / 128)
    }
    while (value > 0x7f) {
      bytes[at++] = value & 0x7f | 0x80
      value >>>= 7
    }
    bytes[at++] = value
    this.#length = at
  }

  #text(tag: number, text: string, length: number): void {
    this.#delimiter(tag, length)
    const bytes = this.#bytes
    const at = this.#length
    if (length !== text.length) {
      bytes.write(text, at, length, "utf8")
    } else if (length > 40) {
      bytes.write(text, at, length, "latin1")
    } else {
      // a call into native code costs more than short text
      for (let i = 0; i < length; i++) bytes[at + i] = text.charCodeAt(i)
    }
    this.#length = at + length
  }
}

const noPayloads: ReadonlyArray<Payload> = []

/** For the prefix, the tag, and a length of up to 4 GiB. */
const batchRoom = 5 + 2 + 5

/** The bytes of a varint, whose value is a safe integer from 0. */
const varintLength = (value: number): number => {
  let length = 1
  while (value > 0x7fffffff) {
    value = Math.floor(value / 128)
    length++
  }
  while (value > 0x7f) {
    value >>>= 7
    length++
  }
  return length
}

/** The bytes of a field with so many bytes of content. */
const delimited = (length: number): number => 1 + varintLength(length) + length

const anyLength = ({ bytes, manifest }: Payload): number => {
  const length = utf8Length(manifest)
  return (length === 0 ? 0 : delimited(length)) + (bytes.length === 0 ? 0 : delimited(bytes.length))
}

const utf8Length = (text: string): number => {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) return Buffer.byteLength(text)
  }
  return text.length
}

/** @internal Started, written and taken at once, so that all can share it. */
export const writer: EventWriter = new EventWriter()
