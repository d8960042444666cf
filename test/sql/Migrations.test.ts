import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import { SchemaTooNew, SchemaTooOld } from "@sluice/sql/Migrations"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { databases, type Place } from "./databases.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })

const opened = (place: Place, migrate?: boolean) => Effect.scoped(Layer.build(Layer.fresh(place.layer({ migrate }))))

/** Shows that the tables are there, as the storage needs them. */
const append = (place: Place, migrate?: boolean) =>
  Journal.append(Note, { id: "n", events: ["written"] }).pipe(
    Effect.provide(place.layer({ migrate }), { local: true })
  )

const versions = (place: Place) =>
  Effect.map(
    Effect.promise(() => place.execute(`SELECT version FROM ${place.table("sluice_migration")} ORDER BY version`)),
    (rows) => rows.map(({ version }) => Number(version))
  )

describe.each(databases)("the tables in $name", ({ dialect, place }) => {
  it.live("are made once, however many start at the same time", () =>
    Effect.gen(function*() {
      const there = yield* place
      yield* Effect.forEach(Array.from({ length: 6 }), () => opened(there), { concurrency: "unbounded" })
      const found = yield* versions(there)
      assert.isAbove(found.length, 1)
      assert.deepStrictEqual(found, found.map((_, i) => i + 1))
      yield* append(there)
    }))

  it.live("may be made by hand, from what is printed", () =>
    Effect.gen(function*() {
      const there = yield* place
      const missing = yield* Effect.flip(opened(there, false))
      assert.instanceOf(missing, SchemaTooOld)
      assert.include(missing.message, "do not exist")
      yield* Effect.promise(() => there.execute(there.migrations()))
      yield* append(there, false)
      yield* append(there)
    }))

  it.live("are brought from an earlier version to the latest, by hand or not", () =>
    Effect.gen(function*() {
      for (const byHand of [true, false]) {
        const there = yield* place
        // what an earlier version printed
        const all = there.migrations()
        yield* Effect.promise(() => there.execute(all.slice(0, all.indexOf("-- version 2:"))))
        assert.deepStrictEqual(yield* versions(there), [1])
        const old = yield* Effect.flip(opened(there, false))
        assert.instanceOf(old, SchemaTooOld)
        assert.include(old.message, "of version 1")
        if (byHand) {
          yield* Effect.promise(() => there.execute(there.migrations(1)))
          yield* append(there, false)
        } else {
          yield* append(there)
        }
        assert.include(yield* versions(there), 2)
      }
    }))

  it.live("are refused when they are of a later version", () =>
    Effect.gen(function*() {
      const there = yield* place
      yield* opened(there)
      yield* Effect.promise(() =>
        there.execute(`INSERT INTO ${there.table("sluice_migration")} (version, name) VALUES (99, 'from the future')`)
      )
      for (const migrate of [true, false]) {
        const error = yield* Effect.flip(opened(there, migrate))
        assert.instanceOf(error, SchemaTooNew)
        assert.include(error.message, "99")
      }
    }))

  it.live("show JSON events to a person", () =>
    Effect.gen(function*() {
      const there = yield* place
      yield* append(there)
      const rows = yield* Effect.promise(() => there.execute(`SELECT * FROM ${there.table("sluice_event")}`))
      assert.strictEqual(rows.length, 1)
      assert.deepInclude(rows[0], { entity_type: "note", persistence_id: "note|n" })
    }))

  it.live("show the others beside one that is no JSON to the database", () =>
    Effect.gen(function*() {
      const there = yield* place
      const raw = EventCodec.make<string>({
        name: "raw",
        encode: (text) => ({ manifest: "json.sluice/Said", bytes: Buffer.from(text, "latin1") }),
        decode: ({ bytes }) => Buffer.from(bytes).toString("latin1")
      })
      const events = [`{"text":"fine"}`, `{"text":"a\\u0000b"}`, `{"text":"\\ud800"}`, "{", "\u00ff", "\0"] as const
      yield* Journal.append(EntityType.make("said", { codec: raw }), { id: "s", events, tags: ["a"] }).pipe(
        Effect.provide(there.layer(), { local: true })
      )
      const select = (what: string) =>
        Effect.promise(() =>
          there.execute(`SELECT ${what} FROM ${there.table("sluice_event")} ORDER BY sequence_number`)
        )
      const rows = yield* select("*")
      assert.strictEqual(rows.length, events.length)
      for (const { tags } of rows) assert.deepStrictEqual(typeof tags === "string" ? JSON.parse(tags) : tags, ["a"])
      if (dialect !== "postgres") return
      assert.deepStrictEqual(rows.map(({ event }) => event), [{ text: "fine" }, ...events.slice(1, 4), null, null])
      const texts = yield* select("event ->> 'text' AS text")
      assert.deepStrictEqual(texts.map(({ text }) => text), ["fine", null, null, null, null, null])
    }))
})
