import * as Grpc from "@grpc/grpc-js"
import type { OutgoingCall, OutgoingListener, Request, Status } from "../../Call.ts"
import { bufferOf } from "../wire/bufferOf.ts"
import { fromMetadata, toMetadata } from "../wire/headers.ts"

type WireCall = ReturnType<Grpc.ChannelInterface["createCall"]>

/** So many messages are taken from the library before anybody reads them, which are large ones at worst. */
const ahead = 16

/** And more, while they have fewer bytes together: of small ones, a group has come while the one before it is handled. */
const aheadBytes = 256 * 1024

/** What a message weighs beside its bytes. */
const overhead = 64

/** What the library ends its text with where there is no connection: when that was, and nothing about the resolution of the name. */
const tail = /( \([0-9T:.-]+Z\))?(\.? ?Resolution note:\s*)?$/

/**
 * @internal
 * How a call has ended, without what the library says of a name's resolution. Of a message that it cannot unpack it says neither code nor details, and of a code that the server has sent
 * and that is no number, `NaN`.
 */
export const statusOf = ({ code, details, metadata }: Partial<Grpc.StatusObject>): Status => ({
  code: code === undefined ? Grpc.status.INTERNAL : Number.isNaN(code) ? Grpc.status.UNKNOWN : code,
  details: details === undefined
    ? "a message has come that cannot be read: it is compressed, in a way that is not known or was not said"
    : code === Grpc.status.OK
    ? details
    : details.replace(tail, ""),
  trailers: metadata === undefined ? {} : fromMetadata(metadata)
})

/**
 * The client's end of a call. It stands on what the library's own streams stand on: these cost as much as all the rest of a call with one message.
 */
class Outgoing implements OutgoingCall {
  readonly #call: WireCall
  readonly #listener: OutgoingListener
  /** What has come and was not read. */
  readonly #come: Array<Buffer> = []
  #comeBytes = 0
  #isAsked = false
  #isTold = false
  /** What is to be written after what the library has in hand, which takes one message at a time. */
  readonly #unwritten: Array<Uint8Array> = []
  #isWriting = false
  #isEnding = false
  #hasEnded = false

  constructor(channel: Grpc.ChannelInterface, request: Request, listener: OutgoingListener) {
    const { headers, path, timeout, waitForReady } = request
    this.#listener = listener
    const deadline = timeout === undefined ? Infinity : Date.now() + timeout
    this.#call = channel.createCall(path, deadline, undefined, null, undefined)
    this.#call.start(toMetadata(headers, { waitForReady }), {
      onReceiveMetadata: (metadata) => listener.headers(fromMetadata(metadata)),
      onReceiveMessage: (message: Buffer) => {
        this.#isAsked = false
        this.#come.push(message)
        this.#comeBytes += overhead + message.length
        this.#ask()
        if (this.#isTold) return
        // once for all that come in one go
        this.#isTold = true
        process.nextTick(this.#tell)
      },
      onReceiveStatus: (status) => {
        this.#hasEnded = true
        this.#unwritten.length = 0
        if (this.#isTold) this.#tell()
        listener.ended(statusOf(status))
      }
    })
    this.#ask()
  }

  write(message: Uint8Array): void {
    if (this.#hasEnded || this.#isEnding) return
    if (this.#isWriting) this.#unwritten.push(message)
    else this.#send(message)
  }

  end(): void {
    if (this.#hasEnded || this.#isEnding) return
    this.#isEnding = true
    // the library does so after a message that it has
    if (this.#unwritten.length === 0) this.#call.halfClose()
  }

  read(): Uint8Array | undefined {
    const message = this.#come.shift()
    if (message === undefined) return undefined
    this.#comeBytes -= overhead + message.length
    this.#ask()
    return message
  }

  cancel(): void {
    if (!this.#hasEnded) this.#call.cancelWithStatus(Grpc.status.CANCELLED, "Cancelled on client")
  }

  readonly #tell = (): void => {
    this.#isTold = false
    this.#listener.readable()
  }

  /** Asks for the next message, and for the status after the last. */
  #ask(): void {
    if (this.#isAsked || this.#hasEnded || this.#come.length >= ahead && this.#comeBytes >= aheadBytes) return
    this.#isAsked = true
    this.#call.startRead()
  }

  #send(message: Uint8Array): void {
    this.#isWriting = true
    this.#call.sendMessageWithContext({ callback: this.#sent }, bufferOf(message))
  }

  readonly #sent = (): void => {
    this.#isWriting = false
    const next = this.#unwritten.shift()
    if (next === undefined) return
    this.#send(next)
    if (this.#isEnding && this.#unwritten.length === 0) this.#call.halfClose()
  }
}

/** @internal Makes a call. Throws where the channel is closed. */
export const outgoing = (
  channel: Grpc.ChannelInterface,
  request: Request,
  listener: OutgoingListener
): OutgoingCall => new Outgoing(channel, request, listener)
