import type { Basis, Move, OffsetKey } from "@sluice/core/OffsetStore"
import type { Database } from "@sluice/sql/Database"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { type Connection, type Db, prepare } from "./connection.ts"

/** @internal Moves offsets by compare-and-set; see `SqlOffsetStore`. */
export const makeMove = (connection: Connection, database: Database["Service"], db: Db) => {
  const update = prepare(
    connection,
    db.updateTable("sluice_offset")
      .set({ position: 0, timestamp: 0, journal: "", updated_at: 0 })
      .where("projection", "=", "").where("source", "=", "").where("slice", "=", 0)
      .where("position", "=", 0).where("timestamp", "=", 0).where("revision", "=", 0)
  )
  return (
    key: OffsetKey,
    { journal, revision }: Basis,
    moves: ReadonlyArray<Move>
  ): Effect.Effect<boolean, SqlError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      database.direct("move offsets", () => {
        for (const { from, slice, to } of moves) {
          const { changes } = update.run(
            to.position,
            to.timestamp,
            journal,
            now * 1000,
            key.projection,
            key.source,
            slice,
            from?.position ?? 0,
            from?.timestamp ?? 0,
            revision
          )
          if (changes === 0) return false
        }
        return true
      }))
}
