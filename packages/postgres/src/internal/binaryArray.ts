/**
 * Arrays in PostgreSQL's binary format. This is a fraction of the work of text, for both sides, above all for bytes.
 *
 * The driver sends a buffer as it is, as a value of the parameter's type.
 */

/** What an element is stored as: its type's number in PostgreSQL's catalogue, and how it is written. */
interface Element<A> {
  readonly oid: number
  readonly size: (value: A) => number
  readonly write: (buffer: Buffer, value: A, at: number, size: number) => void
}

const header = 20

const encode = <A>(values: ReadonlyArray<A | null>, { oid, size, write }: Element<A>): Buffer => {
  let bytes = header
  let hasNull = 0
  for (const value of values) {
    bytes += 4
    if (value === null) hasNull = 1
    else bytes += size(value)
  }
  const buffer = Buffer.allocUnsafe(bytes)
  // one dimension, whose first index is 1
  buffer.writeInt32BE(1, 0)
  buffer.writeInt32BE(hasNull, 4)
  buffer.writeInt32BE(oid, 8)
  buffer.writeInt32BE(values.length, 12)
  buffer.writeInt32BE(1, 16)
  let at = header
  for (const value of values) {
    if (value === null) {
      at = buffer.writeInt32BE(-1, at)
      continue
    }
    const length = size(value)
    at = buffer.writeInt32BE(length, at)
    write(buffer, value, at, length)
    at += length
  }
  return buffer
}

const isAscii = (text: string): boolean => {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false
  return true
}

const smallint: Element<number> = {
  oid: 21,
  size: () => 2,
  write: (buffer, value, at) => buffer.writeInt16BE(value, at)
}
const int: Element<number> = { oid: 23, size: () => 4, write: (buffer, value, at) => buffer.writeInt32BE(value, at) }
const bigint: Element<number> = {
  oid: 20,
  size: () => 8,
  write: (buffer, value, at) => {
    buffer.writeInt32BE(Math.floor(value / 2 ** 32), at)
    buffer.writeUInt32BE(((value % 2 ** 32) + 2 ** 32) % 2 ** 32, at + 4)
  }
}
const boolean: Element<boolean> = {
  oid: 16,
  size: () => 1,
  write: (buffer, value, at) => buffer.writeUInt8(value ? 1 : 0, at)
}
const text: Element<string> = {
  oid: 25,
  size: (value) => isAscii(value) ? value.length : Buffer.byteLength(value),
  write: (buffer, value, at, size) => buffer.write(value, at, size, size === value.length ? "latin1" : "utf8")
}
const bytea: Element<Uint8Array> = {
  oid: 17,
  size: (value) => value.length,
  write: (buffer, value, at) => buffer.set(value, at)
}
const uuid: Element<string> = {
  oid: 2950,
  size: () => 16,
  write: (buffer, value, at) => buffer.write(value.replaceAll("-", ""), at, 16, "hex")
}

/** @internal */
export const smallints = (values: ReadonlyArray<number>): Buffer => encode(values, smallint)
/** @internal */
export const ints = (values: ReadonlyArray<number>): Buffer => encode(values, int)
/** @internal Safe integers. */
export const bigints = (values: ReadonlyArray<number>): Buffer => encode(values, bigint)
/** @internal */
export const booleans = (values: ReadonlyArray<boolean>): Buffer => encode(values, boolean)
/** @internal */
export const texts = (values: ReadonlyArray<string | null>): Buffer => encode(values, text)
/** @internal */
export const byteas = (values: ReadonlyArray<Uint8Array>): Buffer => encode(values, bytea)
/** @internal */
export const uuids = (values: ReadonlyArray<string>): Buffer => encode(values, uuid)
