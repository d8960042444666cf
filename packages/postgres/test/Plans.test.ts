import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as SliceRange from "@sluice/core/SliceRange"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import Pg from "pg"
import { inject } from "vitest"

const Note = EntityType.make("note", { codec: EventCodec.string })
const count = 5000
const append = (i: number) => Journal.append(Note, { id: `n-${i}`, events: ["written"] })

it.live(
  "touches a few rows per event, though the planner has only seen the table all but empty",
  () =>
    Effect.gen(function*() {
      const url = inject("postgres")
      const schema = `s_${crypto.randomUUID().slice(0, 8)}`
      const admin = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const client = new Pg.Client({ connectionString: url, options: `-c search_path=${schema}` })
          await client.connect()
          return client
        }),
        (client) => Effect.promise(() => client.query(`DROP SCHEMA ${schema} CASCADE`).then(() => client.end()))
      )
      const query = (sql: string) => Effect.promise(() => admin.query<{ n: number }>(sql))
      const number = (sql: string) => Effect.map(query(sql), ({ rows }) => rows[0]!.n)
      // sessions say what they have fetched when they end
      const fetched = Effect.andThen(
        Wait.until(
          "the sessions to end",
          Effect.map(
            number(`SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name LIKE '${schema}%'`),
            (sessions) => sessions === 0
          )
        ),
        number(`SELECT (idx_tup_fetch + seq_tup_read)::int AS n FROM pg_stat_user_tables
        WHERE schemaname = '${schema}' AND relname = 'sluice_journal'`)
      )
      yield* query(`CREATE SCHEMA ${schema}`)
      const storage = PostgresStorage.layer({ url, schema, applicationName: schema })
      yield* Effect.gen(function*() {
        yield* query("ALTER TABLE sluice_journal SET (autovacuum_enabled = off)")
        // and knows it as one with a single event of another kind
        yield* Journal.append(EntityType.make("other", { codec: EventCodec.string }), {
          id: "o-1",
          events: ["written"]
        })
        yield* query("ANALYZE sluice_journal")
        yield* Effect.forEach(Array.from({ length: count }, (_, i) => i), append, {
          concurrency: "unbounded",
          discard: true
        })
      }).pipe(Effect.provide(storage))
      const appending = yield* fetched
      assert.isBelow(appending, 2 * count)
      yield* Effect.scoped(Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const reader = yield* journal.reader("note", SliceRange.full, Offset.none)
        let read = 0
        while (read < count) read += (yield* reader.next(100)).length
      })).pipe(Effect.provide(storage))
      const reading = (yield* fetched) - appending
      assert.isAtLeast(reading, count)
      assert.isBelow(reading, 2 * count)
      const scansByTime = number(`SELECT idx_scan::int AS n FROM pg_stat_user_indexes
        WHERE schemaname = '${schema}' AND indexrelname = 'sluice_journal_time'`)
      const before = yield* scansByTime
      yield* Effect.scoped(Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const heads = yield* journal.heads("note", SliceRange.full)
        assert.isAbove(heads.size, 100)
        yield* journal.reader("note", SliceRange.full, heads)
      })).pipe(Effect.provide(storage))
      yield* fetched
      assert.strictEqual(
        yield* scansByTime,
        before,
        "an event that is looked for by its position is not looked for by its time"
      )
    }).pipe(Effect.scoped),
  60_000
)
