import type { Move, OffsetKey } from "@sluice/core/OffsetStore"
import type { Slice } from "@sluice/core/Slice"
import type { Database } from "@sluice/sql/Database"
import * as Naming from "@sluice/sql/Naming"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"

/** @internal Moves offsets by compare-and-set, in one statement for those that are known; see `SqlOffsetStore`. */
export const makeMove = (database: Database["Service"], naming: Naming.Naming) => {
  const { sql } = database
  const table = Naming.quoted("mysql", naming, "sluice_offset")
  const now = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"

  const affected = (text: string, values: ReadonlyArray<unknown>): Effect.Effect<number, SqlError> =>
    Effect.map(sql.unsafe(text, values).raw, (result) => Number((result as any).numAffectedRows ?? 0))

  /** The first that is not where it should be now. */
  const firstMissing = (key: OffsetKey, moves: ReadonlyArray<Move>): Effect.Effect<Slice, SqlError> =>
    Effect.map(
      sql.unsafe<{ slice: Slice; position: number; timestamp: number }>(
        `SELECT slice, position, timestamp FROM ${table} WHERE projection = ? AND source = ?`,
        [key.projection, key.source]
      ),
      (rows) => {
        const stored = new Map(rows.map((row) => [row.slice, row]))
        const missing = moves.find(({ slice, to }) =>
          stored.get(slice)?.position !== to.position || stored.get(slice)?.timestamp !== to.timestamp
        )
        return (missing ?? moves[0]!).slice
      }
    )

  /** Rows are found by their key: joined with the moves as a table, each would be compared with each. */
  const update = (key: OffsetKey, journal: string, moves: ReadonlyArray<Move>) => {
    const to = (field: "position" | "timestamp") =>
      `CASE slice ${moves.map((move) => `WHEN ${move.slice} THEN ${move.to[field]}`).join(" ")} END`
    return affected(
      `UPDATE ${table} SET position = ${to("position")}, timestamp = ${
        to("timestamp")
      }, journal = ?, updated_at = ${now}
        WHERE projection = ? AND source = ? AND slice IN (${moves.map(({ slice }) => slice).join(",")})
        AND (slice, position, timestamp) IN (${
        moves.map(({ from, slice }) => `(${slice},${from!.position},${from!.timestamp})`).join(",")
      })`,
      [journal, key.projection, key.source]
    )
  }

  const insert = (key: OffsetKey, journal: string, moves: ReadonlyArray<Move>) =>
    affected(
      `INSERT IGNORE INTO ${table} (projection, source, slice, position, timestamp, journal, updated_at) VALUES ${
        moves.map(({ slice, to }) => `(?, ?, ${slice}, ${to.position}, ${to.timestamp}, ?, ${now})`).join(", ")
      }`,
      moves.flatMap(() => [key.projection, key.source, journal])
    )

  return (key: OffsetKey, journal: string, moves: ReadonlyArray<Move>): Effect.Effect<Slice | undefined, SqlError> =>
    Effect.gen(function*() {
      const known = moves.filter((move) => move.from !== undefined)
      if (known.length > 0 && (yield* update(key, journal, known)) < known.length) {
        return yield* firstMissing(key, known)
      }
      const first = moves.filter((move) => move.from === undefined)
      if (first.length > 0 && (yield* insert(key, journal, first)) < first.length) {
        return yield* firstMissing(key, first)
      }
      return undefined
    })
}
