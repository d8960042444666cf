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

  const update = (key: OffsetKey, journal: string, moves: ReadonlyArray<Move>) => {
    const derived = moves.map(({ from, slice, to }) =>
      `SELECT ${slice} AS slice, ${from!.position} AS fp, ${
        from!.timestamp
      } AS ft, ${to.position} AS tp, ${to.timestamp} AS tt`
    )
    return affected(
      `UPDATE ${table} o JOIN (${derived.join(" UNION ALL ")}) m ON o.slice = m.slice
        AND o.position = m.fp AND o.timestamp = m.ft
        SET o.position = m.tp, o.timestamp = m.tt, o.journal = ?, o.updated_at = ${now}
        WHERE o.projection = ? AND o.source = ?`,
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
