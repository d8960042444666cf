import type { Move, OffsetKey } from "@sluice/core/OffsetStore"
import type { Slice } from "@sluice/core/Slice"
import type { Database } from "@sluice/sql/Database"
import * as Naming from "@sluice/sql/Naming"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"

const firstMissing = (
  moves: ReadonlyArray<Move>,
  rows: ReadonlyArray<{ readonly slice: Slice }>
): Slice | undefined => {
  if (rows.length === moves.length) return undefined
  const moved = new Set(rows.map((row) => row.slice))
  return moves.find((move) => !moved.has(move.slice))!.slice
}

/** @internal Moves offsets by compare-and-set, all in one statement; see `SqlOffsetStore`. */
export const makeMove = (database: Database["Service"], naming: Naming.Naming) => {
  const table = Naming.quoted("postgres", naming, "sluice_offset")
  const now = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
  const update =
    `UPDATE ${table} o SET position = m.to_position, timestamp = m.to_timestamp, journal = $3, updated_at = ${now}
    FROM unnest($4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
      m(slice, from_position, from_timestamp, to_position, to_timestamp)
    WHERE o.projection = $1 AND o.source = $2 AND o.slice = m.slice
      AND o.position = m.from_position AND o.timestamp = m.from_timestamp
    RETURNING o.slice`
  const insert = `INSERT INTO ${table} (projection, source, slice, position, timestamp, journal, updated_at)
    SELECT $1, $2, m.slice, m.to_position, m.to_timestamp, $3, ${now}
    FROM unnest($4::smallint[], $5::bigint[], $6::bigint[]) m(slice, to_position, to_timestamp)
    ON CONFLICT DO NOTHING RETURNING slice`

  return (key: OffsetKey, journal: string, moves: ReadonlyArray<Move>): Effect.Effect<Slice | undefined, SqlError> =>
    Effect.gen(function*() {
      const known = moves.filter((move) => move.from !== undefined)
      if (known.length > 0) {
        const rows = yield* database.sql.unsafe<{ slice: Slice }>(update, [
          key.projection,
          key.source,
          journal,
          known.map((move) => move.slice),
          known.map((move) => move.from!.position),
          known.map((move) => move.from!.timestamp),
          known.map((move) => move.to.position),
          known.map((move) => move.to.timestamp)
        ])
        const fenced = firstMissing(known, rows)
        if (fenced !== undefined) return fenced
      }
      const first = moves.filter((move) => move.from === undefined)
      if (first.length === 0) return undefined
      const rows = yield* database.sql.unsafe<{ slice: Slice }>(insert, [
        key.projection,
        key.source,
        journal,
        first.map((move) => move.slice),
        first.map((move) => move.to.position),
        first.map((move) => move.to.timestamp)
      ])
      return firstMissing(first, rows)
    })
}
