/** Stands between the instances and their database, and breaks the connection where a rule says so. */
import { freePort } from "@sluice/testing/FreePort"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"

/**
 * How a connection breaks:
 * - `cut`: both ends see it.
 * - `orphan`: only the instance sees it; the server goes on, and gets what the proxy has kept back when it is told to `deliver`.
 * - `swallow`: neither sees it, but nothing arrives any more.
 */
export type Break = "cut" | "orphan" | "swallow"

/** Decides about a piece of the conversation: the bytes to be passed on, or how the connection breaks instead. */
export type Rule = (piece: {
  readonly from: "client" | "server"
  readonly bytes: Buffer
  /** Whatever rules want to remember of the connection. */
  readonly notes: Set<string>
}) => Buffer | Break

export interface Proxy {
  readonly port: number
  /** From now on; none at first. */
  readonly rule: (rule: Rule) => Effect.Effect<void>
  /** How many connections were broken. */
  readonly broken: () => number
  /** Breaks the connections that there are. */
  readonly break: (how: Break) => Effect.Effect<void>
  /** Hands the server what was kept back, waits until it has answered, and closes the orphaned connections. */
  readonly deliver: Effect.Effect<void>
}

export const pass: Rule = ({ bytes }) => bytes

/** Whether the instance asks for something to be committed: by the statement, or, on PostgreSQL, by the function that appends. */
export const commits = (bytes: Buffer): boolean =>
  /COMMIT(?!TED)|sluice_append|\0append[ \0]/.test(bytes.toString("latin1"))

export const start = (serverPort: number): Effect.Effect<Proxy, never, Scope.Scope> =>
  Effect.gen(function*() {
    const port = yield* freePort
    const state = { rule: pass, broken: 0 }
    const connections = new Set<Connection>()
    const orphans: Array<Connection> = []
    const swallowed: Array<Connection> = []

    const connect = (client: Net.Socket): void => {
      const server = Net.connect({ port: serverPort, host: "127.0.0.1", noDelay: true })
      client.setNoDelay(true)
      const connection: Connection = { client, server, kept: [], how: undefined }
      connections.add(connection)
      const notes = new Set<string>()
      for (const [from, socket, other] of [["client", client, server], ["server", server, client]] as const) {
        socket.on("data", (bytes: Buffer) => {
          if (connection.how !== undefined) return
          const verdict = state.rule({ from, bytes, notes })
          if (typeof verdict !== "string") return void other.write(verdict)
          if (from === "client") connection.kept.push(bytes)
          breakOff(connection, verdict)
        })
        socket.on("error", () => {})
        socket.on("close", () => {
          connections.delete(connection)
          if (connection.how === undefined) other.destroy()
        })
      }
    }
    const breakOff = (connection: Connection, how: Break): void => {
      if (connection.how !== undefined) return
      connection.how = how
      state.broken++
      if (how !== "swallow") connection.client.resetAndDestroy()
      if (how === "cut") connection.server.resetAndDestroy()
      if (how === "orphan") orphans.push(connection)
      if (how === "swallow") swallowed.push(connection)
    }

    yield* Effect.acquireRelease(
      Effect.callback<Net.Server>((resume) => {
        const listener = Net.createServer(connect).listen(port, "127.0.0.1", () => resume(Effect.succeed(listener)))
      }),
      (listener) =>
        Effect.callback<void>((resume) => {
          listener.close(() => resume(Effect.void))
          for (const { client, server } of [...connections, ...orphans, ...swallowed]) {
            client.destroy()
            server.destroy()
          }
        })
    )
    return {
      port,
      rule: (rule) =>
        Effect.sync(() => {
          state.rule = rule
        }),
      broken: () => state.broken,
      break: (how) =>
        Effect.sync(() => {
          for (const connection of connections) breakOff(connection, how)
        }),
      deliver: Effect.promise(async () => {
        for (const { kept, server } of orphans.splice(0)) {
          // one that the server has closed gets nothing any more
          if (kept.length > 0 && !server.destroyed) {
            const answered = new Promise<void>((resolve) => {
              server.once("data", () => resolve())
              server.once("close", () => resolve())
            })
            server.write(Buffer.concat(kept))
            await answered
          }
          server.destroy()
        }
      })
    }
  })

interface Connection {
  readonly client: Net.Socket
  readonly server: Net.Socket
  readonly kept: Array<Buffer>
  how: Break | undefined
}
