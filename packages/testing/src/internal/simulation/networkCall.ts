import {
  type IncomingCall,
  type Method,
  type OutgoingCall,
  type OutgoingListener,
  type Request,
  type Status,
  unframe
} from "@sluice/grpc/Call"
import type { Engine, Runner } from "./Engine.ts"
import { Inbox, type Link, Pipe } from "./networkLink.ts"

/** The numbers of gRPC statuses. */
const code = { deadlineExceeded: 4, resourceExhausted: 8, unimplemented: 12, unavailable: 14 } as const

/** @internal */
export const unavailable = (details: string): Status => ({ code: code.unavailable, details, trailers: {} })

/** @internal Which end of a connection. */
export type Side = "client" | "server"

/** @internal */
export const otherSide = (side: Side): Side => side === "client" ? "server" : "client"

/** @internal What a proxy does to a call. */
export type Misconduct = "SendsTwice" | "CutsAfterHeaders" | "EndsRequests"

/** @internal A connection, as a call on it sees it. */
export interface Carrier {
  readonly engine: Engine
  readonly client: Runner
  readonly server: Runner
  readonly peer: string
  readonly up: Link
  readonly down: Link
  readonly methods: ReadonlyMap<string, Method>
  /** Somebody accepts what is sent to the server, and hands nothing on. */
  readonly isHalfOpen: boolean
  readonly misconduct: Misconduct | undefined
  readonly hasLost: (side: Side) => boolean
  /** Something has come for an end that knows the connection no more. */
  readonly refuse: (side: Side) => void
  readonly forget: (call: Call) => void
}

/** A call that the server has been sent a second time. */
interface Twin {
  readonly requests: Array<Uint8Array>
  received?: (bytes: Uint8Array) => void
  receivedEnd?: () => void
  cancelled?: () => void
}

interface Piece {
  readonly messages: ReadonlyArray<Uint8Array>
  readonly written: () => void
}

/** @internal One call on a connection, with both its ends. An end knows of the other only what has come through a pipe. */
export class Call {
  readonly #carrier: Carrier
  readonly #listener: OutgoingListener
  readonly #toServer: Pipe
  readonly #toClient: Pipe
  readonly #clientInbox: Inbox
  readonly #serverInbox: Inbox
  /** How many bytes the server may have written that the client has not read. */
  readonly #window: number
  readonly #misconduct: Misconduct | undefined

  // the client's end
  readonly #arrived: Array<Uint8Array> = []
  #isClientOver = false
  #unacknowledged = 0

  // the server's end
  #requests: Array<Uint8Array> = []
  #hasClientEnded = false
  #received: ((bytes: Uint8Array) => void) | undefined
  #receivedEnd: (() => void) | undefined
  #cancelled: (() => void) | undefined
  #isServerOver = false
  #pieces: Array<Piece> = []
  #final: Status | undefined
  #inFlight = 0
  #twin: Twin | undefined

