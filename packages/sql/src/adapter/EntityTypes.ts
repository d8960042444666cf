/**
 * The entity types that there are in a table.
 *
 * @since 0.1.0
 */
import type { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import type { Kysely } from "kysely"
import type { Database } from "../Database.ts"
import { textOf } from "../internal/columns.ts"
import type { SluiceTables } from "../SluiceTables.ts"
import { fromSqlError } from "./SqlStorageError.ts"

/**
 * Up to `limit` entity types that have events, or states. Each is one look into an index, whatever the size of the table.
 *
 * @category queries
 * @since 0.1.0
 */
export const find = Effect.fnUntraced(function*(
  database: Database["Service"],
  db: Kysely<SluiceTables>,
  table: "sluice_journal" | "sluice_state_head",
  limit: number
): Effect.fn.Return<ReadonlyArray<string>, StorageError> {
  const found: Array<string> = []
  while (found.length < limit) {
    const last = found.at(-1)
    const all = db.selectFrom(table).select("entity_type").orderBy("entity_type").limit(1)
    const rows = yield* Effect.mapError(
      database.run(last === undefined ? all : all.where("entity_type", ">", last)),
      fromSqlError("find entity types")
    )
    if (rows.length === 0) break
    found.push(textOf(rows[0]!.entity_type))
  }
  return found
})
