import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import type { SqlStorage } from "@sluice/sql/adapter/SqlStorage"
import { Database } from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { sql } from "kysely"
import { databases, type DatabaseUnderTest, type Options, type Place, servers } from "./databases.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const tables = Tables.make<{ note: { id: string; length: number } }>()

/** Runs the effect in a place of its own, given the name of a table of the service's own. */
const withTable = <A, E>(
  { place }: DatabaseUnderTest,
  effect: (table: "note", place: Place) => Effect.Effect<A, E, SqlStorage | Scope.Scope>,
  options?: Options
) =>
  Effect.flatMap(place, (there) => {
    // servers keep it beside those of other tests
    const table = `note_${crypto.randomUUID().slice(0, 8)}`
    return Effect.gen(function*() {
      const database = yield* Database
      yield* database.run(sql`CREATE TABLE ${sql.table(table)} (id VARCHAR(20) PRIMARY KEY, length BIGINT NOT NULL)`)
      return yield* Effect.ensuring(
        Effect.scoped(effect(table as "note", there)),
        Effect.ignore(database.run(sql`DROP TABLE ${sql.table(table)}`))
      )
    }).pipe(Effect.provide(there.layer(options), { local: true }))
  })

const insert = (table: "note", id: string, length = id.length) =>
  Database.use((database) => database.run(tables.insertInto(table).values({ id, length })))

const ids = (table: "note") =>
  Effect.map(
    Database.use((database) => database.run(tables.selectFrom(table).select("id").orderBy("id"))),
    (rows) => rows.map(({ id }) => id)
  )

const append = (event: string) => Journal.append(Note, { id: "n", events: [event] })

const events = Stream.runCollect(Stream.map(Journal.read(Note, "n"), ({ event }) => event))

const transaction = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Database.use((database) => database.withTransaction(effect))

const defectOf = (exit: Exit.Exit<unknown, unknown>): string =>
  exit._tag === "Failure" ? exit.cause.reasons.filter(Cause.isDieReason).map(({ defect }) => String(defect)).join() : ""