  constructor(carrier: Carrier, request: Request, listener: OutgoingListener, window: number) {
    this.#carrier = carrier
    this.#listener = listener
    this.#window = window
    this.#misconduct = carrier.misconduct
    this.#clientInbox = new Inbox(carrier.client)
    this.#serverInbox = new Inbox(carrier.server)
    this.#toServer = new Pipe(carrier.engine, carrier.up, (task) => this.#arrive("server", this.#serverInbox, task))
    this.#toClient = new Pipe(carrier.engine, carrier.down, (task) => this.#arrive("client", this.#clientInbox, task))
    this.#send(() => this.#accept(request))
    const { timeout } = request
    if (timeout !== undefined) carrier.client.after(timeout, () => this.#timeOut(timeout))
  }

  /** The client's end. */
  readonly outgoing: OutgoingCall = {
    write: (message) => {
      // a copy, as nothing of a process is another's
      const bytes = Buffer.from(message)
      if (!this.#isClientOver) this.#send(() => this.#request(bytes))
    },
    end: () => {
      if (!this.#isClientOver) this.#send(() => this.#requestsEnd())
    },
    read: () => {
      const message = this.#arrived.shift()
      if (message === undefined) return undefined
      this.#unacknowledged += message.length
      if (this.#unacknowledged >= this.#window / 2) {
        const bytes = this.#unacknowledged
        this.#unacknowledged = 0
        this.#send(() => this.#acknowledge(bytes))
      }
      return message
    },
    cancel: () => {
      if (this.#isClientOver) return
      this.#isClientOver = true
      this.#arrived.length = 0
      this.#send(() => this.#cancel())
      this.#forgetIfOver()
    }
  }

  /** The end has lost its connection: its process is told, the other is not. */
  lost(side: Side, details: string): void {
    if (side === "client") this.#clientInbox.push(() => this.#end(unavailable(details)))
    else this.#serverInbox.push(() => this.#cancel())
  }

  /** The end's system closes the connection: the other is told, after what was sent. */
  closed(side: Side, details: string): void {
    if (side === "client") this.#toServer.send(() => this.#cancel())
    else this.#toClient.send(() => this.#end(unavailable(details)))
  }

  /** Sends to the server, unless nobody hands it on. */
  #send(task: () => void): void {
    if (!this.#carrier.isHalfOpen) this.#toServer.send(task)
  }

  #arrive(side: Side, inbox: Inbox, task: () => void): void {
    if (this.#carrier.hasLost(side)) this.#carrier.refuse(side)
    else inbox.push(task)
  }

  // what has come to the client

  #message(message: Uint8Array): void {
    if (this.#isClientOver) return
    this.#arrived.push(message)
    this.#listener.readable()
  }

  #end(status: Status): void {
    if (this.#isClientOver) return
    this.#isClientOver = true
    this.#forgetIfOver()
    this.#listener.ended(status)
  }

  #timeOut(timeout: number): void {
    if (this.#isClientOver) return
    this.#end({ code: code.deadlineExceeded, details: `not answered within ${timeout} ms`, trailers: {} })
    this.#send(() => this.#cancel())
  }

  // what has come to the server

  #accept({ headers, path }: Request): void {
    const method = this.#carrier.methods.get(path)
    if (method === undefined) {
      this.#finish({ code: code.unimplemented, details: `there is no method ${path}`, trailers: {} })
      return
    }
    method.serve(this.#incoming(headers))
    if (this.#misconduct !== "SendsTwice") return
    this.#twin = { requests: [] }
    method.serve(this.#incomingTwin(headers, this.#twin))
  }

  /** What the server writes to the second of them goes nowhere, as fast as it comes. */
  #incomingTwin(headers: Request["headers"], twin: Twin): IncomingCall {
    return {
      peer: this.#carrier.peer,
      headers,
      receive: (message, end) => {
        twin.received = message
        twin.receivedEnd = end
        this.#serverInbox.push(() => this.#handOnToTwin())
      },
      onCancelled: (cancelled) => {
        twin.cancelled = cancelled
      },
      sendHeaders: () => {},
      write: (frames, taken) => this.#serverInbox.push(() => taken(frames.length)),
      end: () => {
        this.#twin = undefined
      },
      reset: () => {
        this.#twin = undefined
      }
    }
  }

  #incoming(headers: Request["headers"]): IncomingCall {
    return {
      peer: this.#carrier.peer,
      headers,
      receive: (message, end) => {
        this.#received = message
        this.#receivedEnd = end
        this.#serverInbox.push(() => this.#handOn())
      },
      onCancelled: (cancelled) => {
        this.#cancelled = cancelled
      },
      sendHeaders: (headers) => {
        if (this.#isServerOver) return
        this.#toClient.send(() => {
          if (!this.#isClientOver) this.#listener.headers(headers)
        })
        if (this.#misconduct !== "CutsAfterHeaders") return
        this.#toClient.send(() => this.#end(unavailable("the stream was reset after its headers")))
        this.#serverInbox.push(() => this.#cancel())
      },
      write: (frames, taken) => {
        if (this.#isServerOver) return
        this.#pieces.push({
          messages: unframe(Buffer.from(frames)),
          written: () => taken(frames.length)
        })
        this.#pump()
      },
      end: (status) => {
        if (this.#isServerOver) return
        this.#final = status
        this.#pump()
      },
      reset: () => {
        this.#pieces = []
        const details = "the stream was reset, as the consumer did not read it"
        this.#toClient.send(() => this.#end({ code: code.resourceExhausted, details, trailers: {} }))
        this.#serverIsOver()
      }
    }
  }

  #request(bytes: Uint8Array): void {
    if (this.#isServerOver || this.#hasClientEnded) return
    this.#requests.push(bytes)
    this.#twin?.requests.push(bytes)
    if (this.#misconduct === "EndsRequests") this.#hasClientEnded = true
    this.#handOn()
  }

  #requestsEnd(): void {
    this.#hasClientEnded = true
    this.#handOn()
  }

  /** Hands on what has come, as soon as somebody receives it. */
  #handOn(): void {
    this.#handOnToTwin()
    const received = this.#received
    if (received === undefined) return
    for (const bytes of this.#requests.splice(0)) received(bytes)
    if (!this.#hasClientEnded) return
    this.#receivedEnd?.()
    this.#receivedEnd = undefined
  }

  #handOnToTwin(): void {
    const twin = this.#twin
    if (twin?.received === undefined) return
    for (const bytes of twin.requests.splice(0)) twin.received(bytes)
    if (!this.#hasClientEnded) return
    twin.receivedEnd?.()
    delete twin.receivedEnd
  }

  #acknowledge(bytes: number): void {
    this.#inFlight -= bytes
    this.#pump()
  }

  #cancel(): void {
    this.#twin?.cancelled?.()
    this.#twin = undefined
    if (this.#isServerOver) return
    this.#serverIsOver()
    this.#cancelled?.()
  }

  /** Sends what there is room for. */
  #pump(): void {
    while (this.#inFlight < this.#window) {
      const piece = this.#pieces.shift()
      if (piece === undefined) break
      for (const message of piece.messages) {
        this.#inFlight += message.length
        this.#toClient.send(() => this.#message(message))
      }
      this.#serverInbox.push(piece.written)
    }
    if (this.#pieces.length === 0 && this.#final !== undefined) this.#finish(this.#final)
  }

  #finish(status: Status): void {
    if (this.#isServerOver) return
    this.#toClient.send(() => this.#end(status))
    this.#serverIsOver()
  }

  #serverIsOver(): void {
    this.#isServerOver = true
    this.#pieces = []
    this.#forgetIfOver()
  }

  #forgetIfOver(): void {
    if (this.#isClientOver && this.#isServerOver) this.#carrier.forget(this)
  }
}
