/** A place in a database, in words that can be handed to another process. */
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import type * as TestServer from "@sluice/testing/TestServer"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Path from "node:path"
import * as Mysqld from "../kit/Mysqld.ts"
import * as Servers from "../kit/Servers.ts"
import { temporaryFolder } from "../kit/Service.ts"
import type { Connection, Place } from "./baseline/Connection.ts"
import * as mysql from "./baseline/mysql.ts"
import * as postgres from "./baseline/postgres.ts"
import * as sqlite from "./baseline/sqlite.ts"

export type Adapter = "sqlite" | "postgres" | "mariadb" | "mysql"
export const adapters: ReadonlyArray<Adapter> = [
  "sqlite",
  "postgres",
  "mariadb",
  ...(Mysqld.isSkipped ? [] : ["mysql" as const])
]

export interface Target extends Place {
  readonly adapter: Adapter
}

/** Sluice's storage there. */
export const storage = ({ adapter, schema, url }: Target) =>
  adapter === "sqlite"
    ? SqliteStorage.layer({ filename: url })
    : adapter === "postgres"
    ? PostgresStorage.layer({ url, schema })
    : MysqlStorage.layer({ url })

/** What is written by hand for each. */
export const adapterModules = { sqlite, postgres, mariadb: mysql, mysql }

/** A connection of the bare driver there. */
export const connect = (target: Target): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => adapterModules[target.adapter].connect(target)),
    (connection) => Effect.promise(() => connection.close())
  )

/** Several, the first of which has made the tables of the baseline. */
export const connectAll = (
  target: Target,
  n: number
): Effect.Effect<[Connection, ...Array<Connection>], never, Scope.Scope> =>
  Effect.tap(
    Effect.forEach(Array.from({ length: target.adapter === "sqlite" ? 1 : n }), () => connect(target)),
    ([first]) => Effect.promise(() => first!.createTables())
  ) as Effect.Effect<[Connection, ...Array<Connection>], never, Scope.Scope>

const id = () => `b${crypto.randomUUID().slice(0, 8)}`

/** Starts the server, which is durable, and returns how to make new places on it. */
export const start = (adapter: Adapter): Effect.Effect<
  Effect.Effect<Target, unknown, Scope.Scope>,
  TestServer.TestServerError,
  Scope.Scope
> =>
  adapter === "sqlite"
    ? Effect.succeed(
      Effect.map(temporaryFolder, (folder) => ({ adapter, url: Path.join(folder, "bench.db"), schema: "" }))
    )
    : Effect.map(Servers.start(adapter, { durable: true }), ({ database, host, password, port, user }) => {
      const server = `${adapter === "postgres" ? "postgres" : "mysql"}://${user}:${password}@${host}:${port}`
      const { create, drop } = adapter === "postgres" ? postgres : mysql
      return Effect.acquireRelease(
        Effect.tryPromise(async () => {
          const name = id()
          await create(`${server}/${database}`, name)
          return adapter === "postgres"
            ? { adapter, url: `${server}/${database}`, schema: name }
            : { adapter, url: `${server}/${name}`, schema: "" }
        }).pipe(
          // a server that has just been started refuses for a moment
          Effect.retry({ times: 400, schedule: Schedule.spaced("25 millis") })
        ),
        ({ schema, url }) => Effect.promise(() => drop(`${server}/${database}`, schema || url.split("/").at(-1)!))
      )
    })
