/**
 * The identity of a database's journal, which tells it from every other journal.
 *
 * @since 0.1.0
 */
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Kysely } from "kysely"
import type { Database } from "../Database.ts"
import type { SluiceTables } from "../SluiceTables.ts"

/**
 * What is wrong if a database that a journal was opened in has another one by now, or none; undefined if it has the same.
 *
 * @category getters
 * @since 0.1.0
 */
export const problem = (expected: string, actual: string | null | undefined): Error | undefined => {
  if (actual === expected) return undefined
  // while one is restored, there may be none for a moment
  return actual === null || actual === undefined
    ? Object.assign(new Error(`the database has no journal any more, and had '${expected}'`), {
      code: "JOURNAL_MISSING"
    })
    : Object.assign(new Error(`the journal is '${actual}', and was '${expected}'`), { code: "JOURNAL_REPLACED" })
}

/**
 * The identity that is stored with the journal. The first process that asks for it makes it.
 *
 * @category getters
 * @since 0.1.0
 */
export const get = Effect.fnUntraced(function*(
  database: Database["Service"],
  db: Kysely<SluiceTables>
): Effect.fn.Return<string, SqlError> {
  const select = database.run(db.selectFrom("sluice_meta").select("value").where("key", "=", "journal"))
  const [known] = yield* select
  if (known !== undefined) return known.value
  const insert = db.insertInto("sluice_meta").values({ key: "journal", value: (yield* WebCrypto).randomUUID() })
  yield* database.run(database.dialect === "mysql" ? insert.ignore() : insert.onConflict((_) => _.doNothing()))
  // another may have been quicker
  const [row] = yield* select
  return row!.value
})
