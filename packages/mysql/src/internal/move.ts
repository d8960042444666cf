import type { Basis, Move, OffsetKey } from "@sluice/core/OffsetStore"
import * as Naming from "@sluice/sql/adapter/Naming"
import type { Database } from "@sluice/sql/Database"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Statement } from "effect/sql/Statement"

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

  return (
    key: OffsetKey,
    { journal, revision }: Basis,
    moves: ReadonlyArray<Move>
  ): Effect.Effect<boolean, SqlError> => {
    const [first] = moves
    if (first !== undefined && moves.length === 1) {
      const { from, slice, to } = first
      const { projection, source } = key
      const expected = [slice, from?.position ?? 0, from?.timestamp ?? 0, revision]
      return hasMoved(
        database.sql.unsafe(one, [to.position, to.timestamp, journal, projection, source, ...expected]),
        1
      )
    }
    const cases = `CASE slice ${moves.map(() => "WHEN ? THEN ?").join(" ")} END`
    const to = (field: "position" | "timestamp") => moves.flatMap((move) => [move.slice, move.to[field]])
    return hasMoved(
      database.sql.unsafe(
        `UPDATE ${table} SET position = ${cases}, timestamp = ${cases}, journal = ?, updated_at = ${now}
        WHERE projection = ? AND source = ? AND slice IN (${moves.map(() => "?").join(",")})
        AND (slice, position, timestamp) IN (${moves.map(() => "(?,?,?)").join(",")}) AND revision = ?`,
        [
          ...to("position"),
          ...to("timestamp"),
          journal,
          key.projection,
          key.source,
          ...moves.map(({ slice }) => slice),
          ...moves.flatMap(({ from, slice }) => [slice, from?.position ?? 0, from?.timestamp ?? 0]),
          revision
        ]
      ),
      moves.length
    )
  }
}

const hasMoved = ({ raw }: Statement<unknown>, moves: number): Effect.Effect<boolean, SqlError> =>
  Effect.map(raw, (result) => Number((result as any).numAffectedRows ?? 0) === moves)
