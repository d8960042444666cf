import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import type { SqlStorage } from "@sluice/sql/adapter/SqlStorage"
import { Database } from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import {
  CamelCasePlugin,
  DummyDriver,
  Kysely,
  ParseJSONResultsPlugin,
  sql,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler
} from "kysely"
import { databases, type DatabaseUnderTest } from "./databases.ts"

interface Person {
  readonly person: { readonly fullName: string; readonly address: string }
}

const rows = [{ fullName: "Ada Lovelace", address: `{"city":"London"}` }]
const plugins = [new CamelCasePlugin(), new ParseJSONResultsPlugin()]
const parsed = [{ fullName: "Ada Lovelace", address: { city: "London" } }]

const Note = EntityType.make("note", { codec: EventCodec.string })

/** Runs the effect beside a table of its own, as servers keep tables beside those of other tests. */
const within = (
  { place }: DatabaseUnderTest,
  effect: (table: "person") => Effect.Effect<void, unknown, SqlStorage>
) =>
  Effect.gen(function*() {
    const { layer } = yield* place
    const table = `person_${crypto.randomUUID().slice(0, 8)}`
    yield* Effect.gen(function*() {
      const { run } = yield* Database
      yield* run(
        sql`CREATE TABLE ${sql.table(table)} (full_name VARCHAR(50) NOT NULL, address VARCHAR(50) NOT NULL)`
      )
      yield* Effect.ensuring(effect(table as "person"), Effect.ignore(run(sql`DROP TABLE ${sql.table(table)}`)))
    }).pipe(Effect.provide(layer({ poolSize: 2 }), { local: true }))
  }).pipe(Effect.scoped)

describe.each(databases)("Kysely's plugins, in $name,", (database) => {
  it.live("see queries and their rows, wherever they are attached", () =>
    within(
      database,
      Effect.fnUntraced(function*(table) {
        const { run, withTransaction } = yield* Database
        const tables = Tables.make<Person>({ plugins })
        assert.deepStrictEqual(yield* run(tables.insertInto(table).values(rows[0]!)), [])
        const select = tables.selectFrom(table).selectAll()
        assert.deepStrictEqual<unknown>(yield* run(select), parsed)
        assert.deepStrictEqual<unknown>(yield* withTransaction(run(select)), parsed)
        // the same query, as often as one likes
        assert.deepStrictEqual<unknown>(yield* run(select), parsed)

        const bare = Tables.make<Person>()
        const later = bare.withPlugin(new CamelCasePlugin())
        assert.deepStrictEqual(yield* run(later.selectFrom(table).selectAll()), rows)
        assert.deepStrictEqual<unknown>(
          yield* run(later.selectFrom(table).selectAll().withPlugin(new ParseJSONResultsPlugin())),
          parsed
        )
        const snake = [{ full_name: "Ada Lovelace", address: rows[0]!.address }]
        assert.deepStrictEqual<unknown>(yield* run(bare.selectFrom(table).selectAll()), snake)
        assert.deepStrictEqual<unknown>(yield* run(sql`SELECT * FROM ${sql.table(table)}`), snake)
        assert.deepStrictEqual<unknown>(
          yield* run(sql`SELECT * FROM ${sql.table(table)}`.withPlugin(new CamelCasePlugin())),
          rows
        )
      })
    ))

  it.live("do so in the transaction of an exactly-once handler", () =>
    within(
      database,
      Effect.fnUntraced(function*(table) {
        const tables = Tables.make<Person>({ plugins })
        const seen: Array<unknown> = []
        const projection = Source.journal(Note).pipe(Projection.exactlyOnce(`people ${database.name}`, () =>
          Effect.gen(function*() {
            yield* Tables.run(tables.insertInto(table).values(rows[0]!))
            seen.push(...yield* Tables.run(tables.selectFrom(table).selectAll()))
          })))
        yield* Journal.append(Note, { id: "n", events: ["1"] })
        yield* Effect.scoped(Effect.andThen(
          Layer.build(Projection.layer(projection)),
          ProjectionStatus.caughtUp(projection.name)
        ))
        assert.deepStrictEqual(seen, parsed)
      })
    ))

  it.live("of another Kysely would not see the rows, so that its queries are refused", () =>
    within(
      database,
      Effect.fnUntraced(function*(table) {
        const { run } = yield* Database
        const stranger = new Kysely<Person>({
          dialect: {
            createAdapter: () => new SqliteAdapter(),
            createDriver: () => new DummyDriver(),
            createIntrospector: (db) => new SqliteIntrospector(db),
            createQueryCompiler: () => new SqliteQueryCompiler()
          },
          plugins
        })
        const exit = yield* Effect.exit(run(stranger.selectFrom(table).selectAll()))
        assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "Tables.make({ plugins })")
      })
    ))
})

describe("a query of Tables.make", () => {
  it("does not run by itself, and says how it does", async () => {
    const tables = Tables.make<Person>()
    const select = tables.selectFrom("person").selectAll()
    const attempts: ReadonlyArray<() => Promise<unknown>> = [
      () => select.execute(),
      () => select.executeTakeFirst(),
      () => select.executeTakeFirstOrThrow(),
      () => select.stream().next(),
      () => select.explain(),
      () => tables.insertInto("person").values(rows).execute(),
      () => tables.deleteFrom("person").execute(),
      () => tables.schema.dropTable("person").execute(),
      () => tables.withPlugin(new CamelCasePlugin()).updateTable("person").set(rows[0]!).execute(),
      () => tables.withSchema("other").deleteFrom("person").execute(),
      () => tables.executeQuery(select.compile()),
      () => sql`DELETE FROM person`.execute(tables),
      () => tables.transaction().execute(async (within) => within.deleteFrom("person").execute()),
      () => tables.startTransaction().execute(),
      () => tables.connection().execute(async () => {}),
      () => tables.introspection.getTables()
    ]
    for (const attempt of attempts) {
      const error = await attempt().then(() => undefined, (error: unknown) => error)
      assert.include(String(error), "Tables.run", String(attempt))
    }
  })
})
