/** A database server that may be killed, and raw SQL on it, past the adapters. */
import type * as TestServer from "@sluice/testing/TestServer"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Mysql from "mysql2/promise"
import Pg from "pg"
import * as Mysqld from "../kit/Mysqld.ts"
import * as Servers from "../kit/Servers.ts"
import type { Event } from "./contract.ts"
import type { Adapter } from "./Target.ts"

/** What servers there are: two of them for one adapter. */
export type Name = Servers.Name
export const names: ReadonlyArray<Name> = ["postgres", "mariadb", ...(Mysqld.isSkipped ? [] : ["mysql" as const])]

export interface Server extends TestServer.ControlledServer {
  readonly name: Name
  readonly adapter: Adapter
  /** Its URL, by another port or for another user or database. */
  readonly url: (change?: {
    readonly port?: number
    readonly user?: string
    readonly database?: string
  }) => string
  /** Opens an administrator's session, which ends with the scope and whatever it has begun. */
  readonly session: (database?: string) => Effect.Effect<Session, never, Scope.Scope>
  /** Runs statements in such a session, and returns the rows of the last. */
  readonly run: (...statements: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<any>>
}

export interface Session {
  /** What the server calls it. */
  readonly id: number
  readonly run: (statement: string) => Effect.Effect<ReadonlyArray<any>>
}

export const start = (name: Name): Effect.Effect<Server, TestServer.TestServerError, Scope.Scope> =>
  Effect.flatMap(Servers.start(name, { durable: true }), (server) => {
    const adapter: Adapter = name === "postgres" ? "postgres" : "mysql"
    const url: Server["url"] = ({ database = server.database, port = server.port, user = server.user } = {}) =>
      `${adapter}://${user}:${user === server.user ? server.password : user}@127.0.0.1:${port}/${database}`
    const administrator = adapter === "postgres" ? server.user : "root:"
    const session: Server["session"] = (database = server.database) =>
      open(adapter, `${adapter}://${administrator}@127.0.0.1:${server.port}/${database}`)
    const run: Server["run"] = (...statements) =>
      Effect.scoped(
        Effect.flatMap(session(), ({ run }) =>
          Effect.reduce(statements, (): ReadonlyArray<any> => [], (_, statement) => run(statement)))
      )
    // it listens before it lets anybody in
    const ready = run("SELECT 1")
    const started: Server = { ...server, start: Effect.andThen(server.start, ready), name, adapter, url, session, run }
    return Effect.as(ready, started)
  })

const open = (adapter: Adapter, url: string): Effect.Effect<Session, never, Scope.Scope> =>
  adapter === "postgres"
    ? Effect.map(
      Effect.acquireRelease(
        connecting(async () => {
          const client = new Pg.Client({ connectionString: url })
          // a test may end the session, or its server
          client.on("error", () => {})
          await client.connect()
          return client
        }),
        (client) => Effect.promise(() => client.end().catch(() => {}))
      ),
      (client): Session => ({
        id: (client as any).processID,
        run: (statement) => Effect.promise(async () => (await client.query(statement)).rows ?? [])
      })
    )
    : Effect.map(
      Effect.acquireRelease(
        connecting(async () => {
          const connection = await Mysql.createConnection({ uri: url })
          connection.on("error", () => {})
          return connection
        }),
        (connection) => Effect.sync(() => connection.destroy())
      ),
      (connection): Session => ({
        id: connection.threadId,
        run: (statement) =>
          Effect.promise(async () => {
            const [rows] = await connection.query(statement)
            return Array.isArray(rows) ? rows : []
          })
      })
    )

/** A server that has just been started refuses for a moment. */
const connecting = <A>(connect: () => Promise<A>): Effect.Effect<A> =>
  Effect.tryPromise(connect).pipe(Effect.retry({ times: 400, schedule: Schedule.spaced("25 millis") }), Effect.orDie)

/** The name of one of the journal's tables in SQL. */
export const table = (adapter: Adapter, space: string, name: string): string =>
  adapter === "postgres" ? `${space}.sluice_${name}` : `${space}_${name}`

/** Up to where the rows of each log were removed. */
export const floors = (server: Server, space: string): Effect.Effect<Floors> =>
  Effect.map(
    server.run(`SELECT slice, position, timestamp FROM ${table(server.adapter, space, "floor")}`),
    (rows) =>
      new Map(rows.map(({ position, slice, timestamp }) => [
        slice,
        { position: Number(position), timestamp: Number(timestamp) }
      ]))
  )

export type Floors = ReadonlyMap<number, { readonly position: number; readonly timestamp: number }>

/** Every row of the journal, in the order of (slice, position). */
export const rows = (server: Server, space: string): Effect.Effect<ReadonlyArray<Event>> => {
  const text = (column: string) =>
    server.adapter === "postgres" ? `convert_from(${column}, 'UTF8')` : `CONVERT(${column} USING utf8mb4)`
  return Effect.map(
    server.run(
      `SELECT ${server.adapter === "postgres" ? "persistence_id" : text("persistence_id")} AS id, sequence_number AS n,
        position, timestamp, ${text("payload")} AS content
      FROM ${table(server.adapter, space, "journal")} ORDER BY slice, position`
    ),
    (rows) =>
      rows.map((row): Event => [row.id, Number(row.n), Number(row.position), Number(row.timestamp), row.content ?? ""])
  )
}
