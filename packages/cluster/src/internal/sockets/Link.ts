import * as RealTime from "@sluice/sql/adapter/RealTime"
import type { Socket } from "node:net"
import { encode, type Frame, FrameReader } from "./FrameReader.ts"
import { kinds } from "./kinds.ts"

/** What is not written yet, in bytes, when nothing more is read that would be answered; and when whoever does not read is given up. */
const crowdedAt = 16 * 1024 * 1024
const givenUpAt = 80 * 1024 * 1024

/**
 * @internal
 * A connection between two processes, as either of them has it: frames, and beats, so that silence says that it is lost. `close` is told why, once.
 */
export class Link {
  readonly #socket: Socket
  readonly #reader: FrameReader
  readonly #silence: number
  readonly #onFrame: (frame: Frame) => void
  readonly #onClose: (why: string) => void
  readonly #onProgress: () => void
  #stopBeats: () => void = () => {}
  #heardAt = RealTime.now()
  #isClosed = false
  #holds = 0
  /** Frames that have come in one piece with what has led to a pause. */
  #frames: Array<Frame> = []

  constructor(socket: Socket, options: {
    /** The largest frame for now. */
    readonly limit: number
    /** For how long, in milliseconds, the other side may say nothing. */
    readonly silence: number
    readonly onFrame: (frame: Frame) => void
    readonly onClose: (why: string) => void
    /** Some bytes have come, or all of the frames that they were of. */
    readonly onProgress?: () => void
  }) {
    this.#socket = socket
    this.#reader = new FrameReader(options.limit)
    this.#silence = options.silence
    this.#onFrame = options.onFrame
    this.#onClose = options.onClose
    this.#onProgress = options.onProgress ?? (() => {})
    socket.setNoDelay(true)
    socket.on("data", (piece: Buffer) => this.#read(piece))
    socket.on("error", (error) => this.close(error.message))
    socket.on("end", () => this.close("the other side has ended the connection"))
    socket.on("close", () => this.close("the connection was closed"))
    this.#beat()
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** All bytes of the frame that is coming; 0 where none is. */
  get announced(): number {
    return this.#reader.announced
  }

  /** Whether the other side reads so slowly that it should not be given more to read. */
  get isCrowded(): boolean {
    return this.#socket.writableLength >= crowdedAt
  }

  /** Who is on the other side, as it may be said in a log. */
  get peer(): string {
    return `${this.#socket.remoteAddress ?? "?"}:${this.#socket.remotePort ?? "?"}`
  }

  /** Larger frames may come from now on. */
  allow(limit: number): void {
    this.#reader.limit = limit
  }

  send(kind: number, id: number, body: string | Buffer = ""): void {
    if (this.#isClosed) return
    this.#socket.write(encode(kind, id, body))
    if (this.#socket.writableLength > givenUpAt) this.close("the other side does not read what it is sent")
  }

  /** Calls the function once the other side has read nearly all that it was sent, of which there is much. */
  onceRead(f: () => void): void {
    this.#socket.once("drain", f)
  }

  /** Reads nothing until `resume` is called as often. */
  pause(): void {
    if (this.#holds++ === 0) this.#socket.pause()
  }

  resume(): void {
    if (--this.#holds > 0 || this.#isClosed) return
    this.#heardAt = RealTime.now()
    this.#deliver()
    // what has come with it may lead to a pause again
    if (this.#holds === 0) this.#socket.resume()
  }

  /** Closes the connection; with a last frame, once that is written. */
  close(why: string, last?: Buffer): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#stopBeats()
    if (last === undefined) {
      this.#socket.destroy()
    } else {
      this.#socket.end(last)
      RealTime.after(1_000, () => this.#socket.destroy())
    }
    this.#onClose(why)
  }

  #read(piece: Buffer): void {
    if (this.#isClosed) return
    this.#heardAt = RealTime.now()
    try {
      this.#frames.push(...this.#reader.push(piece))
    } catch (error) {
      return this.close((error as Error).message)
    }
    this.#deliver()
    if (!this.#isClosed) this.#onProgress()
  }

  /** Hands over what has come, until nothing more is to be read. */
  #deliver(): void {
    let at = 0
    while (at < this.#frames.length && this.#holds === 0 && !this.#isClosed) {
      const frame = this.#frames[at++]!
      if (frame.kind !== kinds.beat) this.#onFrame(frame)
    }
    this.#frames.splice(0, at)
  }

  #beat(): void {
    const every = this.#silence / 4
    const due = RealTime.now() + every
    this.#stopBeats = RealTime.after(every, () => {
      const now = RealTime.now()
      // a process that was halted itself has to read first what has come meanwhile
      const wasHalted = now - due > every
      if (wasHalted) this.#heardAt = now - this.#silence / 2
      if (this.#holds === 0 && now - this.#heardAt > this.#silence) {
        return this.close(`nothing was heard for ${Math.round(now - this.#heardAt)} ms`)
      }
      this.send(kinds.beat, 0)
      if (!this.#isClosed) this.#beat()
    })
  }
}
