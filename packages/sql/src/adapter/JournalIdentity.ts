/**
 * What tells the journal of a database from every other one.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Kysely } from "kysely"
import type { Database } from "../Database.ts"
import type { SluiceTables } from "../SluiceTables.ts"

/**
 * The identity that is stored with the journal; the first who asks makes it.
 *
 * @category getters
 * @since 0.1.0
 */
export const get = (database: Database["Service"], db: Kysely<SluiceTables>): Effect.Effect<string, SqlError> => {
  const select = database.run(db.selectFrom("sluice_meta").select("value").where("key", "=", "journal"))
  const insert = db.insertInto("sluice_meta").values({ key: "journal", value: crypto.randomUUID() })
  return Effect.flatMap(select, ([row]) =>
    row === undefined
      ? database.run(database.dialect === "mysql" ? insert.ignore() : insert.onConflict((_) => _.doNothing())).pipe(
        Effect.andThen(select),
        Effect.map(([row]) => row!.value)
      )
      : Effect.succeed(row.value))
}
