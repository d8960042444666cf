/**
 * The offset store in the tables of a SQL database.
 *
 * @since 0.1.0
 */
import type { Offset } from "@sluice/core/Offset"
import { Fenced, journalOf, type Move, type OffsetKey, OffsetStore } from "@sluice/core/OffsetStore"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type { Slice } from "@sluice/core/Slice"
import type { Timestamp } from "@sluice/core/Timestamp"
import { Transaction } from "@sluice/core/Transaction"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { type Kysely, sql } from "kysely"
import type { Database } from "./Database.ts"
import { textOf } from "./internal/columns.ts"
import { isOf } from "./internal/offsetKey.ts"
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

/** How many rows a statement has at most. */
const maxRows = 500

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
  const storeEntities = Effect.fnUntraced(function*(
    key: OffsetKey,
    moves: ReadonlyArray<Move>
  ): Effect.fn.Return<void, SqlError> {
    const cases = moves.map(({ from, slice }) => sql`WHEN ${sql.lit(slice)} THEN ${sql.lit(from?.position ?? 0)}`)
    yield* database.run(
      db.updateTable("sluice_offset").set({ complete_up_to: sql`CASE slice ${sql.join(cases, sql` `)} END` })
        .where(isOf(key)).where("slice", "in", moves.map((move) => move.slice)).where("complete_up_to", "is", null)
    )
    const rows = moves.flatMap(({ entities }) =>
      Array.from(entities!, ([persistence_id, sequence_number]) => ({ ...key, persistence_id, sequence_number }))
    )
    for (const some of Arr.chunksOf(rows, maxRows)) {
      const insert = db.insertInto("sluice_offset_entity").values(some)
      const before = sql.ref("sluice_offset_entity.sequence_number")
      const greatest = sql.raw(database.dialect === "sqlite" ? "max" : "greatest")
      yield* database.run(
        database.dialect === "mysql"
          ? insert.onDuplicateKeyUpdate({
            sequence_number: sql`GREATEST(sequence_number, VALUES(sequence_number))`
          })
          : insert.onConflict((_) =>
            _.columns(["projection", "source", "persistence_id"]).doUpdateSet((eb) => ({
              sequence_number: sql<number>`${greatest}(${before}, ${eb.ref("excluded.sequence_number")})`
            }))
          )
      )
    }
  })

  return OffsetStore.of({
    load: (key, range) =>
      database.run(
        db.selectFrom("sluice_offset").select(["slice", "position", "timestamp", "journal", "complete_up_to"])
          .where(isOf(key)).where("slice", ">=", range.min).where("slice", "<=", range.max)
      ).pipe(
        Effect.map((rows) => ({
          journal: journalOf(rows.map((row) => row.journal)),
          offsets: new Map(rows.map((row): [Slice, Offset] => [
            row.slice as Slice,
            { position: row.position as Position, timestamp: row.timestamp as Timestamp }
          ])),
          completeUpTo: new Map(rows.flatMap((row) =>
            row.complete_up_to === null ? [] : [[row.slice as Slice, row.complete_up_to as Position] as const]
          ))
        })),
        Effect.mapError(fromSqlError("load offsets"))
      ),
    sequenceNumbers: (key, persistenceIds) =>
      Effect.forEach(Arr.chunksOf(persistenceIds, maxRows), (ids) =>
        database.run(
          db.selectFrom("sluice_offset_entity").select(["persistence_id", "sequence_number"])
            .where(isOf(key)).where("persistence_id", "in", ids)
        )).pipe(
          Effect.map((pages) =>
            new Map(
              pages.flat().map((row) => [
                textOf(row.persistence_id) as PersistenceId,
                row.sequence_number as SequenceNumber
              ])
            )
          ),
          Effect.mapError(fromSqlError("load sequence numbers"))
        ),
    transact: (key, journal, moves, effect) => {
      const leavingOut = moves.filter((move) => move.entities !== undefined)
      return SqlTransaction.run(
        database,
        "move offsets",
        Effect.flatMap(
          Effect.mapError(move(key, journal, moves), fromSqlError("move offsets")),
          (slice) => slice === undefined ? Effect.void : Effect.fail(new Fenced({ ...key, slice }))
        ).pipe(
          Effect.andThen(
            leavingOut.length === 0
              ? Effect.void
              : Effect.mapError(storeEntities(key, leavingOut), fromSqlError("store sequence numbers"))
          ),
          Effect.flatMap(() => Effect.provideService(effect, Transaction, transaction))
        )
      )
    }
  })
}
