/** Bytes before the body of a frame: how many bytes follow, what it is, and the number of the command that it is about. */
export const headerBytes = 9

/** What follows the length, of a frame without a body. */
const emptyBytes = headerBytes - 4

/**
 * @internal
 * A message between two processes: what it is, and the number that its sender has given to the command that it is about.
 */
export interface Frame {
  readonly kind: number
  readonly id: number
  readonly body: Buffer
}

/** @internal The bytes of a frame. */
export const encode = (kind: number, id: number, body: string | Buffer = ""): Buffer => {
  const length = typeof body === "string" ? Buffer.byteLength(body) : body.byteLength
  const bytes = Buffer.allocUnsafe(headerBytes + length)
  bytes.writeUInt32BE(emptyBytes + length, 0)
  bytes.writeUInt8(kind, 4)
  bytes.writeUInt32BE(id, 5)
  if (typeof body === "string") bytes.write(body, headerBytes)
  else body.copy(bytes, headerBytes)
  return bytes
}

/** What is set aside for a frame at first, in bytes: it grows with what comes, not with what was announced. */
const firstBytes = 1024

/**
 * @internal
 * Takes frames out of the bytes of a connection, however they are cut. It holds at most twice what has come of one frame, and no frame is larger than
 * `limit`.
 */
export class FrameReader {
  /** The largest body, in bytes. */
  limit: number
  #bytes = Buffer.allocUnsafeSlow(firstBytes)
  #held = 0

  constructor(limit: number) {
    this.limit = limit
  }

  /** All bytes of the frame of which some have come and others have not, as far as that is known; 0 where none has begun. */
  get announced(): number {
    return this.#held < 4 ? this.#held : 4 + this.#bytes.readUInt32BE(0)
  }

  /** The frames that these bytes complete. Throws a `RangeError` for one that is too large, or that is none. */
  push(piece: Buffer): ReadonlyArray<Frame> {
    const frames: Array<Frame> = []
    let at = 0
    while (at < piece.byteLength) {
      // most frames come in one piece
      if (this.#held === 0 && piece.byteLength - at >= headerBytes) {
        const total = 4 + this.#checked(piece.readUInt32BE(at))
        if (piece.byteLength - at >= total) {
          frames.push(frameOf(piece.subarray(at, at + total)))
          at += total
          continue
        }
      }
      if (this.#held < 4) {
        const taken = Math.min(4 - this.#held, piece.byteLength - at)
        this.#append(piece, at, taken, 4)
        at += taken
        if (this.#held < 4) break
      }
      const total = 4 + this.#checked(this.#bytes.readUInt32BE(0))
      const taken = Math.min(total - this.#held, piece.byteLength - at)
      this.#append(piece, at, taken, total)
      at += taken
      if (this.#held < total) break
      frames.push(frameOf(this.#bytes.subarray(0, total)))
      // the frame keeps the bytes
      this.#bytes = Buffer.allocUnsafeSlow(firstBytes)
      this.#held = 0
    }
    return frames
  }

  #checked(length: number): number {
    if (length < emptyBytes) throw new RangeError("what was sent is no frame")
    if (length - emptyBytes > this.limit) {
      throw new RangeError(`a frame with ${length - emptyBytes} bytes is more than the limit of ${this.limit}`)
    }
    return length
  }

  #append(piece: Buffer, from: number, count: number, total: number): void {
    const needed = this.#held + count
    if (needed > this.#bytes.byteLength) {
      const grown = Buffer.allocUnsafeSlow(Math.min(total, Math.max(needed, 2 * this.#bytes.byteLength)))
      this.#bytes.copy(grown, 0, 0, this.#held)
      this.#bytes = grown
    }
    piece.copy(this.#bytes, this.#held, from, from + count)
    this.#held = needed
  }
}

const frameOf = (bytes: Buffer): Frame => ({
  kind: bytes.readUInt8(4),
  id: bytes.readUInt32BE(5),
  body: bytes.subarray(headerBytes)
})
