/**
 * @internal
 * A text of SQL in pieces. Events have megabytes: the pieces of those are not put together on the heap, where several would not have room,
 * but outside of it, where Node keeps long strings of ASCII.
 */
export type Pieces = ReadonlyArray<string>

/** From how many characters on. Node keeps shorter ones on the heap. */
const long = 1024 * 1024

/** @internal */
export const lengthOf = (pieces: Pieces): number => {
  let length = 0
  for (const piece of pieces) length += piece.length
  return length
}

/** UTF-8 has more bytes than there are characters for anything else. */
const isAscii = (piece: string): boolean => Buffer.byteLength(piece) === piece.length

/** @internal Puts pieces together. Names of tables may have more than ASCII. */
export const whole = (pieces: Pieces): string => {
  const length = lengthOf(pieces)
  if (length < long || !pieces.every(isAscii)) return pieces.join("")
  const bytes = Buffer.allocUnsafeSlow(length)
  let at = 0
  for (const piece of pieces) at += bytes.write(piece, at, "latin1")
  return bytes.toString("latin1")
}

/** @internal The digits of a hexadecimal literal. */
export const hex = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")