describe.each(databases)("a transaction of the service's own, in $name,", (database) => {
  it.live("holds events, rows by Kysely and rows by the SQL client, all or nothing", () =>
    withTable(database, (table) =>
      Effect.gen(function*() {
        const client = yield* SqlClient
        const change = Effect.gen(function*() {
          yield* append("written")
          yield* insert(table, "kysely")
          yield* client`INSERT INTO ${client(table)} ${client.insert({ id: "client", length: 6 })}`
          assert.deepStrictEqual(yield* ids(table), ["client", "kysely"])
        })
        yield* Effect.ignore(transaction(Effect.andThen(change, Effect.fail("no"))))
        assert.deepStrictEqual([yield* ids(table), yield* events], [[], []])
        yield* transaction(change)
        assert.deepStrictEqual([yield* ids(table), yield* events], [["client", "kysely"], ["written"]])
        yield* Effect.ignore(client.withTransaction(Effect.andThen(append("never"), Effect.fail("no"))))
        assert.deepStrictEqual(yield* events, ["written"])
      })))

  it.live("nests: what is within fails alone", () =>
    withTable(database, (table) =>
      Effect.gen(function*() {
        yield* transaction(Effect.gen(function*() {
          yield* insert(table, "outer")
          yield* Effect.ignore(transaction(Effect.gen(function*() {
            yield* insert(table, "inner")
            yield* append("inner")
            return yield* Effect.fail("no")
          })))
          // a statement that fails, too
          yield* Effect.flip(transaction(insert(table, "outer")))
          yield* append("outer")
        }))
        assert.deepStrictEqual([yield* ids(table), yield* events], [["outer"], ["outer"]])
      })))

  it.live("is shared by its fibers", () =>
    withTable(database, (table) =>
      Effect.gen(function*() {
        const some = Array.from({ length: 20 }, (_, i) => `${i}`.padStart(2, "0"))
        const all = Effect.forEach(some, (id) => Effect.andThen(insert(table, id), append(id)), {
          concurrency: "unbounded"
        })
        yield* Effect.ignore(transaction(Effect.andThen(all, Effect.fail("no"))))
        assert.deepStrictEqual(yield* ids(table), [])
        yield* transaction(all)
        assert.deepStrictEqual(yield* ids(table), some)
        assert.sameMembers([...yield* events], some)
      })))

  it.live("undoes with what is nested in it nothing that another of its fibers writes meanwhile", () =>
    withTable(database, (table) =>
      Effect.gen(function*() {
        const [isNested, isAsked] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const nested = transaction(Effect.gen(function*() {
          yield* insert(table, "inner")
          yield* Deferred.succeed(isNested, undefined)
          yield* Deferred.await(isAsked)
          return yield* Effect.fail("no")
        }))
        const beside = Effect.gen(function*() {
          yield* Deferred.await(isNested)
          const fiber = yield* Effect.forkChild(
            Effect.andThen(insert(table, "query"), append("event")),
            { startImmediately: true }
          )
          yield* Deferred.succeed(isAsked, undefined)
          yield* Fiber.join(fiber)
        })
        yield* transaction(Effect.all([Effect.ignore(nested), beside], { concurrency: "unbounded" }))
        assert.deepStrictEqual([yield* ids(table), yield* events], [["query"], ["event"]])
      })))

  it.live("takes no queries of a fiber that outlives it", () =>
    withTable(database, (table) =>
      Effect.gen(function*() {
        const { sql: client } = yield* Database
        const late: ReadonlyArray<Effect.Effect<unknown, unknown, SqlStorage>> = [
          insert(table, "late"),
          client`INSERT INTO ${client(table)} ${client.insert({ id: "late", length: 4 })}`,
          append("late")
        ]
        for (const query of late) {
          const over = yield* Deferred.make<void>()
          const fiber = yield* transaction(Effect.forkDetach(Effect.andThen(Deferred.await(over), query)))
          // others use the connection meanwhile
          yield* transaction(Effect.andThen(Deferred.succeed(over, undefined), Effect.exit(Fiber.await(fiber))))
          assert.match(defectOf(yield* Fiber.await(fiber)), /over|transaction/)
        }
        assert.deepStrictEqual([yield* ids(table), yield* events], [[], []])
      })))

  it.live("of an offset takes no queries of a fiber that outlives it", () =>
    withTable(database, (table) =>
      Effect.gen(function*() {
        const store = yield* OffsetStore
        const over = yield* Deferred.make<void>()
        const late = Effect.forkDetach(
          Effect.andThen(Deferred.await(over), Tables.run(tables.insertInto(table).values({ id: "late", length: 4 })))
        )
        const moves = [{ slice: 1, from: undefined, to: Offset.make(1, 1) } as any]
        const key = { projection: "p", source: "s" }
        yield* ProjectionManagement.use((management) => management.register(key))
        const fiber = yield* store.transact(key, { journal: "j", revision: 0 }, moves, late)
        yield* Deferred.succeed(over, undefined)
        assert.include(defectOf(yield* Fiber.await(fiber)), "is over")
        assert.deepStrictEqual(yield* ids(table), [])
      })))
})

