/**
 * A call between two services, as each of its two ends sees it. Whatever carries calls, such as sockets or a simulated network, gives
 * these ends to the code above it.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { ClientCertificate, ClientTls, ServerTls } from "./Tls.ts"

/**
 * Headers by name: letters, digits, `_`, `-` and `.`. Values are printable ASCII. Those that have come have names in lower case, and
 * of several with one name the first.
 *
 * @category models
 * @since 0.1.0
 */
export type Headers = Readonly<Record<string, string>>

/**
 * How a call has ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status {
  /** The number of the gRPC status: 0 where the call ended as it should. */
  readonly code: number
  readonly details: string
  readonly trailers: Headers
}

/**
 * A server that can be called.
 *
 * @category models
 * @since 0.1.0
 */
export interface Target {
  /** `host:port` */
  readonly address: string
  readonly tls: ClientTls | undefined
  /** For how many milliseconds nothing comes from the server when the connection is lost: 20,000 by default. The first of those who share a connection says it. */
  readonly silence?: number | undefined
  /** Whether it is connected to without the HTTP proxy that the environment names, which is taken with TLS otherwise. */
  readonly isDirect?: boolean | undefined
}

/**
 * The way to a server, shared by the calls that go there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Channel {
  /**
   * Waits until the server is reached. Without `waitForReady` it fails with the reason where it is not. It also fails when somebody has
   * accepted the connection and says nothing; the next attempt makes another.
   */
  readonly ready: (waitForReady: boolean) => Effect.Effect<void, Status>
  /** Makes a call. The listener hears of it later, and never from within a function of the call. */
  readonly call: (request: Request, listener: OutgoingListener) => OutgoingCall
  /** How many bytes have come on the open connection. With it, a stream that is silent as others are slow is not taken for lost. */
  readonly received?: () => number
}

/**
 * What a call begins with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  /** `/package.Service/Method` */
  readonly path: string
  readonly headers: Headers
  /** Whether to wait for a connection where there is none. */
  readonly waitForReady: boolean
  /** After how many milliseconds the call ends with DEADLINE_EXCEEDED, at both ends. */
  readonly timeout?: number | undefined
}

/**
 * What the client's end of a call is told.
 *
 * @category models
 * @since 0.1.0
 */
export interface OutgoingListener {
  /** The server has answered. */
  readonly headers: (headers: Headers) => void
  /** There may be something to read. */
  readonly readable: () => void
  /** The call is over. Messages that have come before can still be read. Only the first such status counts. */
  readonly ended: (status: Status) => void
}

/**
 * The client's end of a call.
 *
 * @category models
 * @since 0.1.0
 */
export interface OutgoingCall {
  /** Sends a message, after those before it. */
  readonly write: (message: Uint8Array) => void
  /** Says that no more is written. */
  readonly end: () => void
  /** The next message that has come. The server is held back by flow control until messages are read. */
  readonly read: () => Uint8Array | undefined
  /** Ends the call on this side, and tells the server. Nothing happens where it is over. */
  readonly cancel: () => void
}

/**
 * Where a server listens.
 *
 * @category models
 * @since 0.1.0
 */
export interface Endpoint {
  /** `host:port`, with the port 0 for any that is free. */
  readonly address: string
  readonly tls: ServerTls | undefined
  /** For how many milliseconds nothing comes from a client when its connection is lost: 20,000 by default. */
  readonly silence?: number | undefined
  /** What is taken at most. */
  readonly limits?: Limits | undefined
}

/**
 * What a server takes at most.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  /** The size of a message, in bytes. A larger one ends its call with RESOURCE_EXHAUSTED. */
  readonly messageBytes: number
  /** Calls of one connection at a time. More wait with their client. */
  readonly calls: number
  /** Connections at a time. More are closed. */
  readonly connections: number
}

/**
 * A method that a server has.
 *
 * @category models
 * @since 0.1.0
 */
export interface Method {
  /** `/package.Service/Method` */
  readonly path: string
  /** A call has come in. */
  readonly serve: (call: IncomingCall) => void
}

/**
 * The server's end of a call.
 *
 * @category models
 * @since 0.1.0
 */
export interface IncomingCall {
  /** Tells which connection the call is on. */
  readonly peer: string
  readonly headers: Headers
  /** What the client has presented, if the server has asked for it, and trusts it. */
  readonly certificate?: ClientCertificate | undefined
  /** Hands on the client's messages as they come, and then that there will be no more. Messages wait until this is called. */
  readonly receive: (message: (bytes: Uint8Array) => void, end: () => void) => void
  /** The client has cancelled the call, or cannot be reached any more. */
  readonly onCancelled: (cancelled: () => void) => void
  /** Answers with headers, at most once, and before the first message. */
  readonly sendHeaders: (headers: Headers) => void
  /**
   * Writes one or several messages, each with gRPC's prefix. Says later, once or several times, how many bytes of them the client has
   * taken, which makes room for more.
   */
  readonly write: (frames: Uint8Array, taken: (bytes: number) => void) => void
  /**
   * Ends the call after what was written, and with RESOURCE_EXHAUSTED after what the client has taken: the rest takes the memory that
   * others need, and a message may be cut off. Nothing happens where the call is over.
   */
  readonly end: (status: Status) => void
  /** Drops what was written and not taken, as the client does not read it. */
  readonly reset: () => void
}

/** Of each message: whether it is compressed, which none of ours is, and its length in 4 bytes. */
const prefixBytes = 5

/**
 * One message with gRPC's prefix.
 *
 * @category framing
 * @since 0.1.0
 */
export const frame = (message: Uint8Array): Uint8Array => {
  const framed = new Uint8Array(prefixBytes + message.length)
  new DataView(framed.buffer).setUint32(1, message.length)
  framed.set(message, prefixBytes)
  return framed
}

/**
 * The messages of frames, one by one, without a copy.
 *
 * @category framing
 * @since 0.1.0
 */
export const unframe = (frames: Uint8Array): Array<Uint8Array> => {
  const messages: Array<Uint8Array> = []
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
  for (let at = 0; at < frames.length;) {
    const end = at + prefixBytes + view.getUint32(at + 1)
    messages.push(frames.subarray(at + prefixBytes, end))
    at = end
  }
  return messages
}
