import * as Grpc from "@grpc/grpc-js"
import * as Slice from "@sluice/core/Slice"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { constants, type Http2Session } from "node:http2"
import type { Server, Socket } from "node:net"
import type { Endpoint, IncomingCall, Limits, Method } from "../../Call.ts"
import { ServerError } from "../../GrpcError.ts"
import type { ClientCertificate } from "../../Tls.ts"
import { bufferOf } from "../wire/bufferOf.ts"
import { maxRequestBytes } from "../wire/decodeRequest.ts"
import { maxMessageBytes } from "../wire/frames.ts"
import { fromMetadata, toMetadata } from "../wire/headers.ts"
import { serverCredentials } from "./credentials.ts"
import { meaningToPlainServer, meaningToSecureServer } from "./handshake.ts"
import { endSilent, keepalive } from "./life.ts"
import { pack, partBytes, prefixBytes } from "./packing.ts"

const shutdownTimeout = "2 seconds"

const usualLimits: Limits = {
  messageBytes: maxRequestBytes,
  // as many as a projection can have workers
  calls: Slice.count,
  connections: Infinity
}

const pass = (bytes: Buffer): Buffer => bytes

/** Messages pass the library as bytes, and on the wire all kinds of methods are the same. */
const definition = (path: string): Grpc.MethodDefinition<Buffer, Buffer> => ({
  path,
  requestStream: true,
  responseStream: true,
  requestSerialize: pass,
  requestDeserialize: pass,
  responseSerialize: pass,
  responseDeserialize: pass
})

/** @internal Listens for as long as the scope. */
export const listen = (
  { address, limits = usualLimits, silence, tls }: Endpoint,
  methods: ReadonlyArray<Method>
): Effect.Effect<number, ServerError, Scope.Scope> =>
  Effect.flatMap(
    Effect.acquireRelease(
      Effect.sync(() => {
        const server = new Grpc.Server({
          "grpc.max_receive_message_length": limits.messageBytes,
          "grpc.max_send_message_length": maxMessageBytes,
          "grpc.max_concurrent_streams": limits.calls,
          ...keepalive(silence)
        })
        server.addService(
          Object.fromEntries(methods.map(({ path }) => [path, definition(path)])),
          Object.fromEntries(methods.map(({ path, serve }) => [
            path,
            (call: Grpc.ServerDuplexStream<Buffer, Buffer>) => serve(incoming(call))
          ]))
        )
        return server
      }),
      (server) =>
        Effect.callback<void>((resume) => server.tryShutdown(() => resume(Effect.void))).pipe(
          Effect.timeoutOption(shutdownTimeout),
          Effect.andThen(Effect.sync(() => server.forceShutdown()))
        )
    ),
    (server) =>
      Effect.contextWith((context: Context.Context<never>) =>
        Effect.callback((resume) => {
          server.bindAsync(
            address,
            serverCredentials(tls),
            (cause, port) => {
              if (cause !== null) return resume(Effect.fail(new ServerError({ address, cause })))
              watch(server, makeLog(context), limits.connections, silence)
              resume(Effect.succeed(port))
            }
          )
        })
      )
  )

/** For how many milliseconds the same is not said again. */
const quietFor = 60_000

type Log = (client: string | undefined, meaning: string | undefined) => void

/** Tells the log of this side what is wrong with a client that cannot be told itself. */
const makeLog = (context: Context.Context<never>): Log => {
  const run = Effect.runForkWith(context)
  const said = new Map<string, number>()
  return (client, meaning) => {
    const now = performance.now()
    if (meaning === undefined || now - (said.get(meaning) ?? -quietFor) < quietFor) return
    said.set(meaning, now)
    run(Effect.logWarning(`A client cannot connect${client === undefined ? "" : ` from ${client}`}. ${meaning}`))
  }
}

interface SecureSocket extends Socket {
  readonly authorizationError?: unknown
  /** What it is made of. It is a detail of Node, which may change. */
  readonly _parent?: Socket | null
}

/** Where the library keeps what listens. It is a detail of it, which may change. */
interface Listening {
  readonly http2Servers?: ReadonlyMap<
    Server & {
      readonly on:
        & ((event: "session", f: (session: Http2Session) => void) => void)
        & ((event: "tlsClientError", f: (error: Error, socket: SecureSocket) => void) => void)
    },
    unknown
  >
}

