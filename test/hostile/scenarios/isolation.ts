import { StorageError } from "@sluice/core/StorageError"
import * as Database from "@sluice/sql/Database"
import * as Effect from "effect/Effect"
import { BeginTransaction } from "effect/sql/SqlClient"
import * as Assert from "node:assert/strict"
import { load, type Scenario } from "../Scenario.ts"
import * as Server from "../Server.ts"
import * as Witness from "../Witness.ts"

type Level = "READ UNCOMMITTED" | "REPEATABLE READ" | "SERIALIZABLE"

/** The server's own setting is another level, for each session that does not say what it wants. */
export const byDefault = (level: Level): Scenario => ({
  name: `${level} by default`,
  run: (environment) =>
    Effect.gen(function*() {
      const { server } = environment
      const name = level.toLowerCase().replace(" ", "_")
      if (server.adapter === "postgres") {
        yield* server.run(
          `CREATE ROLE ${name} SUPERUSER LOGIN`,
          `ALTER ROLE ${name} SET default_transaction_isolation = '${level.toLowerCase()}'`
        )
      } else {
        yield* Effect.acquireRelease(
          server.run(`SET GLOBAL TRANSACTION ISOLATION LEVEL ${level}`),
          () => server.run("SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        )
      }
      return yield* load(environment, {
        space: `h_${name}`,
        url: server.url(server.adapter === "postgres" ? { user: name } : {}),
        workers: 2,
        appenders: 16,
        entities: 20,
        mix: { append: 8, expect: 2, commit: 2, rollback: 1 },
        hold: 10,
        during: (crew) => environment.while(crew, 200)
      })
    })
})

/** A transaction that has fixed what it sees is refused once the log has gone on: it would give out a position again. */
export const staleSnapshot: Scenario = {
  name: "a transaction with an old snapshot",
  run: (environment) =>
    Effect.gen(function*() {
      const { server } = environment
      const space = "h_stale"
      const witness = Witness.make(environment, space)
      const fixed = yield* witness.open({ settings: { poolSize: 1 } })
      const other = yield* witness.open()
      yield* other.append("t")
      const sql = yield* fixed.on(Effect.map(Database.Database, (_) => _.sql))
      if (server.adapter === "mysql") {
        // a session keeps no level for longer than somebody has it
        yield* server.run(
          `CREATE PROCEDURE h_stale_begin() BEGIN
            SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION; END`
        )
      }
      const error = yield* fixed.transaction((append) =>
        Effect.gen(function*() {
          yield* sql.unsafe(`SELECT COUNT(*) FROM ${Server.table(server.adapter, space, "journal")}`)
          yield* other.append("t")
          yield* append("t")
        })
      ).pipe(
        Effect.provideService(
          BeginTransaction,
          server.adapter === "postgres"
            ? "BEGIN ISOLATION LEVEL REPEATABLE READ"
            : "CALL h_stale_begin()"
        ),
        Effect.flip
      )
      Assert.ok(error instanceof StorageError && error.reason === "Failed", String(error))
      // and the instance goes on
      yield* fixed.append("t")
      yield* other.append("t")
      return yield* witness.outcome
    })
}