describe.each(databases)("a query, in $name,", (database) => {
  it.live("streams its rows", () =>
    withTable(database, (table) =>
      Effect.gen(function*() {
        const { run, sql: client } = yield* Database
        const values = Array.from({ length: 1700 }, (_, i) => ({ id: `${i}`.padStart(4, "0"), length: i }))
        for (let i = 0; i < values.length; i += 100) {
          yield* run(tables.insertInto(table).values(values.slice(i, i + 100)))
        }
        const rows = client<{ length: number }>`SELECT length FROM ${client(table)} ORDER BY id`.stream
        const all = yield* Stream.runCollect(rows)
        assert.deepStrictEqual(all.map(({ length }) => length), values.map(({ length }) => length))
        // one that is not read to its end leaves a connection that can be used
        for (let i = 0; i < 3; i++) {
          assert.strictEqual((yield* Stream.runCollect(Stream.take(rows, 3))).length, 3)
          assert.strictEqual((yield* transaction(Stream.runCollect(Stream.take(rows, 700)))).length, 700)
        }
        yield* insert(table, "end")
      }), { poolSize: 1 }))

  it.live("is refused while a stream of its transaction has more rows, which would wait for each other", () =>
    withTable(database, (table) =>
      Effect.gen(function*() {
        const { sql: client } = yield* Database
        const rows = client<{ n: number }>`WITH RECURSIVE numbers(n) AS (
          SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 900
        ) SELECT n FROM numbers`.stream
        const beside = (effect: Effect.Effect<unknown, SqlError, SqlStorage>) =>
          Stream.runForEach(rows, ({ n }) => n === 1 ? Effect.asVoid(effect) : Effect.void)
        for (const query of [insert(table, "beside"), transaction(insert(table, "within")), Stream.runDrain(rows)]) {
          const error = yield* Effect.flip(transaction(beside(query)))
          assert.match(error.message, /a stream of the transaction is open/)
        }
        assert.deepStrictEqual(yield* ids(table), [])
        // what handles it goes on, and so does what has read the stream
        yield* transaction(Effect.andThen(beside(Effect.ignore(insert(table, "beside"))), insert(table, "after")))
        assert.deepStrictEqual(yield* ids(table), ["after"])
      }), { poolSize: 1 }))

  it.live("refuses integers that a number does not hold", () =>
    withTable(database, (table) =>
      Effect.gen(function*() {
        const { run } = yield* Database
        const largest = Number.MAX_SAFE_INTEGER
        yield* insert(table, "a", largest)
        assert.deepStrictEqual((yield* run(tables.selectFrom(table).selectAll()))[0]?.length, largest)
        // which a parameter does
        yield* run(sql`UPDATE ${sql.table(table)} SET length = ${9007199254740993n}`)
        const error = yield* Effect.flip(run(tables.selectFrom(table).selectAll()))
        assert.include(String(error.reason.cause), "9007199254740993")
        // the connection survives it
        assert.deepStrictEqual(yield* ids(table), ["a"])
        // within JSON, what the driver makes of them is not refused
        if (database.dialect === "sqlite") return
        const type = sql.raw(database.dialect === "postgres" ? "JSONB" : "JSON")
        yield* run(sql`ALTER TABLE ${sql.table(table)} ADD COLUMN j ${type}`)
        yield* run(sql`UPDATE ${sql.table(table)} SET length = 1, j = '{"n":9007199254740993}'`)
        const text = sql.raw(database.dialect === "postgres" ? "j ->> 'n'" : "JSON_VALUE(j, '$.n')")
        assert.deepStrictEqual(yield* run(sql`SELECT j, ${text} AS n FROM ${sql.table(table)}`), [{
          j: { n: database.dialect === "postgres" ? 9007199254740992 : "9007199254740993" },
          n: "9007199254740993"
        }])
      }), { poolSize: 1 }))
})

