/** A TCP server that does as it is told with each connection. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as net from "node:net"

export interface TcpServer {
  readonly port: number
  /** How many connections were made so far, and how many are open. */
  readonly made: number
  readonly open: number
}

/** Listens for as long as the scope; `accept` is given the nth connection, from 1. */
export const make = (
  accept: (socket: net.Socket, n: number) => void
): Effect.Effect<TcpServer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<{ readonly tcp: TcpServer; readonly close: () => void }>((resume) => {
      const sockets = new Set<net.Socket>()
      const tcp = {
        port: 0,
        made: 0,
        get open() {
          return sockets.size
        }
      }
      const server = net.createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.on("close", () => sockets.delete(socket))
        accept(socket, ++tcp.made)
      })
      server.listen(0, "127.0.0.1", () => {
        tcp.port = (server.address() as net.AddressInfo).port
        const close = () => {
          server.close()
          for (const socket of sockets) socket.destroy()
        }
        resume(Effect.succeed({ tcp, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  ).pipe(Effect.map(({ tcp }) => tcp))

/** Leads a connection to another server of this machine. */
export const forward = (socket: net.Socket, port: number): void => {
  const other = net.connect(port, "127.0.0.1")
  other.on("error", () => socket.destroy())
  socket.on("close", () => other.destroy())
  other.on("close", () => socket.destroy())
  socket.pipe(other)
  other.pipe(socket)
}
