import { assert, describe, it, layer } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EntityType from "@sluice/core/EntityType"
import * as EventFilter from "@sluice/core/EventFilter"
import { Heartbeat, heartbeat, HeartbeatStore } from "@sluice/core/HeartbeatStore"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Source from "@sluice/core/Source"
import { freePort } from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import Pg from "pg"
import { inject } from "vitest"
import { markdownExamples, pages, runExample, sqlExamples } from "../docs/examples.ts"
import { databases, type DatabaseUnderTest, type Place } from "./databases.ts"

class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
const Cart = EntityType.make("cart", { event: ItemAdded })

/** A service that has an event, projections of it, a dead letter, a worker that has stopped, and an event to be skipped, as the pages speak of. It runs until its scope ends. */
const service = Effect.gen(function*() {
  const Popularity = Source.journal(Cart).pipe(
    Projection.exactlyOnce("popularity", () => Effect.fail("no such product")),
    Projection.recovery(RecoveryStrategy.deadLetter)
  )
  const Reports = Source.journal(Cart).pipe(
    Projection.exactlyOnce("reports", () => Effect.fail("no such report")),
    Projection.recovery(RecoveryStrategy.fail)
  )
  const Labels = Source.journal(Cart).pipe(Projection.exactlyOnce("labels", () => Effect.void))
  yield* Journal.append(Cart, {
    id: "c-17",
    events: [new ItemAdded({ sku: "tea", quantity: 2 })],
    tags: ["large"],
    metadata: { user: "ada" }
  })
  yield* Layer.build(Projection.layer(Popularity))
  yield* ProjectionStatus.caughtUp("popularity")
  yield* ProjectionManagement.rewind("popularity", "beginning", { by: "ada", reason: "prices were wrong" })
  yield* ProjectionStatus.caughtUp("popularity")
  yield* Layer.build(Projection.layer(Reports))
  yield* Wait.until(
    "a failure to be reported",
    Effect.map(
      ProjectionStatus.everywhere("reports"),
      (workers) => workers.some(({ failure }) => failure !== undefined)
    )
  )
  yield* Effect.scoped(Effect.andThen(Layer.build(Projection.layer(Labels)), ProjectionStatus.caughtUp("labels")))
  // a worker that runs would find that there is no such event yet, and withdraw it
  yield* ProjectionManagement.skip("labels", { persistenceId: "cart|c-17", sequenceNumber: 2 }, {
    by: "ada",
    reason: "sent twice"
  })
  yield* ConsumerFilter.begin("stream:carts", EventFilter.passAll)
  yield* ConsumerFilter.update({ source: "stream:carts" }, EventFilter.excludeTags("test"), {
    by: "ada",
    reason: "too many"
  })
}).pipe(Effect.provideService(References.MinimumLogLevel, "None"))

/** A version that cannot be switched to, of which its process says so as one more worker. */
const building = Effect.gen(function*() {
  const Totals = Source.journal(Cart).pipe(
    Projection.exactlyOnce("totals", () => Effect.void),
    Projection.version(2, { switch: Effect.fail("no such view"), drop: () => Effect.void })
  )
  yield* Layer.build(Projection.layer(Totals))
  yield* Wait.until(
    "a failure to switch to be reported",
    HeartbeatStore.use((store) =>
      Effect.map(store.reports(["totals@2"]), (reports) => reports.some(({ failure }) => failure !== undefined))
    )
  )
}).pipe(Effect.provideService(References.MinimumLogLevel, "None"))

const blocks = pages.flatMap((file) => sqlExamples(file).map((example) => ({ file, ...example })))

/** The database of a service that does what the pages speak of, and runs as long as the tests that share it. */
class Documented extends Context.Service<Documented, Pick<Place, "execute" | "table">>()("sluice/test/Documented") {}

const documented = (place: DatabaseUnderTest["place"], does: typeof service | typeof building) =>
  Layer.effect(
    Documented,
    Effect.gen(function*() {
      const { execute, layer, table } = yield* place
      yield* does.pipe(
        // what waits for a report of its workers waits for that long
        Effect.provideService(Heartbeat, heartbeat({ interval: "200 millis" })),
        Effect.provide(yield* Layer.build(layer()))
      )
      return Documented.of({ execute, table })
    })
  )

describe.each(databases)("on $name", ({ dialect, place }) => {
  for (const ofWorkers of [false, true]) {
    const own = blocks.filter(({ dialects, sql }) =>
      dialects.includes(dialect) && sql.includes("sluice_worker") === ofWorkers
    )
    const does = ofWorkers ? Effect.andThen(service, building) : service
    layer(documented(place, does), { excludeTestServices: true, timeout: "3 minutes" })((it) => {
      it.effect.each(own)("$file: $sql", ({ sql }) =>
        Effect.gen(function*() {
          const { execute, table } = yield* Documented
          const folder = yield* Effect.acquireRelease(
            Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "sluice-sql-"))),
            (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
          )
          const own = sql.replaceAll(/'(\w+\.db)'/g, `'${folder}/$1'`)
            .replaceAll(/\bsluice_\w+/g, (name) => table(name))
          const rows = yield* Effect.promise(() => execute(own))
          if (!/^select/i.test(sql)) return
          assert.isAbove(rows.length, 0)
          if (ofWorkers) assert.notInclude(rows.map(({ projection }) => String(projection)), "totals@2")
          for (const row of rows) {
            // what a page shows is there to be seen
            assert.deepStrictEqual(Object.entries(row).filter(([, value]) => value === null), [])
          }
        }))
    })
  }
})

it.each(pages.flatMap((file) => markdownExamples(file, "ts servers").map((code) => [file, code] as const)))(
  "an example of %s that starts a server does what it says",
  (_, code) => runExample(code)
)

it.live("the README's pipeline runs on PostgreSQL as well", () =>
  Effect.gen(function*() {
    const url = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const database = `readme_${crypto.randomUUID().slice(0, 8)}`
        await onPostgres(`CREATE DATABASE ${database}`)
        return new URL(`/${database}`, inject("postgres"))
      }),
      ({ pathname }) => Effect.promise(() => onPostgres(`DROP DATABASE ${pathname.slice(1)} WITH (FORCE)`))
    )
    const code = markdownExamples("README.md").join("\n")
      .replaceAll(
        /SqliteStorage\.layer\(\{ filename: "(\w+)\.db" \}\)/g,
        (_, service) => `PostgresStorage.layer({ url: "${url.href}", schema: "${service}" })`
      )
      .replaceAll(/SqliteStorage(?=.*@sluice\/sqlite)/g, "PostgresStorage").replaceAll(
        "@sluice/sqlite",
        "@sluice/postgres"
      )
      .replaceAll("8101", String(yield* freePort))
    assert.notInclude(code, "Sqlite")
    for (const _ of ["once", "and once more"]) yield* Effect.promise(() => runExample(code))
  }))

const onPostgres = async (sql: string): Promise<void> => {
  const client = new Pg.Client({ connectionString: inject("postgres") })
  await client.connect()
  await client.query(sql).finally(() => client.end())
}
