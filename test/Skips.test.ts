import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as SliceRange from "@sluice/core/SliceRange"
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
import * as Service from "./kit/Service.ts"
import { Note, schema, Seen, tables } from "./skips/contract.ts"

const file = fileURLToPath(new URL("./skips/consumer.ts", import.meta.url))
const quiet = Layer.succeed(References.MinimumLogLevel, "None")
const ids = ["a", "b", "c", "d"]

describe("a projection that two processes run, which are killed, while a third one has it skip what fails", () => {
  it.live(
    "handles every other event once, and those of an entity in order",
    () =>
      Effect.gen(function*() {
        const folder = yield* Service.temporaryFolder
        const filename = Path.join(folder, "notes.db")
        const start = Service.start({ command: process.execPath, args: () => Service.nodeArgs(file, filename) })
        const storage = yield* Layer.build(SqliteStorage.layer({ filename }))
        yield* Effect.gen(function*() {
          const { run } = yield* Database.Database
          const store = yield* OffsetStore
          for (const statement of schema) yield* run(sql.raw(statement))
          const key = Projection.offsetKey(Seen)
          yield* ProjectionManagement.ProjectionManagement.use((management) => management.register(key))
          const processes = [yield* start, yield* start]
          const written = new Map(ids.map((id): [string, Array<string>] => [id, []]))
          const append = (id: string) =>
            Effect.gen(function*() {
              const event = (yield* Random.nextIntBetween(0, 5)) === 0 ? "bad" : "good"
              written.get(id)!.push(event)
              return yield* Journal.append(Note, { id, events: [event] })
            })
          const seenOf = (id: string) =>
            Effect.map(
              run(
                tables.selectFrom("seen").select("n").where("persistence_id", "=", EntityType.persistenceId(Note, id))
                  .orderBy(sql.ref("ordinal"))
              ),
              (rows) => rows.map(({ n }) => n)
            )
          const skipped = new Map(ids.map((id): [string, Set<number>] => [id, new Set()]))
          /** Has skipped what comes next of an entity and fails. Not all that fails is tried already. */
          const skipNext = (id: string) =>
            Effect.gen(function*() {
              const last = Math.max(0, ...yield* seenOf(id), ...skipped.get(id)!)
              const events = written.get(id)!
              if (events[last] !== "bad") return
              const event = { persistenceId: EntityType.persistenceId(Note, id), sequenceNumber: last + 1 }
              // the database is busy, now and then
              const exit = yield* Effect.exit(ProjectionManagement.skip(key, event, { by: "test" }))
              if (exit._tag === "Success") skipped.get(id)!.add(last + 1)
            })
          const killing = Effect.gen(function*() {
            for (let round = 0; round < 12; round++) {
              yield* Effect.sleep(yield* Random.nextIntBetween(50, 700))
              yield* processes[round % 2]!.kill
            }
          })
          const writing = Effect.forEach(
            Array.from({ length: 60 }),
            () => Effect.andThen(Effect.forEach(ids, append, { discard: true }), Effect.sleep("20 millis")),
            { discard: true }
          )
          const skipping = Effect.forever(
            Effect.andThen(Effect.forEach(ids, skipNext, { discard: true }), Effect.sleep("20 millis"))
          )
          yield* Effect.raceFirst(
            Effect.andThen(
              Effect.all([killing, writing], { concurrency: 2 }),
              Wait.until(
                "everything to be passed",
                Effect.map(store.load(key, SliceRange.full), ({ offsets }) => {
                  const passed = [...offsets.values()].reduce((sum, { position }) => sum + position, 0)
                  return passed === [...written.values()].reduce((sum, events) => sum + events.length, 0)
                }),
                { atMost: "4 minutes" }
              )
            ),
            skipping
          )
          for (const id of ids) {
            const numbers = written.get(id)!.map((event, i) => ({ event, n: i + 1 }))
            const expected = numbers.filter(({ event }) => event === "good").map(({ n }) => n)
            assert.deepStrictEqual(yield* seenOf(id), expected, id)
            assert.strictEqual(skipped.get(id)!.size, numbers.length - expected.length)
          }
          const commands = yield* ProjectionManagement.history(key, { limit: 1_000 })
          const skips = commands.filter(({ command }) => command === "Skip")
          assert.strictEqual(skips.length, [...skipped.values()].reduce((sum, { size }) => sum + size, 0))
          const left = yield* ProjectionManagement.ProjectionManagement.use((management) =>
            management.skips(key, SliceRange.full)
          )
          assert.deepStrictEqual(left, [])
        }).pipe(Effect.provideContext(storage))
      }).pipe(Effect.scoped, Effect.provide(quiet)),
    600_000
  )
})
