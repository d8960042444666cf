/** Events that are handled exactly once, each in a transaction that begins with the commit of the one before. */
import { assert, describe, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as Database from "@sluice/sql/Database"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { sql } from "kysely"
import { inject } from "vitest"

const servers = [["MariaDB", inject("mariadb")], ["MySQL", inject("mysql")]].filter(([, url]) => url !== "") as Array<
  [string, string]
>
const numbers = Array.from({ length: 30 }, (_, i) => String(i + 1))

const Entry = EntityType.make("entry", { codec: EventCodec.string })

/** What a handler's session has run. */
interface Seen {
  readonly event: string
  /** The connection. */
  readonly id: number
  /** How many transactions it has begun with a statement of their own. */
  readonly begins: number
  readonly rollbacks: number
}

/** Handles events, each of which is written, and returns what was written. The effect runs in the handler, and after its commit what it returns. */
const run = (name: string, during: (seen: Seen) => Effect.Effect<Effect.Effect<void>, unknown, Database.Database>) =>
  Effect.gen(function*() {
    const database = yield* Database.Database
    yield* database.run(sql`CREATE TABLE IF NOT EXISTS succession_handled (projection VARCHAR(50), event VARCHAR(50))`)
    yield* Effect.scoped(Effect.gen(function*() {
      yield* Layer.build(Projection.layer(
        Source.journal(Entry).pipe(
          Projection.exactlyOnce(name, ({ event }) =>
            Effect.gen(function*() {
              yield* database.run(sql`INSERT INTO succession_handled VALUES (${name}, ${event})`)
              const [connection] = yield* database.run(sql<{ readonly id: number }>`SELECT CONNECTION_ID() AS id`)
              const counts = yield* database.run(
                sql<
                  { readonly Value: string }
                >`SHOW SESSION STATUS WHERE Variable_name IN ('Com_begin', 'Com_rollback')`
              )
              const [begins, rollbacks] = counts.map(({ Value }) => Number(Value)) as [number, number]
              yield* database.afterCommit(yield* during({ event, id: connection!.id, begins, rollbacks }))
            }))
        )
      ))
      yield* ProjectionStatus.caughtUp(name)
    }))
    const rows = yield* database.run(
      sql<{ readonly event: string }>`SELECT event FROM succession_handled WHERE projection = ${name}`
    )
    return rows.map(({ event }) => Number(event)).toSorted((a, b) => a - b)
  })

const add = (name: string) => sql`UPDATE succession_rows SET n = n + 1 WHERE name = ${name}`

const nothing = () => Effect.succeed(Effect.void)

/** Whether a transaction has locked an offset of the projection. */
const isLocked = (database: Database.Database["Service"], projection: string) =>
  Effect.orDie(Effect.gen(function*() {
    const offsets = sql`SELECT slice FROM succession_offset WHERE projection = ${projection} AND position > 0`
    const all = yield* database.run(offsets)
    const free = yield* database.run(sql`${offsets} FOR UPDATE SKIP LOCKED`)
    return free.length < all.length
  }))

describe.for(servers)("%s", ([, url]) => {
  layer(MysqlStorage.layer({ url, tablePrefix: "succession_" }), { excludeTestServices: true })((it) => {
    it.effect("the next one has begun when one is committed, and none is open at the end", () =>
      Effect.gen(function*() {
        const database = yield* Database.Database
        yield* Journal.append(Entry, { id: "e-1", events: numbers })
        const wereLocked: Array<boolean> = []
        const begins: Array<number> = []
        const written = yield* run("begun", (seen) => {
          begins.push(seen.begins)
          return Effect.succeed(Effect.map(isLocked(database, "begun"), (locked) => void wereLocked.push(locked)))
        })
        assert.deepStrictEqual(written, numbers.map(Number))
        // not all, where the machine is busy
        assert.include(wereLocked, true)
        assert.isBelow(new Set(begins).size, numbers.length)
        assert.isFalse(yield* isLocked(database, "begun"))
      }))

    it.effect("a worker that is closed leaves nothing open, and what has begun comes again", () =>
      Effect.gen(function*() {
        const database = yield* Database.Database
        const closing = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(
          run(
            "closed",
            ({ event }) =>
              Effect.succeed(event === "10" ? Effect.asVoid(Deferred.succeed(closing, undefined)) : Effect.void)
          )
        )
        yield* Deferred.await(closing)
        yield* Fiber.interrupt(fiber)
        assert.isFalse(yield* isLocked(database, "closed"))
        assert.deepStrictEqual(yield* run("closed", nothing), numbers.map(Number))
      }))

    it.effect("events are handled once where the connection is lost after a commit, with what has begun on it", () =>
      Effect.gen(function*() {
        const database = yield* Database.Database
        let lost = 0
        const written = yield* run("lost", ({ event, id }) =>
          Effect.succeed(
            Number(event) % 10 === 5 && lost++ < 3
              ? Effect.asVoid(Effect.orDie(database.run(sql`KILL ${sql.lit(id)}`)))
              : Effect.void
          ))
        assert.strictEqual(lost, 3)
        assert.deepStrictEqual(written, numbers.map(Number))
      }))

    it.effect("an event whose transaction the server rolls back is handled again", () =>
      Effect.gen(function*() {
        const database = yield* Database.Database
        yield* database.run(sql`CREATE TABLE IF NOT EXISTS succession_rows (name VARCHAR(10) PRIMARY KEY, n INT)`)
        yield* database.run(sql`REPLACE INTO succession_rows VALUES ('a', 0), ('b', 0)`)
        // whoever has written less is rolled back
        const more = sql.join(numbers.map((number) => sql`(${`more-${number}`}, 0)`))
        const [begun, locked] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const other = yield* Effect.forkChild(Effect.andThen(
          Deferred.await(begun),
          database.withTransaction(Effect.gen(function*() {
            yield* database.run(add("b"))
            yield* database.run(sql`INSERT INTO succession_rows VALUES ${more}`)
            yield* Deferred.succeed(locked, undefined)
            yield* database.run(add("a"))
          }))
        ))
        let isOver = false
        const written = yield* run("deadlock", ({ event }) =>
          Effect.gen(function*() {
            if (event !== "7" || isOver) return Effect.void
            isOver = true
            yield* database.run(add("a"))
            yield* Deferred.succeed(begun, undefined)
            yield* Deferred.await(locked)
            // a handler that makes nothing of it
            yield* Effect.ignore(database.run(add("b")))
            return Effect.void
          }))
        yield* Fiber.join(other)
        assert.isTrue(isOver)
        assert.deepStrictEqual(written, numbers.map(Number))
      }))
  })

  layer(MysqlStorage.layer({ url, tablePrefix: "succession_", poolSize: 1 }), { excludeTestServices: true })((it) => {
    it.effect("none begins with a commit where what runs after it would have no connection", () =>
      Effect.gen(function*() {
        const database = yield* Database.Database
        const wereLocked: Array<boolean> = []
        const begins = new Set<number>()
        let last = 0
        const written = yield* run("single", (seen) => {
          begins.add(seen.begins)
          last = seen.rollbacks
          return Effect.succeed(Effect.map(isLocked(database, "single"), (locked) => void wereLocked.push(locked)))
        })
        assert.deepStrictEqual(written, numbers.map(Number))
        assert.notInclude(wereLocked, true)
        assert.strictEqual(begins.size, numbers.length)
        assert.strictEqual(last, 0)
      }))
  })
})