/** Connections on which nothing comes any more are lost, also before they are secure. Those that fail are explained. */
const watch = (server: Grpc.Server, log: Log, connections: number, silence: number | undefined): void => {
  for (const listening of (server as unknown as Listening).http2Servers?.keys() ?? []) {
    listening.maxConnections = connections
    listening.on("drop", (dropped) => log(dropped?.remoteAddress, `There are ${connections}, and no more are taken`))
    listening.on("connection", (socket) => {
      // once it is closed, it tells its address only if it was asked before
      void socket.remoteAddress
      socket.once("close", endSilent(() => socket.bytesRead, () => socket.destroy(), silence))
    })
    listening.on("session", (session) => {
      const { remoteAddress } = session.socket
      if (!session.encrypted) session.once("error", (error) => log(remoteAddress, meaningToPlainServer(error)))
    })
    listening.on("tlsClientError", (error, { _parent, authorizationError, remoteAddress = _parent?.remoteAddress }) => {
      log(remoteAddress, meaningToSecureServer(error, authorizationError))
    })
  }
}

/** The library has no way to reset a call: this is a detail of it, which may change. */
interface Internals {
  readonly call?: { readonly stream?: { readonly writableFinished: boolean; readonly close: (code: number) => void } }
}

/** What stands between commas, of which there may be more within quotes. */
const alternativeName = /[^\s",](?:[^",]|"(?:[^"\\]|\\.)*")*/g

/** What the client has presented, and the library has found to be of an authority that is trusted. */
const certificateOf = (call: Grpc.ServerDuplexStream<Buffer, Buffer>): ClientCertificate | undefined => {
  const certificate = call.getAuthContext().sslPeerCertificate
  if (certificate === undefined) return undefined
  const parts = Object.entries(certificate.subject as unknown as Record<string, string | Array<string>>)
  return {
    subject: Object.fromEntries(parts.map(([name, value]) => [name, Array.isArray(value) ? value[0]! : value])),
    alternativeNames: certificate.subjectaltname?.match(alternativeName) ?? [],
    fingerprint: certificate.fingerprint256
  }
}

/** What was given to be written at once, in pieces, and how many of these are written. */
interface Unwritten {
  readonly pieces: Array<Buffer>
  at: number
  readonly taken: (bytes: number) => void
}

const incoming = (call: Grpc.ServerDuplexStream<Buffer, Buffer>): IncomingCall => {
  // a call that fails says so when nobody may be listening any more
  call.on("error", () => {})
  /** What is not written yet. The client would not understand the pieces of two large messages that mix, so that each waits for those before it. */
  const unwritten: Array<Unwritten> = []
  /** Ends the call, once everything is written. */
  let finish: (() => void) | undefined
  const drop = (): void => {
    finish = undefined
    // a piece that the client does not take keeps what comes after it
    for (const { pieces } of unwritten) pieces.length = 0
    unwritten.length = 0
  }
  /** Writes until there are so many bytes that the client is to take them first. */
  const proceed = (): void => {
    for (let first = unwritten[0]; first !== undefined; first = unwritten[0]) {
      const { pieces, taken } = first
      let bytes = 0
      while (first.at < pieces.length) {
        const piece = pieces[first.at++]!
        bytes += prefixBytes + piece.byteLength
        if (first.at === pieces.length) call.write(piece, () => taken(bytes))
        else if (bytes < partBytes) call.write(piece)
        else {
          call.write(piece, () => {
            // it may have been dropped meanwhile
            if (unwritten[0] === first) proceed()
            taken(bytes)
          })
          return
        }
      }
      unwritten.shift()
    }
    finish?.()
  }
  call.once("cancelled", drop)
  return {
    peer: call.getPeer(),
    get headers() {
      return fromMetadata(call.metadata)
    },
    get certificate() {
      return certificateOf(call)
    },
    receive: (message, end) => {
      call.on("data", message)
      call.on("end", end)
    },
    onCancelled: (cancelled) => call.once("cancelled", cancelled),
    sendHeaders: (headers) => call.sendMetadata(toMetadata(headers)),
    write: (frames, taken) => {
      unwritten.push({ pieces: pack(bufferOf(frames)).slice(), at: 0, taken })
      if (unwritten.length === 1) proceed()
    },
    end: ({ code, details, trailers }) => {
      if (call.cancelled) return
      if (code === Grpc.status.RESOURCE_EXHAUSTED) drop()
      finish = () => {
        if (code === Grpc.status.OK) call.end()
        else call.emit("error", { code, details, metadata: toMetadata(trailers) })
      }
      if (unwritten.length === 0) finish()
    },
    reset: () => {
      drop()
      const stream = (call as unknown as Internals).call?.stream
      if (stream?.writableFinished === false) stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    }
  }
}
