import { assert, it } from "@effect/vitest"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as Database from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as Effect from "effect/Effect"
import { inject } from "vitest"

const tables = Tables.make<{ own: { id: string } }>()
const named = tables.withSchema("own_tables")

it.live(
  "tables of one's own are in the schema that the queries name, and not by themselves in that of the storage",
  () =>
    Effect.gen(function*() {
      const { run } = yield* Database.Database
      yield* run(named.schema.createTable("own").ifNotExists().addColumn("id", "text"))
      yield* run(named.insertInto("own").values({ id: "a" }))
      assert.deepStrictEqual(yield* run(named.selectFrom("own").selectAll()), [{ id: "a" }])
      const error = yield* Effect.flip(run(tables.selectFrom("own").selectAll()))
      assert.include(error.message, "relation \"own\" does not exist")
    }).pipe(Effect.provide(PostgresStorage.layer({ url: inject("postgres"), schema: "own_tables" }))),
  60_000
)
