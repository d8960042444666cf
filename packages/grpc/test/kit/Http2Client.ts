/** One gRPC call over Node's own HTTP/2, where a gRPC library would be too polite. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as http2 from "node:http2"
import { gzipSync } from "node:zlib"

export interface Http2Call {
  readonly headers: http2.IncomingHttpHeaders | undefined
  readonly trailers: http2.IncomingHttpHeaders | undefined
  readonly messages: ReadonlyArray<{ readonly compressed: boolean; readonly bytes: Buffer }>
  /** In how many pieces the messages came. */
  readonly pieces: number
  readonly closed: boolean
}

export interface Options {
  readonly headers?: Readonly<Record<string, string>>
  /** Compresses the request. */
  readonly gzip?: boolean
  /** Reads nothing of the answer, so that the window stays as it is. */
  readonly reads?: boolean
}

const frame = (bytes: Uint8Array, gzip: boolean): Buffer => {
  const body = gzip ? gzipSync(bytes) : Buffer.from(bytes)
  const head = Buffer.alloc(5)
  head.writeUInt8(gzip ? 1 : 0)
  head.writeUInt32BE(body.length, 1)
  return Buffer.concat([head, body])
}

export const eventsBySlices = (
  port: number,
  request: Uint8Array,
  options?: Options
): Effect.Effect<Http2Call, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const session = http2.connect(`http://127.0.0.1:${port}`)
        const stream = session.request({
          ":method": "POST",
          ":path": "/akka.projection.grpc.EventProducerService/EventsBySlices",
          "content-type": "application/grpc",
          te: "trailers",
          ...(options?.gzip && { "grpc-encoding": "gzip" }),
          ...options?.headers
        })
        const call = {
          headers: undefined as http2.IncomingHttpHeaders | undefined,
          trailers: undefined as http2.IncomingHttpHeaders | undefined,
          messages: [] as Array<{ compressed: boolean; bytes: Buffer }>,
          pieces: 0,
          closed: false
        }
        session.on("error", () => {})
        stream.on("error", () => {})
        stream.on("response", (headers) => call.headers = headers)
        stream.on("trailers", (trailers) => call.trailers = trailers)
        stream.on("close", () => call.closed = true)
        session.on("close", () => call.closed = true)
        let rest = Buffer.alloc(0)
        if (options?.reads !== false) {
          stream.on("data", (data: Buffer) => {
            call.pieces++
            rest = Buffer.concat([rest, data])
            while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
              const end = 5 + rest.readUInt32BE(1)
              call.messages.push({ compressed: rest.readUInt8(0) === 1, bytes: rest.subarray(5, end) })
              rest = rest.subarray(end)
            }
          })
        }
        stream.write(frame(request, options?.gzip ?? false))
        return { call, session }
      }),
      ({ session }) => Effect.sync(() => session.destroy())
    ),
    ({ call }) => call
  )
