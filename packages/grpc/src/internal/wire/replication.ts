/** Where an event of a replicated entity comes from, as the bytes of a `ReplicatedEventMetadata`. Every event has them, so they are read and written without the generated code. */
import type { ReplicationMetadata } from "@sluice/core/ReplicationMetadata"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Timestamp from "@sluice/core/Timestamp"
import { textOf } from "./text.ts"

const sizeOf = (number: number): number => {
  let size = 1
  for (let rest = number; rest > 0x7f; rest = Math.floor(rest / 128)) size++
  return size
}

const sizeOfDelimited = (length: number): number => sizeOf(length) + length

const writeNumber = (bytes: Buffer, start: number, number: number): number => {
  let at = start
  let rest = number
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes[at++] = (rest % 128) | 0x80
  bytes[at++] = rest
  return at
}

const writeText = (bytes: Buffer, start: number, tag: number, text: string, length: number): number => {
  bytes[start] = tag
  const at = writeNumber(bytes, start + 1, length)
  return at + bytes.write(text, at)
}

/** @internal All fields in the order of their numbers, as every encoder writes them. */
export const encodeReplication = (
  { concurrent, origin, originSequenceNumber, time, version }: ReplicationMetadata
): Uint8Array => {
  const entries: Array<readonly [replica: string, length: number, version: number, size: number]> = []
  let vector = 0
  for (const [replica, number] of version) {
    const length = Buffer.byteLength(replica)
    const size = 2 + sizeOfDelimited(length) + sizeOf(number)
    entries.push([replica, length, number, size])
    vector += 1 + sizeOfDelimited(size)
  }
  const length = Buffer.byteLength(origin)
  const bytes = Buffer.allocUnsafe(
    5 + sizeOfDelimited(length) + sizeOf(originSequenceNumber) + sizeOfDelimited(vector) +
      (time === undefined ? 0 : 2 + sizeOf(time))
  )
  let at = writeText(bytes, 0, 0x0a, origin, length)
  bytes[at++] = 0x10
  at = writeNumber(bytes, at, originSequenceNumber)
  bytes[at++] = 0x1a
  at = writeNumber(bytes, at, vector)
  for (const [replica, length, number, size] of entries) {
    bytes[at++] = 0x0a
    at = writeNumber(bytes, at, size)
    at = writeText(bytes, at, 0x0a, replica, length)
    bytes[at++] = 0x10
    at = writeNumber(bytes, at, number)
  }
  bytes[at++] = 0x20
  bytes[at++] = concurrent ? 1 : 0
  if (time === undefined) return bytes
  bytes[at++] = 0xc8
  bytes[at++] = 0x3e
  writeNumber(bytes, at, time)
  return bytes
}

/** Reads what `encodeReplication` writes, and fails at anything else. */
class Reader {
  readonly #bytes: Uint8Array
  #at = 0
  isSound = true

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get at(): number {
    return this.#at
  }

  tag(tag: number): void {
    if (this.#bytes[this.#at++] !== tag) this.isSound = false
  }

  /** A safe integer from 0, in as few bytes as possible. */
  number(): number {
    let value = 0
    for (let weight = 1, i = 0; i < 8; weight *= 128, i++) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) break
      value += (byte & 0x7f) * weight
      if (byte > 0x7f) continue
      if (byte === 0 && i > 0 || value > Number.MAX_SAFE_INTEGER) break
      return value
    }
    this.isSound = false
    return 0
  }

  /** Where the content ends that begins here. */
  end(): number {
    const length = this.number()
    const end = this.#at + length
    if (end <= this.#bytes.length) return end
    this.isSound = false
    return this.#at
  }

  text(): string {
    const end = this.end()
    const text = textOf(this.#bytes, this.#at, end)
    this.#at = end
    if (text === undefined) this.isSound = false
    return text ?? ""
  }
}

/** @internal Undefined for what is not exactly what `encodeReplication` writes: it could not be passed on as it is. */
export const decodeReplication = (bytes: Uint8Array): ReplicationMetadata | undefined => {
  const reader = new Reader(bytes)
  reader.tag(0x0a)
  const origin = reader.text()
  reader.tag(0x10)
  const originSequenceNumber = SequenceNumber.make(reader.number())
  reader.tag(0x1a)
  const vectorEnd = reader.end()
  const version = new Map<string, SequenceNumber.SequenceNumber>()
  while (reader.isSound && reader.at < vectorEnd) {
    reader.tag(0x0a)
    const entryEnd = reader.end()
    reader.tag(0x0a)
    const replica = reader.text()
    reader.tag(0x10)
    const number = SequenceNumber.make(reader.number())
    if (reader.at !== entryEnd || version.has(replica)) return undefined
    version.set(replica, number)
  }
  if (!reader.isSound || reader.at !== vectorEnd) return undefined
  reader.tag(0x20)
  const concurrent = reader.number()
  let time: Timestamp.Timestamp | undefined
  if (reader.at < bytes.length) {
    reader.tag(0xc8)
    reader.tag(0x3e)
    time = Timestamp.make(reader.number())
  }
  if (!reader.isSound || reader.at !== bytes.length || concurrent > 1) return undefined
  return { origin, originSequenceNumber, version, concurrent: concurrent === 1, ...(time !== undefined && { time }) }
}
