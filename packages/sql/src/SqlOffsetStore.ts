/**
 * The offset store in the tables of a SQL database.
 *
 * @since 0.1.0
 */
import type { Offset } from "@sluice/core/Offset"
import { Fenced, journalOf, type Move, type OffsetKey, OffsetStore } from "@sluice/core/OffsetStore"
import type { Position } from "@sluice/core/Position"
import type { Slice } from "@sluice/core/Slice"
import type { Timestamp } from "@sluice/core/Timestamp"
import { Transaction } from "@sluice/core/Transaction"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Kysely } from "kysely"
import type { Database } from "./Database.ts"
import type { SluiceTables } from "./SluiceTables.ts"
import { fromSqlError } from "./SqlStorageError.ts"
import * as SqlTransaction from "./SqlTransaction.ts"

/**
 * The database, and how it moves offsets.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly database: Database["Service"]
  /** Builds queries over Sluice's tables. */
  readonly db: Kysely<SluiceTables>
  /**
   * Moves the offsets by compare-and-set, in the order given and in the fiber's transaction, and returns the slice of the first that is not
   * where it was expected.
   */
  readonly move: (
    key: OffsetKey,
    journal: string,
    moves: ReadonlyArray<Move>
  ) => Effect.Effect<Slice | undefined, SqlError>
}

/**
 * The offset store of a database. Its transactions are those of the database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ database, db, move }: Options): OffsetStore["Service"] => {
  const transaction = Transaction.of({
    dialect: database.dialect,
    execute: ({ parameters, sql }) =>
      database.sql.unsafe(sql, parameters).pipe(Effect.mapError(fromSqlError("run a statement")))
  })
  return OffsetStore.of({
    load: (key, range) =>
      database.run(
        db.selectFrom("sluice_offset").select(["slice", "position", "timestamp", "journal"])
          .where("projection", "=", key.projection).where("source", "=", key.source)
          .where("slice", ">=", range.min).where("slice", "<=", range.max)
      ).pipe(
        Effect.map((rows) => ({
          journal: journalOf(rows.map((row) => row.journal)),
          offsets: new Map(rows.map((row): [Slice, Offset] => [
            row.slice as Slice,
            { position: row.position as Position, timestamp: row.timestamp as Timestamp }
          ]))
        })),
        Effect.mapError(fromSqlError("load offsets"))
      ),
    transact: (key, journal, moves, effect) =>
      SqlTransaction.run(
        database,
        "move offsets",
        Effect.flatMap(
          Effect.mapError(move(key, journal, moves), fromSqlError("move offsets")),
          (slice) => slice === undefined ? Effect.void : Effect.fail(new Fenced({ ...key, slice }))
        ).pipe(Effect.flatMap(() => Effect.provideService(effect, Transaction, transaction)))
      )
  })
}
