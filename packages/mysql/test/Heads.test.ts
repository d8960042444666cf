import { assert, it } from "@effect/vitest"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import * as Timestamp from "@sluice/core/Timestamp"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as Naming from "@sluice/sql/adapter/Naming"
import * as Database from "@sluice/sql/Database"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { sql } from "kysely"
import { inject } from "vitest"
import { makeStatements } from "../src/internal/statements.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const NoteState = StateType.make("note", { codec: EventCodec.string })
const servers = [["MariaDB", inject("mariadb")], ["MySQL", inject("mysql")]].filter(([, url]) => url !== "") as Array<
  [string, string]
>
const harms = ["DELETE FROM", "UPDATE"] as const
const entities = Array.from({ length: 6 }, (_, i) => `n-${i}`)

const append = (event: string) =>
  Effect.forEach(entities, (id) => Journal.append(Note, { id, events: [event] }), { concurrency: "unbounded" })

const change = (expected: number) =>
  DurableStateStore.upsert(NoteState, {
    id: "n",
    expected: DurableStateStore.Revision.make(expected),
    state: `${expected}`
  })

it.live.each(servers.flatMap(([name, url]) => harms.map((harm) => [name, harm, url] as const)))(
  "%s: heads that somebody has damaged by hand (%s) are made from the journal again, and nothing is written twice or passed over",
  ([, harm, url]) =>
    Effect.gen(function*() {
      const tablePrefix = `heads_${crypto.randomUUID().slice(0, 8)}_`
      const storage = MysqlStorage.layer({ url, tablePrefix })
      const damage = (table: string) =>
        Database.Database.use(({ run }) =>
          run(
            sql`${sql.raw(harm)} ${sql.table(tablePrefix + table)} ${
              sql.raw(
                harm === "UPDATE" ? "SET position = position - 1, timestamp = timestamp - 1 WHERE position > 0" : ""
              )
            }`
          )
        )
      const sequenceNumbers = yield* Effect.provide(
        Effect.gen(function*() {
          yield* append("one")
          yield* append("two")
          yield* damage("head")
          const alone = yield* append("three")
          yield* damage("head")
          const within = yield* Journal.transaction(append("four"))
          const again = yield* append("five")
          yield* damage("head")
          return [alone, within, again].map((all) => all.map(({ sequenceNumber }) => sequenceNumber as number))
        }),
        storage,
        { local: true }
      )
      assert.deepStrictEqual(sequenceNumbers, [3, 4, 5].map((n) => entities.map(() => n)))
      const events = yield* Effect.provide(
        Effect.gen(function*() {
          yield* append("six")
          return yield* Stream.runCollect(Stream.take(Source.toStream(Source.journal(Note)), 6 * entities.length))
        }),
        storage,
        { local: true }
      )
      const last = new Map<number, number>()
      for (const { position, slice } of events) {
        assert.strictEqual(position!, (last.get(slice) ?? 0) + 1)
        last.set(slice, position!)
      }
      // the changes of states have heads as well
      yield* Effect.provide(
        Effect.gen(function*() {
          yield* change(0)
          yield* change(1)
          yield* damage("state_head")
          yield* change(2)
          const [row] = yield* Database.Database.use(({ run }) =>
            run(sql<{ position: number }>`SELECT position FROM ${sql.table(`${tablePrefix}state`)}`)
          )
          assert.strictEqual(row!.position, 3)
        }),
        storage,
        { local: true }
      )
    })
)

it.live.each(servers)("%s finds the newest event of each log without reading the others", ([, url]) => {
  const tablePrefix = `newest_${crypto.randomUUID().slice(0, 8)}_`
  return Effect.gen(function*() {
    for (let i = 0; i < 20; i++) {
      yield* Journal.append(Note, { id: "n", events: Array.from({ length: 200 }, () => "old") as [string] })
    }
    const { sql, withTransaction } = yield* Database.Database
    const statements = makeStatements(Naming.make({ tablePrefix }), crypto.randomUUID(), () => 1_000_000)
    yield* sql.unsafe(`ANALYZE TABLE ${statements.journal}`)
    const keysRead = Effect.map(
      sql.unsafe<{ Value: string }>("SHOW SESSION STATUS LIKE 'Handler_read_next'"),
      ([row]) => Number(row!.Value)
    )
    const slices = Array.from({ length: Slice.count }, (_, slice) => slice)
    const [positions, read] = yield* withTransaction(Effect.gen(function*() {
      const before = yield* keysRead
      const lasts = yield* sql.unsafe<{ position: number }>(statements.lasts("note", slices))
      return [lasts.map(({ position }) => position), (yield* keysRead) - before] as const
    }))
    assert.deepStrictEqual(positions, [4000])
    assert.isBelow(read, 1000)
    const readAtPlaces = yield* withTransaction(Effect.gen(function*() {
      const before = yield* keysRead
      const found = yield* sql.unsafe(statements.timestamps("note", slices.map((slice) => [slice, 3999] as const)))
      assert.strictEqual(found.length, 1)
      return (yield* keysRead) - before
    }))
    assert.isBelow(readAtPlaces, 1000)
  }).pipe(Effect.provide(MysqlStorage.layer({ url, tablePrefix })))
})

it.live.each(servers)("%s writes nothing below the floor of a log whose head was set back by hand", ([, url]) => {
  const tablePrefix = `floor_${crypto.randomUUID().slice(0, 8)}_`
  const append = Effect.map(Journal.append(Note, { id: "n", events: ["x"] }), ({ position }) => position as number)
  return Effect.gen(function*() {
    yield* append
    yield* append
    yield* append
    const before = Timestamp.make((yield* Journal.Journal.use(({ now }) => now)) + 1)
    assert.strictEqual(yield* Journal.prune(Note, { before }), 2)
    const setBack = Database.Database.use(({ run }) =>
      run(sql`UPDATE ${sql.table(`${tablePrefix}head`)} SET position = 0 WHERE position > 0`)
    )
    yield* setBack
    assert.strictEqual(yield* append, 4)
    yield* setBack
    assert.strictEqual(yield* Journal.transaction(append), 5)
    // not even where all events of the log were deleted by hand
    yield* setBack
    yield* Database.Database.use(({ run }) => run(sql`DELETE FROM ${sql.table(`${tablePrefix}journal`)}`))
    assert.strictEqual(yield* append, 3)
  }).pipe(Effect.provide(MysqlStorage.layer({ url, tablePrefix })))
})
