import type { Move, OffsetKey } from "@sluice/core/OffsetStore"
import type { Slice } from "@sluice/core/Slice"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { type Connection, type Db, prepare, sqlError } from "./connection.ts"

/** @internal Moves offsets by compare-and-set; see `SqlOffsetStore`. */
export const makeMove = (connection: Connection, db: Db) => {
  const update = prepare(
    connection,
    db.updateTable("sluice_offset")
      .set({ position: 0, timestamp: 0, journal: "", updated_at: 0 })
      .where("projection", "=", "").where("source", "=", "").where("slice", "=", 0)
      .where("position", "=", 0).where("timestamp", "=", 0)
  )
  const insert = prepare(
    connection,
    db.insertInto("sluice_offset").values({
      projection: "",
      source: "",
      slice: 0,
      position: 0,
      timestamp: 0,
      journal: "",
      updated_at: 0
    }).onConflict((conflict) => conflict.doNothing())
  )
  return (key: OffsetKey, journal: string, moves: ReadonlyArray<Move>): Effect.Effect<Slice | undefined, SqlError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.try({
        try: () => {
          for (const { from, slice, to } of moves) {
            const { changes } = from === undefined
              ? insert.run(key.projection, key.source, slice, to.position, to.timestamp, journal, now * 1000)
              : update.run(
                to.position,
                to.timestamp,
                journal,
                now * 1000,
                key.projection,
                key.source,
                slice,
                from.position,
                from.timestamp
              )
            if (changes === 0) return slice
          }
          return undefined
        },
        catch: sqlError("move offsets")
      }))
}
