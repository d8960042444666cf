import type { Basis, Move, OffsetKey } from "@sluice/core/OffsetStore"
import * as Naming from "@sluice/sql/adapter/Naming"
import type { Database } from "@sluice/sql/Database"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"

/**
 * @internal
 * Moves offsets by compare-and-set, all in one statement; see `SqlOffsetStore`. Rows are found by their key, and the moves of a row
 * by its slice among the sorted slices of all moves. A join with the moves as a table would compare each row of the projection
 * with each move while the table is not analyzed.
 */
export const makeMove = (database: Database["Service"], naming: Naming.Naming) => {
  const table = Naming.quoted("postgres", naming, "sluice_offset")
  const update = (slices: string, of: (parameter: number, type: string) => string) =>
    `UPDATE ${table} o SET position = ${of(8, "bigint")}, timestamp = ${of(9, "bigint")}, journal = $3,
      updated_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    WHERE o.projection = $1 AND o.source = $2 AND o.slice = ${slices}
      AND o.position = ${of(6, "bigint")} AND o.timestamp = ${of(7, "bigint")} AND o.revision = $4
    RETURNING 1`
  const one = update("$5::smallint", (parameter, type) => `$${parameter}::${type}`)
  const several = update(
    "ANY($5::smallint[])",
    (parameter, type) => `($${parameter}::${type}[])[width_bucket(o.slice, $5::smallint[])]`
  )

  return (
    key: OffsetKey,
    { journal, revision }: Basis,
    moves: ReadonlyArray<Move>
  ): Effect.Effect<boolean, SqlError> => {
    const valuesOf = (of: (value: (move: Move) => number) => unknown) => [
      key.projection,
      key.source,
      journal,
      revision,
      of((move) => move.slice),
      of((move) => move.from?.position ?? 0),
      of((move) => move.from?.timestamp ?? 0),
      of((move) => move.to.position),
      of((move) => move.to.timestamp)
    ]
    const sorted = moves.toSorted((a, b) => a.slice - b.slice)
    const rows = moves.length === 1
      ? database.execute({ sql: one, parameters: valuesOf((value) => value(moves[0]!)) })
      : database.execute({ sql: several, parameters: valuesOf((value) => sorted.map(value)) })
    return Effect.map(rows, (rows) => rows.length === moves.length)
  }
}