describe.each(servers)("a query that is interrupted, in $name,", (database) => {
  const beginning = database.slow.slice(0, 20)
  const isRunning = (place: Place) =>
    Effect.map(
      Effect.promise(() =>
        place.execute(
          database.dialect === "postgres"
            ? `SELECT query FROM pg_stat_activity WHERE state = 'active' AND query LIKE '${beginning}%'`
            : `SELECT info AS query FROM information_schema.processlist WHERE info LIKE '${beginning}%'`
        )
      ),
      (rows) => rows.length > 0
    )

  it.live("ends in the database, and leaves a connection that can be used", () =>
    withTable(database, (table, place) =>
      Effect.gen(function*() {
        const { run, sql: client } = yield* Database
        const slow: ReadonlyArray<Effect.Effect<unknown, unknown, SqlStorage>> = [
          client.unsafe(database.slow),
          run(sql.raw(database.slow)),
          transaction(Effect.andThen(insert(table, "never"), client.unsafe(database.slow)))
        ]
        for (const query of slow) {
          const fiber = yield* Effect.forkChild(query)
          yield* Wait.until("the query to run", isRunning(place))
          yield* Fiber.interrupt(fiber)
          yield* Wait.until("the query to end", Effect.map(isRunning(place), (_) => !_))
          assert.deepStrictEqual(yield* ids(table), [])
        }
        yield* insert(table, "after")
        assert.deepStrictEqual(yield* ids(table), ["after"])
      }), { poolSize: 2 }))

  it.live("as it takes too long fails as a statement timeout", () =>
    withTable(database, (table) =>
      Effect.gen(function*() {
        const { run } = yield* Database
        const error = yield* Effect.flip(run(sql.raw(database.slow)))
        assert.strictEqual(error.reason._tag, "StatementTimeoutError")
        assert.deepStrictEqual(yield* ids(table), [])
      }), { poolSize: 1, statementTimeout: 300 }))
})

/** Runs the effect while somebody has the only connection. */
const whileTaken = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const taken = yield* Deferred.make<void>()
    const done = yield* Deferred.make<void>()
    const holder = yield* Effect.forkChild(
      transaction(Effect.andThen(Deferred.succeed(taken, undefined), Deferred.await(done)))
    )
    yield* Deferred.await(taken)
    const result = yield* effect
    yield* Deferred.succeed(done, undefined)
    yield* Fiber.join(holder)
    return result
  })

describe.each(servers)("a connection, in $name,", (database) => {
  const query = Database.use(({ run }) => run(sql`SELECT 1 AS one`))

  it.live("that nobody gives back is waited for no longer than the time to connect", () =>
    withTable(database, () =>
      Effect.gen(function*() {
        const error = yield* whileTaken(Effect.flip(query))
        assert.strictEqual(error.reason._tag, "ConnectionError")
        assert.deepStrictEqual(yield* query, [{ one: 1 }])
      }), { poolSize: 1, connectTimeout: 1000 }))

  it.live("is not kept by who does not wait for it any more", () =>
    withTable(database, () =>
      Effect.gen(function*() {
        yield* whileTaken(Effect.gen(function*() {
          const waiting = yield* Effect.forEach([query, transaction(query)], (_) => Effect.forkChild(_))
          yield* Effect.yieldNow
          yield* Fiber.interruptAll(waiting)
        }))
        assert.deepStrictEqual(yield* query, [{ one: 1 }])
        assert.deepStrictEqual(yield* transaction(query), [{ one: 1 }])
      }), { poolSize: 1, connectTimeout: 20_000 }))
})

describe.each(servers)("a lock that somebody holds, in $name,", (database) => {
  it.live("is waited for no longer than the lock timeout", () =>
    withTable(database, (table) =>
      Effect.gen(function*() {
        const { run } = yield* Database
        yield* insert(table, "a")
        const held = yield* Deferred.make<void>()
        const done = yield* Deferred.make<void>()
        const change = run(tables.updateTable(table).set({ length: 7 }))
        const holder = yield* Effect.forkChild(
          transaction(Effect.andThen(change, Effect.andThen(Deferred.succeed(held, undefined), Deferred.await(done))))
        )
        yield* Deferred.await(held)
        const error = yield* Effect.flip(change)
        assert.strictEqual(error.reason._tag, "LockTimeoutError")
        yield* Deferred.succeed(done, undefined)
        yield* Fiber.join(holder)
        yield* change
      }), { lockTimeout: 900 }))
})
