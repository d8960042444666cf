/** What goes on in the database beside the journal, and what is done to the journal's sessions. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Server from "./Server.ts"

/** A transaction that has written to another database of the server, and stays open. */
export const writeElsewhere = (server: Server.Server): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const missing = server.adapter === "postgres"
      ? yield* server.run("SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'elsewhere')")
      : [1]
    if (missing.length > 0) {
      yield* server.run(`CREATE DATABASE ${server.adapter === "mysql" ? "IF NOT EXISTS" : ""} elsewhere`)
    }
    const { run } = yield* server.session("elsewhere")
    yield* run("CREATE TABLE IF NOT EXISTS note (n INTEGER)")
    yield* run("START TRANSACTION")
    yield* run("INSERT INTO note VALUES (1)")
  })

/** A session that has looked at the journal in a transaction, with a snapshot of its own, and then forgot about it. */
export const idleInTransaction = (server: Server.Server, space: string): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { run } = yield* server.session()
    if (server.adapter === "postgres") yield* run("BEGIN ISOLATION LEVEL REPEATABLE READ")
    else yield* run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    yield* run(`SELECT COUNT(*) FROM ${Server.table(server.adapter, space, "journal")}`)
  })

/** Ends one of the journal's sessions that are at work right now, and returns how many there were. */
export const endSession = (server: Server.Server): Effect.Effect<number> =>
  server.adapter === "postgres"
    ? Effect.map(
      server.run(
        `SELECT pg_terminate_backend(pid) FROM (
          SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'sluice%' AND state <> 'idle' ORDER BY random() LIMIT 1
        ) one`
      ),
      (rows) => rows.length
    )
    : Effect.scoped(Effect.gen(function*() {
      const { run } = yield* server.session()
      const rows = yield* run(
        `SELECT id FROM information_schema.processlist
          WHERE command = 'Query' AND id <> CONNECTION_ID() ORDER BY RAND() LIMIT 1`
      )
      // it may be gone by now
      for (const { id } of rows) yield* Effect.ignoreCause(run(`KILL ${id}`))
      return rows.length
    }))

/** How many sessions wait for a lock right now. */
export const waiting = (server: Server.Server): Effect.Effect<number> =>
  server.adapter === "postgres"
    ? Effect.map(server.run("SELECT COUNT(*) AS n FROM pg_locks WHERE NOT granted"), ([row]) => Number(row.n))
    // the table of transactions shows an old state to who looks often
    : Effect.map(
      server.run("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"),
      ([row]) => Number(row.Value)
    )

/** How many transactions other sessions have open. */
export const transactions = (server: Server.Server): Effect.Effect<number> =>
  Effect.map(
    server.run(
      server.adapter === "postgres"
        ? `SELECT COUNT(*) AS n FROM pg_stat_activity
            WHERE xact_start IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()`
        : "SELECT COUNT(*) AS n FROM information_schema.innodb_trx"
    ),
    ([row]) => Number(row.n)
  )
