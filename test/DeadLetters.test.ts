import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Database from "@sluice/sql/Database"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as References from "effect/References"
import { sql } from "kysely"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { Note, schema, Seen, tables } from "./deadLetters/contract.ts"
import * as Service from "./kit/Service.ts"

const file = fileURLToPath(new URL("./deadLetters/consumer.ts", import.meta.url))
const quiet = Layer.succeed(References.MinimumLogLevel, "None")
const ids = ["a", "b", "c"]

describe("a projection that is killed, beside a process that handles its dead letters and is killed as well", () => {
  it.live(
    "handles every event once, and those of an entity in order, whatever fails meanwhile",
    () =>
      Effect.gen(function*() {
        const folder = yield* Service.temporaryFolder
        const filename = Path.join(folder, "notes.db")
        const start = (role: string) =>
          Service.start({ command: process.execPath, args: () => Service.nodeArgs(file, filename, role) })
        const storage = yield* Layer.build(SqliteStorage.layer({ filename }))
        yield* Effect.gen(function*() {
          const { run } = yield* Database.Database
          for (const statement of schema) yield* run(sql.raw(statement))
          const processes = [yield* start("project"), yield* start("redrive")]
          const key = Projection.offsetKey(Seen)
          const written = new Map(ids.map((id) => [id, 0]))
          const append = (id: string) =>
            Effect.gen(function*() {
              const events = yield* Random.nextIntBetween(1, 5)
              written.set(id, written.get(id)! + events)
              return yield* Journal.append(Note, { id, events: Array(events).fill("x") as [string] })
            })
          for (let round = 0; round < 8; round++) {
            const broken = ids.filter((_, i) => (round + i) % 2 === 0)
            for (const id of broken) {
              yield* run(tables.insertInto("broken").values({ persistence_id: EntityType.persistenceId(Note, id) }))
            }
            const writing = Effect.forEach(
              Array.from({ length: 12 }),
              () => Effect.forEach(ids, append, { discard: true }),
              { discard: true }
            )
            const killing = Effect.gen(function*() {
              yield* Effect.sleep(yield* Random.nextIntBetween(1, 400))
              yield* processes[round % 2]!.kill
            })
            yield* Effect.all([writing, killing], { concurrency: 2 })
            yield* Wait.until(
              "an entity to be parked, with events that wait behind it",
              Effect.map(ProjectionManagement.deadLetterCounts(key), ({ queued }) => queued > 0)
            )
            // what waits is handled while more comes
            yield* run(tables.deleteFrom("broken"))
          }
          const receipts = yield* Effect.forEach(ids, append)
          yield* ProjectionStatus.reached(key, receipts, { timeout: 240_000 })
          yield* Wait.until(
            "no dead letter to be left",
            Effect.map(ProjectionManagement.deadLetterCounts(key), ({ entities }) => entities === 0)
          )
          for (const id of ids) {
            const seen = yield* run(
              tables.selectFrom("seen").select("n").where("persistence_id", "=", EntityType.persistenceId(Note, id))
                .orderBy(sql.ref("ordinal"))
            )
            assert.deepStrictEqual(
              seen.map(({ n }) => n),
              Array.from({ length: written.get(id)! }, (_, i) => i + 1),
              id
            )
          }
        }).pipe(Effect.provideContext(storage))
      }).pipe(Effect.scoped, Effect.provide(quiet)),
    600_000
  )
})
