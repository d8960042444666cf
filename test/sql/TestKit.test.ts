/** The test kit for projections and handlers, on databases that users have. */
import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as Handler from "@sluice/core/Handler"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Database from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as Faults from "@sluice/testing/Faults"
import * as HandlerTest from "@sluice/testing/HandlerTest"
import * as Idempotence from "@sluice/testing/Idempotence"
import * as ProjectionTestKit from "@sluice/testing/ProjectionTestKit"
import * as TestSource from "@sluice/testing/TestSource"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import { sql } from "kysely"
import { adapters } from "./databases.ts"

class Added extends Schema.TaggedClass<Added>()("Added", {
  sku: Schema.Literals(["tea", "milk"]),
  quantity: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))
}) {}
const Cart = EntityType.make("cart", { event: Added })
const tea = (quantity: number) => new Added({ sku: "tea", quantity })

const tables = Tables.make<{ item: { sku: string; quantity: number } }>()

/** The tables of users are others' as well. */
const createItems = Database.Database.use(({ run }) =>
  Effect.andThen(
    run(sql`DROP TABLE IF EXISTS item`),
    run(sql`CREATE TABLE item (sku VARCHAR(20), quantity INTEGER)`)
  )
)
const items = Database.Database.use(({ run }) => run(tables.selectFrom("item").selectAll().orderBy("quantity")))
const quantities = Effect.map(items, (rows) => rows.map(({ quantity }) => quantity))

const insert = ({ event: { quantity, sku } }: Envelope<Added>) =>
  Tables.run(tables.insertInto("item").values({ sku, quantity }))

const handlers = {
  "one by one": insert,
  "in groups": Handler.grouped(
    { size: 3, within: "100 millis" },
    (group: ReadonlyArray<Envelope<Added>>) => Effect.forEach(group, insert, { discard: true })
  )
} as const

/** What a busy machine needs is not what is tested. */
const patient = { timeout: "2 minutes" } as const
const quiet = Effect.provideService(References.MinimumLogLevel, "None")

describe.each(adapters)("the test kit in $name", ({ place }) => {
  for (const [how, handler] of Object.entries(handlers)) {
    it.effect(`shows that a handler writes exactly once under faults, ${how}`, () =>
      Effect.gen(function*() {
        const storage = (yield* place).layer()
        const faults = Faults.none.pipe(
          Faults.crash(1, { at: "beforeHandler" }),
          Faults.crash(2, { at: "inHandler", step: 40 }),
          Faults.fail(3, { times: 2 }),
          Faults.crash(4, { at: "afterHandler" }),
          Faults.failAfterCommit(5),
          Faults.drop(6),
          Faults.duplicate(7),
          Faults.crash(8, { at: "afterCommit" })
        )
        yield* Effect.gen(function*() {
          yield* createItems
          const carts = yield* TestSource.make(Cart)
          const kit = yield* ProjectionTestKit.start(
            carts.pipe(
              Projection.exactlyOnce("items", handler),
              Projection.recovery(RecoveryStrategy.retryAndFail({ retries: 5, delay: 0 }))
            ),
            { faults }
          )
          yield* carts.publish({
            id: "a",
            events: [tea(1), tea(2), tea(3), tea(4), tea(5), tea(6), tea(7), tea(8), tea(9)]
          })
          yield* kit.until(
            Effect.map(quantities, (found) => assert.deepStrictEqual(found, [1, 2, 3, 4, 5, 6, 7, 8, 9])),
            patient
          )
          yield* kit.crash
          yield* kit.caughtUp(patient)
          assert.strictEqual((yield* items).length, 9)
        }).pipe(Effect.scoped, Effect.provide([storage, ProjectionRegistry.layer]))
      }).pipe(Effect.scoped, quiet), 300_000)
  }

  it.effect("hands events to a handler, whose transaction is undone where it fails", () =>
    Effect.gen(function*() {
      const storage = (yield* place).layer()
      yield* Effect.gen(function*() {
        yield* createItems
        const test = yield* HandlerTest.exactlyOnce(Cart, (envelope: Envelope<Added>) =>
          Effect.andThen(insert(envelope), envelope.event.quantity > 8 ? Effect.fail("too many") : Effect.void))
        yield* test.given({ id: "a", events: [tea(1)] })
        yield* test.when({ id: "a", events: [tea(2)] })
        yield* test.again
        assert.strictEqual(yield* Effect.flip(test.when({ id: "a", events: [tea(3), tea(9)] })), "too many")
        assert.deepStrictEqual(yield* quantities, [1, 2, 3])
      }).pipe(Effect.scoped, Effect.provide(storage))
    }).pipe(Effect.scoped, quiet), 300_000)

  it.effect("tries a handler on random events and faults", () =>
    Idempotence.check(Cart, {
      event: Arbitrary.schema(Added),
      storage: Layer.unwrap(Effect.map(place, ({ layer }) => layer())),
      runs: 3,
      subject: (carts) =>
        Effect.as(createItems, { projection: () => carts.pipe(Projection.exactlyOnce("items", insert)), state: items })
    }), 300_000)
})
