import { assert, it } from "@effect/vitest"
import * as Database from "@sluice/sql/Database"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { sql } from "kysely"
import * as Fs from "node:fs"
import { temporaryFile } from "./files.ts"

const withFile = <A, E, R>(test: (filename: string) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(temporaryFile, (filename) => Effect.provide(test(filename), SqliteStorage.layer({ filename })))

it.live("the rows of a statement that has none are nobody else's", () =>
  withFile(() =>
    Effect.gen(function*() {
      const { run } = yield* Database.Database
      yield* run(sql`CREATE TABLE note (id INTEGER)`)
      const rows = (yield* run(sql`INSERT INTO note VALUES (1)`)) as Array<unknown>
      rows.push("mine")
      assert.deepStrictEqual(yield* run(sql`INSERT INTO note VALUES (2)`), [])
    })
  ))

/** Moves the file's log away while the effect runs. */
const withoutLog = <A, E, R>(filename: string, effect: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => Fs.renameSync(`${filename}-wal`, `${filename}-elsewhere`)),
    () => effect,
    () => Effect.sync(() => Fs.renameSync(`${filename}-elsewhere`, `${filename}-wal`))
  )

it.live.each(["COMMIT", "/* why */ -- and how\n COMMIT", "; END"])(
  "'%s' does not commit into files that were moved",
  (commit) =>
    withFile((filename) =>
      Effect.gen(function*() {
        const { run, sql: client } = yield* Database.Database
        yield* run(sql`CREATE TABLE note (id INTEGER)`)
        const error = yield* Effect.scoped(Effect.gen(function*() {
          const connection = yield* client.reserve
          const execute = (sql: string) => connection.executeUnprepared(sql, [], undefined)
          yield* execute("BEGIN")
          yield* execute("INSERT INTO note VALUES (1)")
          const error = yield* withoutLog(filename, Effect.flip(Effect.delay(execute(commit), "5 millis")))
          yield* execute("/* it is over */ ROLLBACK")
          return error
        }))
        assert.include(error.message, "was moved")
        assert.deepStrictEqual(yield* run(sql`SELECT id FROM note`), [])
      })
    )
)

it.live("rows that are written and streamed are not written into files that were moved", () =>
  withFile((filename) =>
    Effect.gen(function*() {
      const { run, sql: client } = yield* Database.Database
      yield* run(sql`CREATE TABLE note (id INTEGER)`)
      const written = Stream.runCollect(client`INSERT INTO note VALUES (1), (2) RETURNING id`.stream)
      const error = yield* withoutLog(filename, Effect.flip(Effect.delay(written, "5 millis")))
      assert.include(error.message, "was moved")
      assert.deepStrictEqual(yield* run(sql`SELECT id FROM note`), [])
      assert.deepStrictEqual(yield* written, [{ id: 1 }, { id: 2 }])
      assert.deepStrictEqual(yield* run(sql`SELECT id FROM note`), [{ id: 1 }, { id: 2 }])
    })
  ))
