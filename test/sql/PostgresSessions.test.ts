/** What PostgreSQL, a role or a pooler makes of sessions, and servers that are away, silent, or another, must not matter. */
import { assert, describe, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import { SwitchTooSlow } from "@sluice/core/ProjectionVersion"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import { Database } from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as TestServer from "@sluice/testing/TestServer"
import * as Wait from "@sluice/testing/Wait"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { sql } from "kysely"
import * as Fs from "node:fs"
import Pg from "pg"
import * as Proxy from "../hostile/Proxy.ts"
import * as PgBouncer from "../kit/PgBouncer.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const append = (event: string) => Journal.append(Note, { id: "n 🛒", events: [event] })
const events = Stream.runCollect(Stream.map(Journal.read(Note, "n 🛒"), ({ event }) => event))

class Server extends Context.Service<Server, {
  readonly control: TestServer.ControlledServer
  /** What the person who looks after the server does. */
  readonly run: (...statements: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<any>>
  /** A database of its own, for a role that owns it. */
  readonly place: Effect.Effect<
    PostgresStorage.Options & { readonly port: number; readonly user: string; readonly database: string },
    never,
    Scope.Scope
  >
}>()("sluice/test/PostgresSessions/Server") {}

const server = Layer.effect(
  Server,
  Effect.gen(function*() {
    const control = yield* TestServer.postgres({ durable: false })
    const { database, host, port, user } = control
    const run = (...statements: ReadonlyArray<string>) =>
      Effect.promise(async () => {
        const client = new Pg.Client({ host, port, user, database })
        await client.connect()
        try {
          let rows: ReadonlyArray<any> = []
          for (const statement of statements) ({ rows } = await client.query(statement))
          return rows
        } finally {
          await client.end()
        }
      })
    let count = 0
    const place = Effect.acquireRelease(
      Effect.gen(function*() {
        const name = `place_${count++}`
        yield* run(`CREATE ROLE ${name} LOGIN`, `CREATE DATABASE ${name} OWNER ${name}`)
        return { host, port, user: name, database: name }
      }),
      ({ database }) => run(`DROP DATABASE ${database} WITH (FORCE)`)
    )
    return Server.of({ control, run, place })
  })
)

const open = (options: PostgresStorage.Options) => Layer.fresh(PostgresStorage.layer(options))
const on = (options: PostgresStorage.Options) => Effect.provide(open(options))
const query = <A>(statement: string) => Database.use(({ run }) => run(sql<A>`${sql.raw(statement)}`))

/** What is under way on a connection that was just ended fails for that: then it is tried again. */
const onNewConnections = Effect.retry({ while: (error: unknown) => error instanceof StorageError && error.isRetryable })

const behind = (mode: "session" | "transaction" | "statement") =>
  Effect.gen(function*() {
    const there = yield* (yield* Server).place
    const { port, reload } = yield* PgBouncer.start({ ...there, mode })
    return { there: { ...there, port }, reload }
  })

/** What a role may be set to. */
const settings = {
  default_transaction_isolation: ["serializable", "read committed"],
  default_transaction_read_only: ["on", "off"],
  default_transaction_deferrable: ["on", "off"],
  "\"DateStyle\"": ["SQL, DMY", "ISO, MDY"],
  "\"IntervalStyle\"": ["iso_8601", "postgres"],
  bytea_output: ["escape", "hex"],
  standard_conforming_strings: ["off", "on"],
  client_encoding: ["LATIN1", "UTF8"],
  extra_float_digits: ["-10", "1"],
  session_replication_role: ["replica", "origin"],
  synchronous_commit: ["off", "on"],
  statement_timeout: ["1s", "30s"],
  lock_timeout: ["1ms", "5s"],
  idle_in_transaction_session_timeout: ["1ms", "1min"],
  array_nulls: ["off", "on"]
} as const

/** What the person who looks after a database does in it. */
const within = ({ database, host, port, user }: PostgresStorage.Options, ...statements: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    const client = new Pg.Client({ host, port, user, database, password: "" })
    await client.connect()
    try {
      for (const statement of statements) await client.query(statement)
    } finally {
      await client.end()
    }
  })

layer(server, { excludeTestServices: true, timeout: "3 minutes" })("PostgreSQL", (it) => {
  describe("a transaction that may be idle for so long", () => {
    const limited = Effect.map(Effect.flatMap(Server, ({ place }) => place), (place) => ({
      ...place,
      transactionTimeout: 2000
    }))

    it.effect("may take longer, as long as its statements follow each other", () =>
      Effect.gen(function*() {
        const projection = Source.journal(Note).pipe(
          Projection.exactlyOnce(
            "works",
            () => Effect.repeat(Effect.orDie(Tables.run(sql`SELECT pg_sleep(0.5)`)), { times: 5 })
          ),
          Projection.recovery(RecoveryStrategy.fail)
        )
        yield* append("1")
        yield* Layer.build(Projection.layer(projection))
        yield* ProjectionStatus.caughtUp("works")
      }).pipe(Effect.scoped, (effect) => Effect.flatMap(limited, (options) => on(options)(effect))))

    it.effect("in which an administrator cancels a statement once blames no event", () =>
      Effect.gen(function*() {
        const there = yield* (yield* Server).place
        yield* Effect.gen(function*() {
          yield* within(there, "CREATE TABLE handled (event text)")
          yield* Effect.forEach(["1", "2", "3"], append, { discard: true })
          let isCancelled = false
          const projection = Source.journal(Note).pipe(
            Projection.exactlyOnce("cancelled", ({ event }) =>
              Effect.suspend(() => {
                const slow = event === "2" && !isCancelled ? "pg_sleep(60)" : "1"
                if (event === "2" && !isCancelled) {
                  isCancelled = true
                  Effect.runFork(cancelWhenItRuns)
                }
                return Tables.run(sql.raw(`INSERT INTO handled SELECT '${event}' FROM (SELECT ${slow}) s`) as any)
              })),
            Projection.recovery(RecoveryStrategy.skip)
          )
          const cancelWhenItRuns = Wait.until(
            "the statement to be cancelled",
            Effect.map(
              Effect.promise(async () => {
                const client = new Pg.Client({ ...there, password: "" })
                await client.connect()
                const { rows } = await client.query(
                  "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
                )
                await client.end()
                return rows
              }),
              (rows) => rows.length > 0
            )
          )
          yield* Layer.build(Projection.layer(projection))
          yield* ProjectionStatus.caughtUp("cancelled")
          const rows = yield* query<{ event: string }>("SELECT event FROM handled ORDER BY event")
          assert.deepStrictEqual(rows, [{ event: "1" }, { event: "2" }, { event: "3" }] as never)
          const [status] = yield* ProjectionStatus.status("cancelled")
          assert.deepInclude(status, { skipped: 0 })
        }).pipe(on(there))
      }).pipe(Effect.scoped))

    it.effect("is ended before the server ends it, and its event is to blame, by name", () =>
      Effect.gen(function*() {
        const projection = Source.journal(Note).pipe(
          Projection.exactlyOnce("idles", ({ event }) =>
            event === "2" ? Effect.andThen(Tables.run(sql`SELECT 1`), Effect.sleep("1 minute")) : Effect.void),
          Projection.recovery(RecoveryStrategy.fail)
        )
        yield* append("1")
        yield* append("2")
        yield* Layer.build(Projection.layer(projection))
        const error = yield* Effect.flip(ProjectionStatus.caughtUp("idles"))
        assert(error._tag === "WorkerStopped")
        assert.strictEqual(error.event?.sequenceNumber, 2)
        assert.instanceOf(error.cause, Handler.HandlerTooSlow)
        assert.include(error.cause.message, "'idles' ran no statement in its transaction for 1800 ms")
        const [status] = yield* ProjectionStatus.status("idles")
        assert.deepInclude(status, { handled: 1, restarts: 0 })
      }).pipe(Effect.scoped, (effect) =>
        Effect.flatMap(limited, (options) =>
          on(options)(effect))))

    it.effect("is ended before the server ends it, where a version is switched to, which is tried again", () =>
      Effect.gen(function*() {
        const management = yield* ProjectionManagement
        const version = { of: "versions", version: 1 }
        yield* management.declare(version)
        const switching = Effect.andThen(Tables.run(sql`SELECT 1`), Effect.never)
        const error = yield* Effect.flip(management.complete(version, () => true, switching))
        assert.deepStrictEqual(error, new SwitchTooSlow({ ...version, limit: 1800 }))
        assert.isTrue(yield* management.complete(version, () => true, Tables.run(sql`SELECT 1`)))
      }).pipe(Effect.scoped, (effect) => Effect.flatMap(limited, (options) => on(options)(effect))))
  })

  describe("a statement that was prepared as it runs again and again", () => {
    it.effect("is none of the events' fault when its table has changed meanwhile", () =>
      Effect.gen(function*() {
        const there = yield* (yield* Server).place
        yield* Effect.gen(function*() {
          yield* within(there, "CREATE TABLE handled (event int)")
          const all = Array.from({ length: 10 }, (_, i) => i)
          yield* Effect.forEach(all, (event) => append(`${event}`), { discard: true })
          let prepared = 0
          let changes = 0
          const change = (statement: string) => {
            changes++
            return within(there, statement)
          }
          const projection = Source.journal(Note).pipe(
            Projection.exactlyOnce("outdated", ({ event }) =>
              Effect.gen(function*() {
                if (event === "6") {
                  const [row] = yield* query<{ n: number }>("SELECT count(*)::int AS n FROM pg_prepared_statements")
                  prepared = Math.max(prepared, row!.n)
                }
                if (event === "6" && changes === 0) yield* change("ALTER TABLE handled ALTER COLUMN event TYPE text")
                if (event === "8" && changes === 1) yield* change("ALTER TABLE handled ADD COLUMN note text")
                yield* Tables.run(sql`SELECT * FROM handled WHERE ${Number(event)}::int > 0`)
                yield* Tables.run(sql`INSERT INTO handled (event) VALUES (${event}) RETURNING *`)
              })),
            Projection.recovery(RecoveryStrategy.skip)
          )
          yield* Layer.build(Projection.layer(projection))
          yield* ProjectionStatus.caughtUp("outdated")
          const rows = yield* query<{ event: string }>("SELECT event FROM handled ORDER BY event")
          assert.deepStrictEqual(rows.map(({ event }) => event), all.map(String))
          const [status] = yield* ProjectionStatus.status("outdated")
          assert.deepInclude(status, { skipped: 0 })
          assert.isAbove(prepared, 0)
          assert.strictEqual(changes, 2)
        }).pipe(on({ ...there, poolSize: 2 }))
      }).pipe(Effect.scoped))

    it.effect("is at fault soon for an event that it cannot take, in a transaction that it ran often in before", () =>
      Effect.gen(function*() {
        const there = yield* (yield* Server).place
        yield* Effect.gen(function*() {
          const { run, withTransaction } = yield* Database
          yield* within(there, "CREATE TABLE numbers (n int)")
          const insert = (n: unknown) => run(sql<object>`INSERT INTO numbers VALUES (${n})`)
          const all = (last: string) => withTransaction(Effect.forEach(["1", "2", "3", "4", "5", last], insert))
          // each of the pool's sessions has it prepared
          yield* Effect.all(Array.from({ length: 4 }, () => all("6")), { concurrency: "unbounded" })
          let times = 0
          const untilItTells = <A, E>(self: Effect.Effect<A, E>) =>
            Effect.retry(self, {
              while: (error) => error instanceof SqlError && error.reason._tag === "ConnectionError" && ++times < 20
            })
          const failed = yield* Effect.flip(untilItTells(all("six")))
          assert.strictEqual((failed.reason.cause as { readonly code?: string }).code, "22P02")
          // and where it is handled, the rest of its transaction stays
          const other = (n: unknown) => run(sql<object>`INSERT INTO numbers (n) VALUES (${n})`)
          const handled = withTransaction(Effect.andThen(
            Effect.forEach(["1", "2", "3", "4"], other),
            Effect.flip(withTransaction(other("seven")))
          ))
          const { reason } = yield* untilItTells(handled)
          assert.strictEqual((reason.cause as { readonly code?: string }).code, "22P02")
          assert.isAtMost(times, 2)
        }).pipe(on({ ...there, poolSize: 4 }))
      }).pipe(Effect.scoped))

    it.effect("runs outside of a transaction as if it had not been prepared", () =>
      Effect.gen(function*() {
        const there = yield* (yield* Server).place
        yield* Effect.gen(function*() {
          const { run, withTransaction } = yield* Database
          yield* within(there, "CREATE TABLE numbers (n int)")
          const insert = (n: unknown) => run(sql<object>`INSERT INTO numbers VALUES (${n}) RETURNING *`)
          for (let n = 0; n < 5; n++) assert.deepStrictEqual(yield* insert(n), [{ n }])
          assert.lengthOf(yield* query("SELECT FROM pg_prepared_statements WHERE statement LIKE '%numbers%'"), 1)
          // the driver cannot send it, and has the server forget what was prepared
          const circular: Record<string, unknown> = {}
          circular["self"] = circular
          const withoutIt = withTransaction(Effect.andThen(Effect.flip(insert(circular)), insert(5)))
          assert.deepStrictEqual(yield* withoutIt, [{ n: 5 }])
          yield* within(there, "ALTER TABLE numbers ALTER COLUMN n TYPE text", "ALTER TABLE numbers ADD COLUMN m int")
          assert.deepStrictEqual(yield* insert("five"), [{ n: "five", m: null }])
          yield* within(there, "DROP TABLE numbers")
          const { reason } = yield* Effect.flip(insert("six"))
          assert.strictEqual((reason.cause as { readonly code?: string }).code, "42P01")
        }).pipe(on({ ...there, poolSize: 1 }))
      }).pipe(Effect.scoped))

    it.effect("runs as the first of a transaction as if it had not been prepared", () =>
      Effect.gen(function*() {
        const there = yield* (yield* Server).place
        yield* Effect.gen(function*() {
          const { run, withTransaction } = yield* Database
          yield* within(there, "CREATE TABLE numbers (n int)")
          const first = (column: string) => (n: unknown) =>
            withTransaction(run(sql`INSERT INTO numbers (${sql.ref(column)}) VALUES (${n}) RETURNING *`))
          const insert = first("n")
          for (let n = 0; n < 5; n++) assert.deepStrictEqual(yield* insert(n), [{ n }])
          yield* within(there, "ALTER TABLE numbers ADD COLUMN m int")
          assert.deepStrictEqual(yield* insert(5), [{ n: 5, m: null }])
          const other = first("m")
          for (let m = 0; m < 5; m++) yield* other(m)
          const { reason } = yield* Effect.flip(other("six"))
          assert.strictEqual((reason.cause as { readonly code?: string }).code, "22P02")
          assert.deepStrictEqual(yield* query("SELECT count(*)::int AS n FROM numbers"), [{ n: 11 }] as never)
        }).pipe(on({ ...there, poolSize: 1 }))
      }).pipe(Effect.scoped))
  })

  describe("a session", () => {
    it.effect("is what the storage sets it to, whatever the role is set to", () =>
      Effect.gen(function*() {
        const { place, run } = yield* Server
        const there = yield* place
        yield* run(
          `ALTER ROLE ${there.user} SUPERUSER`,
          ...Object.entries(settings).map(([name, [value]]) => `ALTER ROLE ${there.user} SET ${name} = '${value}'`)
        )
        yield* Effect.gen(function*() {
          yield* append("é 🍵 \\")
          assert.deepStrictEqual(yield* events, ["é 🍵 \\"])
          const [row] = yield* query<Record<string, string>>(
            `SELECT ${
              Object.keys(settings).map((name) => `current_setting('${name.replaceAll("\"", "")}') AS ${name}`).join(
                ", "
              )
            }`
          )
          const expected = Object.entries(settings).map(([name, [, value]]) => [name.replaceAll("\"", ""), value])
          assert.deepStrictEqual(row, Object.fromEntries(expected))
        }).pipe(on(there))
      }))

    it.effect("stays what the storage has set it to, whatever the server is set to later", () =>
      Effect.gen(function*() {
        const { place, run } = yield* Server
        // what they are by default, too
        const later = {
          default_transaction_isolation: ["serializable", "read committed"],
          default_transaction_read_only: ["on", "off"],
          default_transaction_deferrable: ["on", "off"],
          idle_session_timeout: ["60000", "0"],
          array_nulls: ["off", "on"],
          synchronous_commit: ["off", "on"]
        }
        const names = Object.keys(later)
        yield* Effect.gen(function*() {
          const shown = query<Record<string, string>>(
            `SELECT ${["work_mem", ...names].map((name) => `current_setting('${name}') AS ${name}`).join(", ")}`
          )
          yield* shown
          yield* Effect.addFinalizer(() => run("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()"))
          yield* run(
            "ALTER SYSTEM SET work_mem = '5MB'",
            ...Object.entries(later).map(([name, [value]]) => `ALTER SYSTEM SET ${name} = '${value}'`),
            "SELECT pg_reload_conf()"
          )
          yield* Wait.until("the session to be told", Effect.map(shown, ([row]) => row!["work_mem"] === "5MB"))
          const [{ work_mem: _, ...row }] = (yield* shown) as [Record<string, string>]
          assert.deepStrictEqual(
            row,
            Object.fromEntries(Object.entries(later).map(([name, [, value]]) => [name, value!]))
          )
        }).pipe(Effect.scoped, on({ ...(yield* place), poolSize: 1 }))
      }))

    it.effect("is set back before the next one gets it", () =>
      Effect.gen(function*() {
        const { place } = yield* Server
        yield* Effect.gen(function*() {
          const { sql: client, withTransaction } = yield* Database
          const session = query<any>(
            `SELECT current_setting('search_path') AS path, current_setting('synchronous_commit') AS commits,
              current_setting('statement_timeout') AS timeout, coalesce(current_setting('own.tenant', true), '') AS tenant, current_user AS role,
              to_regclass('pg_temp.left_over')::text AS temporary,
              (SELECT count(*)::int FROM pg_catalog.pg_prepared_statements) AS prepared,
              (SELECT count(*)::int FROM pg_catalog.pg_cursors WHERE name <> '') AS cursors,
              (SELECT count(*)::int FROM pg_catalog.pg_listening_channels()) AS channels,
              (SELECT count(*)::int FROM pg_catalog.pg_locks
                WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()) AS locks,
              pg_catalog.pg_backend_pid() AS process`
          )
          const [before] = yield* session
          assert.strictEqual(before.timeout, "30s")
          for (
            const leave of [
              query("SET search_path = ''"),
              query("/* a comment */ SET synchronous_commit = off"),
              withTransaction(query("SET statement_timeout = 1")),
              query("SELECT set_config('own.tenant', 'another', false)"),
              Stream.runDrain(client`SELECT set_config('own.tenant', ${"another"}, false)`.stream),
              query("DO $$ BEGIN PERFORM set_config('own.tenant', 'another', false); END $$"),
              query("SELECT 1; SET search_path = ''"),
              query("SET ROLE pg_monitor"),
              query("SELECT pg_advisory_lock(7)"),
              query("SELECT pg_try_advisory_lock_shared(7)"),
              query("LISTEN channel"),
              query("PREPARE own AS SELECT 1"),
              query("CREATE TEMPORARY TABLE left_over (id int)"),
              query("SELECT 1 AS id INTO TEMP left_over"),
              withTransaction(query("DECLARE own CURSOR WITH HOLD FOR SELECT 1")),
              // which is said to whoever does it
              Effect.catchDefect(query("BEGIN"), () => Effect.void)
            ]
          ) {
            yield* leave
            const [after] = yield* session
            assert.deepStrictEqual({ ...after, process: 0 }, { ...before, process: 0 })
          }
          // what leaves nothing costs nothing
          const [first] = yield* session
          yield* withTransaction(query("SET LOCAL own.tenant = 'mine'"))
          yield* append("still there")
          assert.deepStrictEqual(yield* session, [first])
        }).pipe(on({ ...(yield* place), user: (yield* Server).control.user, poolSize: 1 }))
      }))

    it.effect("may be told another search path: events go into the storage's own tables", () =>
      Effect.gen(function*() {
        const { place } = yield* Server
        const there = yield* place
        const other = open({ ...there, schema: "elsewhere" })
        yield* Effect.provide(append("elsewhere"), other)
        yield* Effect.gen(function*() {
          const { run, withTransaction } = yield* Database
          yield* withTransaction(Effect.andThen(run(sql`SET search_path = elsewhere`), append("here")))
          assert.deepStrictEqual(yield* events, ["here"])
        }).pipe(on(there))
        assert.deepStrictEqual(yield* Effect.provide(events, other), ["elsewhere"])
        // whether or not it is named, it is the same
        yield* Effect.gen(function*() {
          assert.deepStrictEqual(yield* events, ["here"])
          const unnamed = Context.get(yield* Layer.build(open(there)), Journal.Journal)
          const named = yield* Journal.Journal
          assert.strictEqual(named.identity, unnamed.identity)
          yield* Effect.forEach(
            Array.from({ length: 50 }, (_, i) => i),
            (i) => Effect.provideService(append(`${i}`), Journal.Journal, i % 2 === 0 ? named : unnamed),
            { concurrency: "unbounded" }
          )
          assert.strictEqual((yield* events).length, 51)
        }).pipe(Effect.scoped, on({ ...there, schema: "public" }))
      }))

    it.effect("is of a role that owns its schema, and may not create others", () =>
      Effect.gen(function*() {
        const { place, run } = yield* Server
        const there = yield* place
        yield* run(`CREATE ROLE ${there.user}_service LOGIN`)
        yield* query(`CREATE SCHEMA own AUTHORIZATION ${there.user}_service`).pipe(
          on({ ...there, user: (yield* Server).control.user })
        )
        const service = { ...there, user: `${there.user}_service`, schema: "own" }
        yield* Effect.andThen(append("event"), events).pipe(on(service))
        const error = yield* Effect.flip(append("event").pipe(on({ ...service, schema: "another" })))
        assert.instanceOf(error, StorageError)
        assert.match(error.message, /permission denied for database/)
        yield* run(`ALTER ROLE ${there.user}_service SUPERUSER`)
      }))

    it.effect("begins with the password of that moment", () =>
      Effect.gen(function*() {
        const { place, run } = yield* Server
        const there = yield* place
        const [{ hba_file: file }] = yield* run("SHOW hba_file")
        const before = Fs.readFileSync(file, "utf8")
        yield* Effect.acquireRelease(
          Effect.sync(() => Fs.writeFileSync(file, `host all ${there.user} all scram-sha-256\n${before}`)),
          () => Effect.andThen(Effect.sync(() => Fs.writeFileSync(file, before)), run("SELECT pg_reload_conf()"))
        )
        const change = (password: string) => run(`ALTER ROLE ${there.user} PASSWORD '${password}'`)
        yield* Effect.andThen(change("first"), run("SELECT pg_reload_conf()"))
        let password: Effect.Effect<Redacted.Redacted, Error> = Effect.succeed(Redacted.make("first"))
        const asked = { ...there, poolSize: 2, password: Effect.suspend(() => password) }
        yield* Effect.gen(function*() {
          yield* append("1")
          yield* change("second")
          password = Effect.succeed(Redacted.make("second"))
          yield* run(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${there.user}'`)
          yield* append("2")
          assert.deepStrictEqual(yield* onNewConnections(events), ["1", "2"])
        }).pipe(on(asked))
        password = Effect.fail(new Error("s3cret is away"))
        const away = yield* Effect.flip(append("3").pipe(on(asked)))
        assert.instanceOf(away, StorageError)
        assert.strictEqual(away.reason, "Unavailable")
        assert.match(away.message, /password was not to be had/)
        assert.notInclude(away.message, "s3cret")
      }).pipe(Effect.scoped))
  })

  describe("an append that is given up", () => {
    it.effect("is not executed later, when the network delivers it after all", () =>
      Effect.gen(function*() {
        const { place } = yield* Server
        const there = yield* place
        const proxy = yield* Proxy.start(there.port)
        yield* Effect.gen(function*() {
          yield* append("1")
          let isFirst = true
          yield* proxy.rule(({ bytes, from }) => {
            if (from === "server" || !isFirst || !Proxy.commits(bytes)) return bytes
            isFirst = false
            return "orphan"
          })
          const { sequenceNumber } = yield* append("2")
          assert.strictEqual(sequenceNumber, 2)
          assert.strictEqual(proxy.broken(), 1)
          // what the server has not got until now
          yield* proxy.deliver
          yield* append("3")
          assert.deepStrictEqual(yield* events, ["1", "2", "3"])
        }).pipe(on({ ...there, port: proxy.port }))
      }).pipe(Effect.scoped))
  })

  describe("a connection", () => {
    it.effect("that is lost between two chunks of a stream ends it", () =>
      Effect.gen(function*() {
        const there = yield* (yield* Server).place
        yield* Effect.gen(function*() {
          const other = yield* Layer.build(open(there))
          const { sql, withTransaction } = yield* Database
          const rows = sql<
            { n: number; pid: number }
          >`SELECT n, pg_backend_pid() AS pid FROM generate_series(1, 1500) n`
          const reading = Stream.runForEach(
            rows.stream,
            ({ n, pid }) =>
              n === 10
                ? Effect.asVoid(Effect.provide(query(`SELECT pg_terminate_backend(${pid})`), other))
                : Effect.void
          )
          for (const effect of [reading, withTransaction(reading)]) {
            const error = yield* Effect.flip(effect)
            assert.strictEqual(error.reason._tag, "ConnectionError")
          }
        }).pipe(on(there), Effect.scoped)
      }).pipe(Effect.scoped))

    it.effect("keeps nothing of the queries that were cancelled on it, and of the streams", () =>
      Effect.gen(function*() {
        const there = yield* (yield* Server).place
        const warnings: Array<Error> = []
        const warn = (warning: Error) => void warnings.push(warning)
        yield* Effect.acquireRelease(
          Effect.sync(() => process.on("warning", warn)),
          () => Effect.sync(() => process.off("warning", warn))
        )
        yield* Effect.gen(function*() {
          const { sql } = yield* Database
          for (let i = 0; i < 12; i++) {
            yield* Stream.runDrain(sql`SELECT generate_series(1, 1000)`.stream)
            // the first chunk shows that it runs
            const begun = yield* Latch.make()
            const fiber = yield* Effect.forkChild(
              Stream.runForEach(
                sql`SELECT pg_sleep(CASE WHEN n > 500 THEN 60 ELSE 0 END) FROM generate_series(1, 1000) n`.stream,
                () => begun.open
              )
            )
            yield* begun.await
            yield* Fiber.interrupt(fiber)
          }
        }).pipe(on({ ...there, poolSize: 1 }))
        // which Node gives later
        yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
        assert.deepStrictEqual(warnings.map(({ name }) => name), [])
      }).pipe(Effect.scoped))
  })

  describe("a schema", () => {
    it.effect("that was renamed keeps its events to itself when another has its name", () =>
      Effect.gen(function*() {
        const there = yield* (yield* Server).place
        yield* append("old").pipe(on({ ...there, schema: "cart" }))
        yield* within(there, "ALTER SCHEMA cart RENAME TO cart_staging")
        const refused = yield* Effect.flip(
          append("refused").pipe(on({ ...there, schema: "cart_staging", migrate: false }))
        )
        assert.instanceOf(refused, StorageError)
        assert.strictEqual(refused.reason, "Misconfigured")
        assert.match(refused.message, /renamed or copied/)
        yield* append("new").pipe(on({ ...there, schema: "cart" }))
        const staging = yield* Effect.andThen(append("staging"), events).pipe(
          on({ ...there, schema: "cart_staging" })
        )
        assert.deepStrictEqual(staging, ["old", "staging"])
        assert.deepStrictEqual(yield* events.pipe(on({ ...there, schema: "cart", migrate: false })), ["new"])
      }).pipe(Effect.scoped))

    it.effect("whose tables were made by hand, with the search path that there is by default, is as others", () =>
      Effect.gen(function*() {
        const there = yield* (yield* Server).place
        yield* within(there, PostgresStorage.migrations())
        const found = yield* Effect.andThen(append("1"), events).pipe(on({ ...there, migrate: false }))
        assert.deepStrictEqual(found, ["1"])
      }).pipe(Effect.scoped))

    it.effect("whose tables were made by hand, found by the search path, is as others", () =>
      Effect.gen(function*() {
        const there = yield* (yield* Server).place
        yield* within(
          there,
          "CREATE SCHEMA by_hand",
          `SET search_path = by_hand; ${PostgresStorage.migrations()}`
        )
        const found = yield* Effect.andThen(append("1"), events).pipe(
          on({ ...there, schema: "by_hand", migrate: false })
        )
        assert.deepStrictEqual(found, ["1"])
      }).pipe(Effect.scoped))
  })

  describe("a database", () => {
    it.effect("in whose place another was put is neither read nor written on", () =>
      Effect.gen(function*() {
        const there = yield* (yield* Server).place
        const { run } = yield* Server
        const events = Effect.map(
          Effect.promise(async () => {
            const client = new Pg.Client({ ...there, password: "" })
            await client.connect()
            try {
              return (await client.query("SELECT count(*)::int AS n FROM sluice_journal")).rows
            } finally {
              await client.end()
            }
          }),
          ([{ n }]) => n as number
        )
        yield* Effect.gen(function*() {
          yield* append("1")
          const heads = (yield* Journal.Journal).heads("note", SliceRange.full)
          yield* within(there, "UPDATE sluice_meta SET value = 'another' WHERE key = 'journal'")
          yield* run(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${there.database}'`)
          for (const attempt of [Effect.asVoid(append("2")), Effect.asVoid(heads)]) {
            const error = yield* Effect.flip(onNewConnections(attempt))
            assert.instanceOf(error, StorageError)
            assert.strictEqual(error.reason, "Replaced")
            assert.match(error.message, /the journal is 'another'/)
          }
        }).pipe(on(there))
        assert.strictEqual(yield* events, 1)
      }).pipe(Effect.scoped))

    it.effect("that has no place for every text is refused, by name", () =>
      Effect.gen(function*() {
        const there = yield* (yield* Server).place
        const { run } = yield* Server
        const create = "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        yield* Effect.acquireRelease(
          run(`${create} OWNER ${there.user}`),
          () => run("DROP DATABASE latin WITH (FORCE)")
        )
        const error = yield* Effect.flip(append("event").pipe(on({ ...there, database: "latin" })))
        assert.instanceOf(error, StorageError)
        assert.strictEqual(error.reason, "Misconfigured")
        assert.match(error.message, /LATIN1.*UTF8/)
      }).pipe(Effect.scoped))
  })

  describe("a server that does not answer any more", () => {
    it.effect("is given up when it does not say within the time to connect who it is", () =>
      Effect.gen(function*() {
        const { control, place } = yield* Server
        const there = yield* place
        const client = new Pg.Client({
          host: "127.0.0.1",
          port: there.port,
          user: there.user,
          database: there.database
        })
        yield* Effect.promise(() => client.connect())
        yield* control.freeze
        const answer = { isThere: false }
        const asked = client.query("SELECT 1").then(() => answer.isThere = true)
        const error = yield* Effect.flip(append("1").pipe(on({ ...there, connectTimeout: 300 }))).pipe(
          Effect.tap(() => Effect.sync(() => assert.isFalse(answer.isThere, "the server is frozen"))),
          Effect.ensuring(control.thaw)
        )
        assert.instanceOf(error, StorageError)
        assert.strictEqual(error.reason, "Unavailable")
        yield* Effect.promise(() => asked)
        yield* Effect.promise(() => client.end())
      }))
  })

  describe.skipIf(!PgBouncer.isAvailable())("behind PgBouncer", () => {
    it.effect("that keeps sessions, all is as without", () =>
      Effect.gen(function*() {
        const { there } = yield* behind("session")
        const stores = yield* Effect.forEach(["cart_", "order_"], (tablePrefix) =>
          Effect.map(
            Layer.build(open({ ...there, tablePrefix, poolSize: 2 })),
            (services) => ({ tablePrefix, services })
          ))
        for (const { services, tablePrefix } of stores) {
          yield* Effect.forEach(
            Array.from({ length: 20 }, (_, i) => i),
            (i) => append(`${tablePrefix}${i}`),
            {
              concurrency: "unbounded"
            }
          ).pipe(Effect.provide(services))
        }
        for (const { services, tablePrefix } of stores) {
          const found = yield* Effect.provide(events, services)
          assert.strictEqual(found.length, 20)
          assert.isTrue(found.every((event) => event.startsWith(tablePrefix)))
        }
        // what is interrupted is cancelled in the server, though the pooler has numbers of its own for its processes
        const { services } = stores[0]!
        const slow = yield* Effect.forkChild(Effect.provide(query("SELECT pg_sleep(60)"), services))
        const { run } = yield* Server
        const sleeping = Effect.map(
          run("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"),
          (rows) => rows.length
        )
        yield* Wait.until("the query to run", Effect.map(sleeping, (n) => n === 1))
        yield* Fiber.interrupt(slow)
        assert.strictEqual(yield* sleeping, 0)
      }).pipe(Effect.scoped))

    for (const mode of ["transaction", "statement"] as const) {
      it.effect(`that gives each ${mode} another session, a storage does not start, and says why`, () =>
        Effect.gen(function*() {
          const { there } = yield* behind(mode)
          const error = yield* Effect.flip(append("event").pipe(on(there)))
          assert.instanceOf(error, StorageError)
          assert.isFalse(error.isRetryable)
          assert.match(error.message, /pooler.*pool_mode = session/)
          // and has left nothing in the sessions of others
          const client = new Pg.Client({ ...there, password: "" })
          yield* Effect.promise(async () => {
            await client.connect()
            const { rows } = await client.query("SHOW lock_timeout")
            assert.deepStrictEqual(rows, [{ lock_timeout: "0" }])
            await client.end()
          })
        }).pipe(Effect.scoped))
    }

    it.effect("whose mode is changed meanwhile, appends wait, then say why, and go on when it is changed back", () =>
      Effect.gen(function*() {
        const { reload, there } = yield* behind("session")
        const services = yield* Layer.build(open(there))
        const appends = (event: string) =>
          Effect.forEach(
            Array.from({ length: 10 }, (_, i) => i),
            (i) => Effect.result(Journal.append(Note, { id: `${i}`, events: [event] })),
            { concurrency: "unbounded" }
          ).pipe(Effect.provide(services))
        yield* appends("1")
        yield* reload("transaction")
        const failures: Array<unknown> = []
        yield* Wait.until(
          "appends to say why",
          Effect.map(appends("2"), (results) => {
            for (const result of results) if (result._tag === "Failure") failures.push(result.failure)
            return failures.some((failure) => /pool_mode = session/.test(String(failure)))
          }),
          { atMost: "2 minutes" }
        )
        for (const failure of failures) {
          assert.instanceOf(failure, StorageError)
          assert.include(["Misconfigured", "Unavailable", "Busy"], failure.reason)
        }
        yield* reload("session")
        yield* Wait.until(
          "appends to go on",
          Effect.map(appends("3"), (results) => results.every(({ _tag }) => _tag === "Success")),
          { atMost: "2 minutes" }
        )
      }).pipe(Effect.scoped))

    it.effect("that refuses a parameter of the URL, a storage says so, and not to try again", () =>
      Effect.gen(function*() {
        const { there: { database, host, port, user } } = yield* behind("session")
        const url = `postgres://${user}@${host}:${port}/${database}?statement_timeout=1000`
        const error = yield* Effect.flip(append("event").pipe(on({ url })))
        assert.instanceOf(error, StorageError)
        assert.isFalse(error.isRetryable)
        assert.match(error.message, /unsupported startup parameter: statement_timeout/)
      }).pipe(Effect.scoped))
  })
})
