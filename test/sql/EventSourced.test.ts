import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Decision from "@sluice/entity/Decision"
import * as EventSourced from "@sluice/entity/EventSourced"
import { Database } from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as EventSourcedTest from "@sluice/testing/EventSourcedTest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { sql } from "kysely"
import { adapters } from "./databases.ts"

for (const { name, place } of adapters) {
  const storage = Layer.unwrap(Effect.map(place, ({ layer }) => layer()))
  EventSourcedTest.suite(`plain, in ${name}`, storage, EventSourced.layerPlain)
  EventSourcedTest.suiteInTransaction(`plain, in ${name}`, storage, EventSourced.layerPlain)
  EventSourcedTest.suite(`in one process, in ${name}`, storage, (entity) => EventSourced.layer(entity))
}

class Added extends Schema.TaggedClass<Added>()("Added", { amount: Schema.Int }) {}

const Counter = EventSourced.make(EntityType.make("counter", { event: Added }), {
  state: Schema.Int,
  initial: 0,
  commands: [
    Rpc.make("Add", { payload: { amount: Schema.Int }, success: Schema.Int }),
    Rpc.make("Sum", { success: Schema.Int })
  ],
  decide: {
    Add: ({ payload }) => Decision.persist([new Added(payload)], (sum) => sum),
    Sum: ({ state }) => Decision.reply(state)
  },
  evolve: (sum, { amount }) => sum + amount
})

const tables = Tables.make<{ counted: { id: string; amount: number } }>()

describe.each(adapters)("an entity in $name, the plain way,", ({ place }) => {
  it.live("decides in a transaction together with tables of one's own", () =>
    Effect.gen(function*() {
      const storage = (yield* place).layer()
      yield* Effect.gen(function*() {
        const { run, withTransaction } = yield* Database
        yield* run(sql`CREATE TABLE counted (id VARCHAR(20) PRIMARY KEY, amount INTEGER NOT NULL)`)
        const { Add, Sum } = (yield* EventSourced.client(Counter))("c-1")
        const both = (id: string, amount: number) =>
          Effect.andThen(Add({ amount }), run(tables.insertInto("counted").values({ id, amount })))
        const rows = Effect.map(run(tables.selectFrom("counted").selectAll().orderBy("id")), (rows) =>
          rows.map(({ amount }) => amount))
        yield* withTransaction(both("a", 1))
        // the table refuses it, or the program does
        yield* Effect.flip(withTransaction(both("a", 2)))
        yield* Effect.flip(withTransaction(Effect.andThen(both("b", 3), Effect.fail("undone"))))
        assert.deepStrictEqual([yield* Sum(), yield* rows], [1, [1]])
        yield* withTransaction(Effect.andThen(both("b", 4), both("c", 5)))
        assert.deepStrictEqual([yield* Sum(), yield* rows], [10, [1, 4, 5]])
      }).pipe(Effect.provide(EventSourced.layerPlain(Counter).pipe(Layer.provideMerge(storage))))
    }).pipe(Effect.scoped))
})
