/** A proxy that understands HTTP/2, as nginx and HAProxy do: it answers pings itself, and resets streams on which nothing happens. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as http2 from "node:http2"
import type * as net from "node:net"

export interface Http2Proxy {
  readonly port: number
  /** How many streams were opened so far. */
  readonly made: number
}

/** How a stream of EventsBySlices ends, for its nth call from 1. */
export type Ending = (stream: http2.ServerHttp2Stream, n: number) => void

/** Listens without TLS for as long as the scope. `onStream` takes over the streams that it says it does. */
export const make = (options: {
  readonly target?: number
  /** In milliseconds, for each direction. */
  readonly idle?: number
  /** Whether the bytes of the nth call, from 1, are handed on to a side: by default they are. */
  readonly passes?: (to: "target" | "client", n: number) => boolean
  readonly onStream?: (stream: http2.ServerHttp2Stream, n: number) => boolean
}): Effect.Effect<Http2Proxy, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<{ readonly proxy: Http2Proxy; readonly close: () => void }>((resume) => {
      const sessions = new Set<http2.Http2Session>()
      const upstream = options.target === undefined ? undefined : http2.connect(`http://127.0.0.1:${options.target}`)
      upstream?.on("error", () => {})
      const proxy = { port: 0, made: 0 }
      const server = http2.createServer()
      server.on("session", (session) => {
        sessions.add(session)
        session.on("error", () => {})
        session.on("close", () => sessions.delete(session))
      })
      server.on("stream", (incoming, headers) => {
        const n = ++proxy.made
        incoming.on("error", () => {})
        if (options.onStream?.(incoming, n) === true || upstream === undefined) return
        const outgoing = upstream.request(headers, { endStream: false })
        outgoing.on("error", () => {})
        const reset = () => {
          incoming.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
          outgoing.close(http2.constants.NGHTTP2_CANCEL)
        }
        // either side has to say something
        const timers = [0, 1].map(() => options.idle === undefined ? undefined : setTimeout(reset, options.idle))
        outgoing.on("response", (headers) => incoming.respond(headers, { waitForTrailers: true }))
        outgoing.on("trailers", (trailers) => {
          incoming.on("wantTrailers", () => incoming.sendTrailers(trailers))
        })
        incoming.on("data", (data) => {
          timers[0]?.refresh()
          if (options.passes?.("target", n) ?? true) outgoing.write(data)
        })
        outgoing.on("data", (data) => {
          timers[1]?.refresh()
          if (options.passes?.("client", n) ?? true) incoming.write(data)
        })
        incoming.on("end", () => outgoing.end())
        outgoing.on("end", () => incoming.end())
        for (const stream of [incoming, outgoing]) {
          stream.on("close", () => {
            for (const timer of timers) clearTimeout(timer)
            incoming.close()
            outgoing.close()
          })
        }
      })
      server.listen(0, "127.0.0.1", () => {
        proxy.port = (server.address() as net.AddressInfo).port
        const close = () => {
          server.close()
          upstream?.destroy()
          for (const session of sessions) session.destroy()
        }
        resume(Effect.succeed({ proxy, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  ).pipe(Effect.map(({ proxy }) => proxy))
