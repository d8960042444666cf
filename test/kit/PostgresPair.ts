/** A PostgreSQL, and another that follows it. */
import * as TestServer from "@sluice/testing/TestServer"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import Pg from "pg"

export interface Pair {
  readonly primary: TestServer.ControlledServer
  readonly standby: TestServer.ControlledServer
  /** Waits until the standby has all that the primary has. */
  readonly caughtUp: Effect.Effect<void>
  /** Nothing reaches the standby any more. */
  readonly cut: Effect.Effect<void>
  /** The standby goes on as a server of its own. */
  readonly promote: Effect.Effect<void>
}

const query = ({ database, host, port, user }: TestServer.TestServer, statement: string) =>
  Effect.promise(async () => {
    const client = new Pg.Client({ host, port, user, database })
    await client.connect()
    try {
      return (await client.query(statement)).rows as ReadonlyArray<any>
    } finally {
      await client.end()
    }
  })

const programOf = (server: TestServer.TestServer, name: string): string => {
  const version = /\d+/.exec(server.version)?.[0]
  return [process.env["POSTGRES_BIN"], `/usr/lib/postgresql/${version}/bin`, ...process.env["PATH"]!.split(":")]
    .map((folder) => Path.join(folder ?? "/", name))
    .find((file) => Fs.existsSync(file))!
}

export const start: Effect.Effect<Pair, TestServer.TestServerError, Scope.Scope> = Effect.gen(function*() {
  const settings = ["wal_level=replica", "max_wal_senders=4"]
  const primary = yield* TestServer.postgres({ durable: true, settings })
  const standby = yield* TestServer.postgres({ durable: true, settings })
  const [{ data_directory: data }] = yield* query(standby, "SHOW data_directory")
  yield* standby.kill
  yield* Effect.sync(() => {
    const { gid, uid } = Fs.statSync(data)
    for (const file of Fs.readdirSync(data)) Fs.rmSync(Path.join(data, file), { recursive: true })
    const from = ["-h", primary.host, "-p", String(primary.port), "-U", primary.user]
    execFileSync(programOf(primary, "pg_basebackup"), [...from, "-D", data, "-R", "-c", "fast", "--no-sync"], {
      cwd: "/",
      ...(process.getuid?.() === 0 ? { uid, gid } : {})
    })
  })
  yield* standby.start
  const isTrue = (server: TestServer.TestServer, condition: string) =>
    Effect.map(
      Effect.exit(query(server, `SELECT (${condition}) AS holds`)),
      (exit) => exit._tag === "Success" && exit.value[0]!.holds === true
    )
  return {
    primary,
    standby,
    caughtUp: Effect.flatMap(
      query(primary, "SELECT pg_current_wal_lsn()::text AS place"),
      ([{ place }]) => Wait.until("the standby to catch up", isTrue(standby, `pg_last_wal_replay_lsn() >= '${place}'`))
    ),
    cut: Effect.andThen(
      query(standby, "ALTER SYSTEM SET primary_conninfo = ''").pipe(
        Effect.andThen(query(standby, "SELECT pg_reload_conf()"))
      ),
      Wait.until("the standby to be alone", isTrue(standby, "NOT EXISTS (SELECT FROM pg_stat_wal_receiver)"))
    ),
    promote: Effect.andThen(
      query(standby, "SELECT pg_promote()"),
      Wait.until("the standby to be a server of its own", isTrue(standby, "NOT pg_is_in_recovery()"))
    )
  }
})
