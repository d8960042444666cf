/** Events that are handled exactly once, each in a transaction that begins with the commit of the one before. */
import { assert, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Source from "@sluice/core/Source"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as Database from "@sluice/sql/Database"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { sql } from "kysely"
import { inject } from "vitest"

const url = inject("postgres")
const schema = "succession"
const handled = sql.table(`${schema}.handled`)
const numbers = Array.from({ length: 30 }, (_, i) => String(i + 1))

const Entry = EntityType.make("entry", { codec: EventCodec.string })

/** Handles events, each of which is written, and returns what was written. The effect runs in the handler, and after its commit what it returns. */
const run = (
  name: string,
  during: (event: string, pid: number) => Effect.Effect<Effect.Effect<void>, unknown, Database.Database>,
  recovery = RecoveryStrategy.skip
) =>
  Effect.gen(function*() {
    const database = yield* Database.Database
    yield* database.run(
      sql`CREATE TABLE IF NOT EXISTS ${handled} (projection text, event text, UNIQUE (projection, event) DEFERRABLE INITIALLY DEFERRED)`
    )
    yield* Effect.scoped(Effect.gen(function*() {
      yield* Layer.build(Projection.layer(
        Source.journal(Entry).pipe(
          Projection.exactlyOnce(name, ({ event }) =>
            Effect.gen(function*() {
              const [row] = yield* database.run(
                sql<
                  { readonly pid: number }
                >`INSERT INTO ${handled} VALUES (${name}, ${event}) RETURNING pg_backend_pid() AS pid`
              )
              yield* database.afterCommit(yield* during(event, row!.pid))
            })),
          Projection.recovery(recovery)
        )
      ))
      yield* ProjectionStatus.caughtUp(name)
    }))
    const rows = yield* database.run(
      sql<{ readonly event: string }>`SELECT event FROM ${handled} WHERE projection = ${name}`
    )
    return rows.map(({ event }) => Number(event)).toSorted((a, b) => a - b)
  })

/** What the server says that the process is doing. */
const stateOf = (database: Database.Database["Service"], pid: number) =>
  Effect.map(
    Effect.orDie(database.run(sql<{ readonly state: string }>`SELECT state FROM pg_stat_activity WHERE pid = ${pid}`)),
    ([row]) => row?.state
  )

layer(PostgresStorage.layer({ url, schema }), { excludeTestServices: true })((it) => {
  it.effect("the next one has begun when one is committed, and none is open at the end", () =>
    Effect.gen(function*() {
      const database = yield* Database.Database
      yield* Journal.append(Entry, { id: "e-1", events: numbers })
      const states: Array<string | undefined> = []
      let process = 0
      const written = yield* run("begun", (_, pid) => {
        process = pid
        return Effect.succeed(Effect.map(stateOf(database, pid), (state) => void states.push(state)))
      })
      assert.deepStrictEqual(written, numbers.map(Number))
      // not all, where the machine is busy
      assert.include(states, "idle in transaction")
      assert.notInclude(yield* stateOf(database, process), "transaction")
    }))

  it.effect("a worker that is closed leaves nothing open, and what has begun comes again", () =>
    Effect.gen(function*() {
      const database = yield* Database.Database
      const closing = yield* Deferred.make<number>()
      const fiber = yield* Effect.forkChild(
        run(
          "closed",
          (event, pid) => Effect.succeed(event === "10" ? Effect.asVoid(Deferred.succeed(closing, pid)) : Effect.void)
        )
      )
      const process = yield* Deferred.await(closing)
      yield* Fiber.interrupt(fiber)
      assert.notInclude(yield* stateOf(database, process), "transaction")
      assert.deepStrictEqual(yield* run("closed", () => Effect.succeed(Effect.void)), numbers.map(Number))
    }))

  it.effect("an event whose commit is refused is skipped, and the others are handled once", () =>
    Effect.gen(function*() {
      const database = yield* Database.Database
      const written = yield* run("refused", (event) =>
        event === "7"
          ? Effect.as(database.run(sql`INSERT INTO ${handled} VALUES ('refused', '6')`), Effect.void)
          : Effect.succeed(Effect.void))
      assert.deepStrictEqual(written, numbers.map(Number).filter((number) => number !== 7))
    }))

  it.effect("an event is at fault that a trigger refuses at its commit, with a code of its own", () =>
    Effect.gen(function*() {
      const database = yield* Database.Database
      const raise = `CREATE FUNCTION ${schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'refused' USING ERRCODE = 'OWN01';
      END $$`
      const atCommit = `CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON ${schema}.handled DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.projection = 'raised' AND NEW.event = '7') EXECUTE FUNCTION ${schema}.refuse()`
      for (const statement of [raise, atCommit]) yield* database.run(sql.raw(statement))
      const written = yield* run("raised", () => Effect.succeed(Effect.void))
      assert.deepStrictEqual(written, numbers.map(Number).filter((number) => number !== 7))
    }))

  it.effect("events are handled once where the connection is lost after a commit, with what has begun on it", () =>
    Effect.gen(function*() {
      const database = yield* Database.Database
      let lost = 0
      const written = yield* run("lost", (event, pid) =>
        Effect.succeed(
          Number(event) % 10 === 5 && lost++ < 3
            ? Effect.asVoid(Effect.orDie(database.run(sql`SELECT pg_terminate_backend(${pid})`)))
            : Effect.void
        ))
      assert.strictEqual(lost, 3)
      assert.deepStrictEqual(written, numbers.map(Number))
    }))

  it.effect("no event is at fault where the connection is lost between a commit and what begins with it", () =>
    Effect.gen(function*() {
      const database = yield* Database.Database
      const end = `CREATE FUNCTION ${schema}.end_session() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('${schema}.tries') % 2 = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
        RETURN NEW;
      END $$`
      const whenMoved = `CREATE TRIGGER end_session BEFORE UPDATE ON ${schema}.sluice_offset FOR EACH ROW
        WHEN (NEW.projection = 'cut' AND NEW.position % 10 = 5) EXECUTE FUNCTION ${schema}.end_session()`
      for (const statement of [`CREATE SEQUENCE ${schema}.tries`, end, whenMoved]) {
        yield* database.run(sql.raw(statement))
      }
      const written = yield* run("cut", () => Effect.succeed(Effect.void), RecoveryStrategy.fail)
      assert.deepStrictEqual(written, numbers.map(Number))
    }))
})
