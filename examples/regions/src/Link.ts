/**
 * The way from one region to another, which can be cut: connections end, and none are made, until it is healed.
 */
import { Effect } from "effect"
import * as Net from "node:net"

/** Leads to a port of this machine, for as long as the scope. */
export const make = Effect.fn("Link.make")(function*(to: number) {
  let isCut = false
  const clients = new Set<Net.Socket>()
  const connect = (client: Net.Socket): void => {
    client.on("error", () => {})
    if (isCut) return void client.destroy()
    const server = Net.connect({ port: to, host: "127.0.0.1", noDelay: true })
    client.setNoDelay(true)
    clients.add(client)
    server.on("error", () => {})
    server.on("close", () => client.destroy())
    client.on("close", () => {
      clients.delete(client)
      server.destroy()
    })
    client.pipe(server)
    server.pipe(client)
  }
  const end = () => {
    for (const client of clients) client.destroy()
  }
  const listener = yield* Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const listener = Net.createServer(connect).listen(0, "127.0.0.1", () => resume(Effect.succeed(listener)))
    }),
    (listener) =>
      Effect.callback<void>((resume) => {
        listener.close(() => resume(Effect.void))
        end()
      })
  )
  return {
    port: (listener.address() as Net.AddressInfo).port,
    isCut: () => isCut,
    cut: Effect.sync(() => {
      isCut = true
      end()
    }),
    heal: Effect.sync(() => {
      isCut = false
    })
  }
})

export type Link = Effect.Success<ReturnType<typeof make>>
