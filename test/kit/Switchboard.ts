/** An address that leads to one server, and later to another, as a name does that a failover moves. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"

export interface Switchboard {
  readonly port: number
  /** Where new connections lead from now on; those that there are stay. */
  readonly lead: (port: number) => Effect.Effect<void>
  /** Breaks the connections that there are. */
  readonly cut: Effect.Effect<void>
  /** How many connections have been made to a port. */
  readonly made: (port: number) => number
  /** How many connections there are to a port. */
  readonly open: (port: number) => number
}

export const start = (to: number): Effect.Effect<Switchboard, never, Scope.Scope> =>
  Effect.gen(function*() {
    const state = { to, made: new Map<number, number>(), sockets: new Map<Net.Socket, number>() }
    const connect = (client: Net.Socket): void => {
      const port = state.to
      const server = Net.connect({ port, host: "127.0.0.1", noDelay: true })
      client.setNoDelay(true)
      state.made.set(port, (state.made.get(port) ?? 0) + 1)
      state.sockets.set(client, port)
      for (const [socket, other] of [[client, server], [server, client]] as const) {
        socket.on("error", () => {})
        socket.on("close", () => {
          state.sockets.delete(client)
          other.destroy()
        })
        socket.pipe(other)
      }
    }
    const cut = () => {
      for (const socket of state.sockets.keys()) socket.resetAndDestroy()
    }
    const listener = yield* Effect.acquireRelease(
      Effect.callback<Net.Server>((resume) => {
        const listener = Net.createServer(connect).listen(0, "127.0.0.1", () => resume(Effect.succeed(listener)))
      }),
      (listener) =>
        Effect.callback<void>((resume) => {
          listener.close(() => resume(Effect.void))
          cut()
        })
    )
    return {
      port: (listener.address() as Net.AddressInfo).port,
      lead: (port) =>
        Effect.sync(() => {
          state.to = port
        }),
      cut: Effect.sync(cut),
      made: (port) => state.made.get(port) ?? 0,
      open: (port) => [...state.sockets.values()].filter((to) => to === port).length
    }
  })
