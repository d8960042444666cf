import type { Basis, Move, OffsetKey } from "@sluice/core/OffsetStore"
import * as Naming from "@sluice/sql/adapter/Naming"
import type { Database } from "@sluice/sql/Database"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"

/** @internal Moves offsets by compare-and-set, all in one statement; see `SqlOffsetStore`. */
export const makeMove = (database: Database["Service"], naming: Naming.Naming) => {
  const table = Naming.quoted("postgres", naming, "sluice_offset")
  const update = `UPDATE ${table} o SET position = m.to_position, timestamp = m.to_timestamp, journal = $3,
      updated_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    FROM unnest($5::smallint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
      m(slice, from_position, from_timestamp, to_position, to_timestamp)
    WHERE o.projection = $1 AND o.source = $2 AND o.slice = m.slice
      AND o.position = m.from_position AND o.timestamp = m.from_timestamp AND o.revision = $4
    RETURNING 1`

  return (
    key: OffsetKey,
    { journal, revision }: Basis,
    moves: ReadonlyArray<Move>
  ): Effect.Effect<boolean, SqlError> =>
    Effect.map(
      database.sql.unsafe(update, [
        key.projection,
        key.source,
        journal,
        revision,
        moves.map((move) => move.slice),
        moves.map((move) => move.from?.position ?? 0),
        moves.map((move) => move.from?.timestamp ?? 0),
        moves.map((move) => move.to.position),
        moves.map((move) => move.to.timestamp)
      ]),
      (rows) => rows.length === moves.length
    )
}
