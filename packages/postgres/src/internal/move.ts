import type { Basis, Move, OffsetKey } from "@sluice/core/OffsetStore"
import type { Statement } from "@sluice/core/Transaction"
import * as Naming from "@sluice/sql/adapter/Naming"
import type { Database } from "@sluice/sql/Database"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import * as Binary from "./binaryArray.ts"

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
    RETURNING 1 AS moved`
  const one = update("$5::smallint", (parameter, type) => `$${parameter}::${type}`)
  // a row for each would be read one by one
  const several = `WITH moved AS (${
    update(
      "ANY($5::smallint[])",
      (parameter, type) => `($${parameter}::${type}[])[width_bucket(o.slice, $5::smallint[])]`
    )
  }) SELECT count(*)::int AS moved FROM moved`

  const moveStatement = (key: OffsetKey, { journal, revision }: Basis, moves: ReadonlyArray<Move>): Statement => {
    const { projection, source } = key
    const [only] = moves
    if (only !== undefined && moves.length === 1) {
      const { from, slice, to } = only
      const before = [from?.position ?? 0, from?.timestamp ?? 0]
      return {
        sql: one,
        parameters: [projection, source, journal, revision, slice, ...before, to.position, to.timestamp]
      }
    }
    const sorted = moves.toSorted((a, b) => a.slice - b.slice)
    const numbers = (of: (move: Move) => number) => Binary.bigints(sorted.map(of))
    return {
      sql: several,
      parameters: [
        projection,
        source,
        journal,
        revision,
        Binary.smallints(sorted.map(({ slice }) => slice)),
        numbers(({ from }) => from?.position ?? 0),
        numbers(({ from }) => from?.timestamp ?? 0),
        numbers(({ to }) => to.position),
        numbers(({ to }) => to.timestamp)
      ]
    }
  }

  const move = (key: OffsetKey, basis: Basis, moves: ReadonlyArray<Move>): Effect.Effect<boolean, SqlError> =>
    Effect.map(
      database.execute(moveStatement(key, basis, moves)),
      (rows) => (rows as ReadonlyArray<{ readonly moved: number }>)[0]?.moved === moves.length
    )

  return { move, moveStatement }
}
