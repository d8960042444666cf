import * as Effect from "effect/Effect"
import * as Assert from "node:assert/strict"
import { type Environment, load, lostConnection, type Scenario } from "../Scenario.ts"
import * as Server from "../Server.ts"

const space = "h_clock"

/**
 * Makes a user whose sessions see a clock that can be set.
 *
 * On PostgreSQL a function takes the place of the clock's, with effect at once. On MySQL a session's clock is set when it begins, and
 * then stands still: so the sessions are ended.
 */
const steppable = ({ server }: Environment) =>
  server.adapter === "postgres"
    ? Effect.as(
      server.run(
        "CREATE SCHEMA stepped",
        "CREATE TABLE stepped.step (step interval)",
        "INSERT INTO stepped.step VALUES ('0')",
        `CREATE FUNCTION stepped.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE plpgsql AS $$
          BEGIN RETURN pg_catalog.clock_timestamp() + (SELECT step FROM stepped.step); END $$`,
        "CREATE ROLE stepped SUPERUSER LOGIN",
        "ALTER ROLE stepped SET search_path = stepped, pg_catalog, public"
      ),
      (hours: number) => Effect.asVoid(server.run(`UPDATE stepped.step SET step = '${hours} hours'`))
    )
    : Effect.as(
      Effect.acquireRelease(
        server.run(
          "CREATE USER stepped IDENTIFIED BY 'stepped'",
          `GRANT ALL ON ${server.database}.* TO stepped`
        ),
        () => server.run("SET GLOBAL init_connect = ''")
      ),
      (hours: number) =>
        Effect.gen(function*() {
          yield* server.run(`SET GLOBAL init_connect = 'SET timestamp = UNIX_TIMESTAMP(SYSDATE(6)) + ${hours} * 3600'`)
          const sessions = yield* server.run("SELECT id FROM information_schema.processlist WHERE user = 'stepped'")
          yield* Effect.forEach(sessions, ({ id }) => Effect.ignoreCause(server.run(`KILL ${id}`)))
        })
    )

/** The clock of the database goes back by an hour, and later forth by two. */
export const clock: Scenario = {
  name: "the clock of the database set back",
  run: (environment) =>
    Effect.gen(function*() {
      const { server } = environment
      const step = yield* steppable(environment)
      const outcome = yield* load(environment, {
        space,
        url: server.url({ user: "stepped" }),
        workers: 2,
        appenders: 16,
        entities: 300,
        mix: { append: 8, expect: 1, commit: 1 },
        mayFail: lostConnection,
        during: (crew) =>
          Effect.gen(function*() {
            for (const hours of [0, -1, 1, 0]) {
              yield* step(hours)
              yield* environment.while(crew, 150)
            }
          })
      })
      // or nothing was tested
      const rows = yield* Server.rows(server, space)
      const spread = Math.max(...rows.map((row) => row[3])) - Math.min(...rows.map((row) => row[3]))
      Assert.ok(spread > 2 * 3600 * 1_000_000, `the clock was set: ${spread} µs`)
      return outcome
    })
}
