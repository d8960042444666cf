/** A network that fails when it is told to. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as net from "node:net"

export interface TcpProxy {
  readonly port: number
  /** How many connections were made so far, and how many are open. */
  readonly made: number
  readonly open: number
  /** Bytes that came from the target so far. */
  readonly received: number
  /** Resets every connection. */
  readonly cut: () => void
  /** Resets every connection as soon as so many more bytes have come from the target. */
  readonly cutAfter: (bytes: number) => void
}

/** With `reads`, it takes so many bytes of each connection from the target, and then leaves them where they are. */
export const make = (
  target: number,
  options?: { readonly reads?: number }
): Effect.Effect<TcpProxy, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<{ readonly server: net.Server; readonly proxy: TcpProxy }>((resume) => {
      const pairs = new Set<readonly [net.Socket, net.Socket]>()
      let left = Infinity
      const proxy = {
        port: 0,
        made: 0,
        received: 0,
        get open() {
          return pairs.size
        },
        cut: () => {
          for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy()
          pairs.clear()
        },
        cutAfter: (bytes: number) => {
          left = bytes
        }
      }
      const server = net.createServer((incoming) => {
        const outgoing = net.connect(target, "127.0.0.1")
        const pair = [incoming, outgoing] as const
        let reads = options?.reads ?? Infinity
        proxy.made++
        pairs.add(pair)
        for (const [socket, other] of [[incoming, outgoing], [outgoing, incoming]] as const) {
          socket.setNoDelay(true)
          socket.on("error", () => {})
          socket.on("close", () => {
            pairs.delete(pair)
            other.destroy()
          })
        }
        incoming.pipe(outgoing)
        outgoing.on("data", (data) => {
          proxy.received += data.length
          reads -= data.length
          if (reads <= 0) {
            outgoing.pause()
            return
          }
          left -= data.length
          if (left > 0) {
            if (!incoming.write(data)) {
              outgoing.pause()
              incoming.once("drain", () => outgoing.resume())
            }
            return
          }
          // in the middle of a message
          incoming.write(data.subarray(0, data.length + left), () => {
            left = Infinity
            proxy.cut()
          })
          outgoing.pause()
        })
      })
      server.listen(0, "127.0.0.1", () => {
        proxy.port = (server.address() as net.AddressInfo).port
        resume(Effect.succeed({ server, proxy }))
      })
    }),
    ({ proxy, server }) =>
      Effect.sync(() => {
        server.close()
        proxy.cut()
      })
  ).pipe(Effect.map(({ proxy }) => proxy))
