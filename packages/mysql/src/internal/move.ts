import type { Basis, Move, OffsetKey } from "@sluice/core/OffsetStore"
import type { Statement } from "@sluice/core/Transaction"
import * as Naming from "@sluice/sql/adapter/Naming"
import type { Database } from "@sluice/sql/Database"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { QueryResult } from "kysely"

/**
 * @internal
 * Moves offsets by compare-and-set, all in one statement; see `SqlOffsetStore`. Rows are found by their key. A join
 * with the moves as a table would compare each row with each move.
 */
export const makeMove = (database: Database["Service"], naming: Naming.Naming) => {
  const table = Naming.quoted("mysql", naming, "sluice_offset")
  const now = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
  const one = `UPDATE ${table} SET position = ?, timestamp = ?, journal = ?, updated_at = ${now}
    WHERE projection = ? AND source = ? AND slice = ? AND position = ? AND timestamp = ? AND revision = ?`

  const moveStatement = (key: OffsetKey, { journal, revision }: Basis, moves: ReadonlyArray<Move>): Statement => {
    const { projection, source } = key
    const [only] = moves
    if (only !== undefined && moves.length === 1) {
      const { from, slice, to } = only
      const expected = [slice, from?.position ?? 0, from?.timestamp ?? 0, revision]
      return { sql: one, parameters: [to.position, to.timestamp, journal, projection, source, ...expected] }
    }
    const cases = `CASE slice ${moves.map(() => "WHEN ? THEN ?").join(" ")} END`
    const to = (field: "position" | "timestamp") => moves.flatMap((move) => [move.slice, move.to[field]])
    return {
      sql: `UPDATE ${table} SET position = ${cases}, timestamp = ${cases}, journal = ?, updated_at = ${now}
        WHERE projection = ? AND source = ? AND slice IN (${moves.map(() => "?").join(",")})
        AND (slice, position, timestamp) IN (${moves.map(() => "(?,?,?)").join(",")}) AND revision = ?`,
      parameters: [
        ...to("position"),
        ...to("timestamp"),
        journal,
        projection,
        source,
        ...moves.map(({ slice }) => slice),
        ...moves.flatMap(({ from, slice }) => [slice, from?.position ?? 0, from?.timestamp ?? 0]),
        revision
      ]
    }
  }

  const move = (key: OffsetKey, basis: Basis, moves: ReadonlyArray<Move>): Effect.Effect<boolean, SqlError> => {
    const { parameters, sql } = moveStatement(key, basis, moves)
    return Effect.map(
      database.sql.unsafe(sql, parameters).raw,
      (result) => Number((result as QueryResult<never>).numAffectedRows ?? 0) === moves.length
    )
  }

  return { move, moveStatement }
}
