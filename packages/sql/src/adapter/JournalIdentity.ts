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
