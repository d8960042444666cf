import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import Pg from "pg"
import { inject } from "vitest"

const Note = EntityType.make("note", { codec: EventCodec.string })

/** A schema of its own, and how to run SQL in it beside the storage. */
const place = Effect.gen(function*() {
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
  return {
    schema,
    layer: PostgresStorage.layer({ url, schema }),
    query: (sql: string) => Effect.promise(async () => (await admin.query(sql)).rows)
  }
})

const append = (id: string, count: number, expected: number | "any" | "exists" | "none" = "any") =>
  Journal.append(Note, {
    id,
    events: Arr.makeBy(count, (i) => `${id} ${i}`),
    expected: typeof expected === "string" ? expected : SequenceNumber.make(expected)
  })

/** Where an append has ended. */
const ended = ({ position, sequenceNumber }: { readonly position: number; readonly sequenceNumber: number }) => ({
  position,
  sequenceNumber
})

describe("appends in PostgreSQL", () => {
  it.live("go on from what the log has, though the process has written more, which is lost", () =>
    Effect.gen(function*() {
      const { layer, query } = yield* place
      yield* Effect.gen(function*() {
        yield* append("n", 5)
        for (const count of [1, 3]) {
          yield* query("DELETE FROM sluice_journal WHERE position > 2")
          const written = yield* append("n", count)
          assert.deepStrictEqual(ended(written), { position: 2 + count, sequenceNumber: 2 + count })
        }
        yield* query("DELETE FROM sluice_journal")
        assert.deepStrictEqual(ended(yield* append("n", 2)), { position: 2, sequenceNumber: 2 })
      }).pipe(Effect.provide(layer))
    }).pipe(Effect.scoped))

  it.live("of one batch are judged each by itself, in their order", () =>
    Effect.gen(function*() {
      const { layer, query } = yield* place
      yield* Effect.gen(function*() {
        yield* append("a", 3)
        // the first of each lane is under way while its others come, and so those of an entity are of one batch
        const exits = yield* Effect.forEach(
          [
            append("x", 1),
            append("a", 2, 3),
            append("a", 1),
            append("b", 1, 7),
            append("b", 1),
            append("c", 2, "exists"),
            append("c", 2, "none"),
            append("d", 1, 1),
            append("a", 1, "exists"),
            append("a", 1, 9),
            append("a", 1)
          ].map(Effect.exit),
          (exit) => exit,
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          exits.map((exit) => Exit.isSuccess(exit) ? exit.value.sequenceNumber : "conflict"),
          [1, 5, 6, "conflict", 1, "conflict", 2, "conflict", 7, "conflict", 8]
        )
        const errors = exits.filter(Exit.isFailure).map(({ cause }) => Cause.squash(cause) as Journal.SequenceConflict)
        assert.deepStrictEqual(errors.map(({ actual, expected }) => [expected, actual]), [
          [7, 0],
          ["exists", 0],
          [1, 0],
          [9, 7]
        ])
        // positions and timestamps of each log, and numbers of each entity, follow each other
        const wrong = yield* query(`SELECT * FROM (
            SELECT position - row_number() OVER log AS p, sequence_number - row_number() OVER entity AS n,
              timestamp - lag(timestamp) OVER log AS t FROM sluice_journal
            WINDOW log AS (PARTITION BY slice ORDER BY position),
              entity AS (PARTITION BY persistence_id ORDER BY position)
          ) j WHERE p <> 0 OR n <> 0 OR t <= 0`)
        assert.deepStrictEqual(wrong, [])
      }).pipe(Effect.provide(layer))
    }).pipe(Effect.scoped))

  it.live("leave the function of the version before to processes that still run with it", () =>
    Effect.gen(function*() {
      const { layer, query, schema } = yield* place
      const all = PostgresStorage.migrations({ schema })
      yield* query(all.slice(0, all.indexOf("-- version 19:")))
      yield* query("CREATE FUNCTION sluice_append() RETURNS int LANGUAGE sql AS 'SELECT 42'")
      const written = yield* Effect.provide(append("n", 1), layer)
      assert.deepStrictEqual(ended(written), { position: 1, sequenceNumber: 1 })
      assert.deepStrictEqual(yield* query("SELECT sluice_append() AS answer"), [{ answer: 42 }])
    }).pipe(Effect.scoped))
})
