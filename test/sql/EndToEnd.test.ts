/** Two services, each with a database of its own of every kind: what one appends, the other counts. */
import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventStream from "@sluice/core/EventStream"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import { Database } from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import { freePort } from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import { sql } from "kysely"
import { adapters } from "./databases.ts"

const Counted = Schema.TaggedStruct("Counted", { n: Schema.Int })
const Counter = EntityType.make("counter", { event: Counted })
const Counts = EventStream.make("counts", { event: Counted })

const tables = Tables.make<{ seen: { id: string; n: number } }>()
/** Servers keep it beside those of other tests. */
const table = `seen_${crypto.randomUUID().slice(0, 8)}` as "seen"
const ids = Array.from({ length: 20 }, (_, i) => `c-${i * 7919}`)
const rounds = 30

describe.each(adapters)("two services in $name", ({ place }) => {
  it.live(
    "lose, double and reorder nothing, though the consumer is closed again and again",
    () =>
      Effect.gen(function*() {
        const port = yield* freePort
        const producer = yield* Layer.build(
          EventProducer.layer(Counts, Source.journal(Counter)).pipe(
            Layer.provideMerge((yield* place).layer()),
            Layer.provide(GrpcServer.layer({ port }))
          )
        )
        const there = yield* place
        const consumer = Layer.fresh(there.layer())
        const counting = EventConsumer.source(Counts, { address: `127.0.0.1:${port}` }).pipe(
          Projection.exactlyOnce(
            "seen",
            ({ event: { n }, persistenceId }) => Tables.run(tables.insertInto(table).values({ id: persistenceId, n }))
          ),
          Projection.workers(2)
        )
        const rows = Effect.promise(() => there.execute(`SELECT id, n FROM ${table} ORDER BY ordinal`))

        yield* Effect.provide(
          Database.use(({ dialect, run }) =>
            run(
              sql`CREATE TABLE ${sql.table(table)} (ordinal ${
                sql.raw(
                  {
                    sqlite: "INTEGER PRIMARY KEY",
                    postgres: "SERIAL",
                    mysql: "INT AUTO_INCREMENT PRIMARY KEY"
                  }[dialect]
                )
              }, id VARCHAR(100) NOT NULL, n INTEGER NOT NULL)`
            )
          ),
          consumer
        )
        yield* Effect.addFinalizer(() => Effect.promise(() => there.execute(`DROP TABLE ${table}`)))
        const appending = yield* Effect.forkChild(Effect.provideContext(
          Effect.forEach(
            ids,
            (id) =>
              Effect.forEach(
                Array.from({ length: rounds }, (_, i) => i + 1),
                (n) => Journal.append(Counter, { id, events: [{ _tag: "Counted" as const, n }] }),
                { discard: true }
              ),
            { concurrency: "unbounded", discard: true }
          ),
          producer
        ))
        for (const share of [0.2, 0.5]) {
          const running = yield* Effect.forkChild(
            Effect.scoped(
              Effect.andThen(Layer.build(Layer.provide(Projection.layer(counting), consumer)), Effect.never)
            )
          )
          yield* Wait.until(
            "some events to be counted",
            Effect.map(rows, ({ length }) => length >= share * ids.length * rounds)
          )
          yield* Fiber.interrupt(running)
        }
        yield* Fiber.join(appending)
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Layer.build(Layer.provide(Projection.layer(counting), consumer))
          yield* Wait.until("all to be counted", Effect.map(rows, ({ length }) => length >= ids.length * rounds))
          yield* ProjectionStatus.caughtUp("seen")
        }))
        const counted = new Map<string, Array<number>>(ids.map((id) => [`counter|${id}`, []]))
        for (const { id, n } of yield* rows) counted.get(id)!.push(n)
        for (const [id, seen] of counted) {
          assert.deepStrictEqual(seen, Array.from({ length: rounds }, (_, i) => i + 1), id)
        }
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")),
    90_000
  )
})
