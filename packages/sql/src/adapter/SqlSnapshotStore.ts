/**
 * The snapshot store in a table of a SQL database.
 *
 * @since 0.1.0
 */
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import { type Criteria, type EncodedSnapshot, SnapshotStore } from "@sluice/core/SnapshotStore"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ExpressionBuilder, Kysely, Selectable } from "kysely"
import type { Database } from "../Database.ts"
import { bytesOf, textOf } from "../internal/columns.ts"
import { upsert } from "../internal/upsert.ts"
import type { SluiceTables } from "../SluiceTables.ts"
import * as DatabaseClock from "./DatabaseClock.ts"
import * as MetadataColumn from "./MetadataColumn.ts"
import { fromSqlError } from "./SqlStorageError.ts"

/**
 * The snapshot store of a database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ database, db }: {
  readonly database: Database["Service"]
  /** Builds queries over Sluice's tables. */
  readonly db: Kysely<SluiceTables>
}): SnapshotStore["Service"] =>
  SnapshotStore.of({
    save: ({ metadata, payload, persistenceId, sequenceNumber }) =>
      Effect.flatMap(DatabaseClock.now(database.dialect), (timestamp) => {
        const insert = db.insertInto("sluice_snapshot").values({
          persistence_id: persistenceId,
          sequence_number: sequenceNumber,
          timestamp,
          manifest: payload.manifest,
          payload: bytesOf(payload.bytes),
          metadata: MetadataColumn.encode({ metadata })
        })
        const changed = ["timestamp", "manifest", "payload", "metadata"] as const
        return database.run(upsert(database.dialect, insert, ["persistence_id", "sequence_number"], changed))
      }).pipe(Effect.mapError(fromSqlError("save a snapshot")), Effect.asVoid),
    load: (persistenceId, criteria) =>
      database.run(
        db.selectFrom("sluice_snapshot")
          .select(columns)
          .where(meets(persistenceId, criteria))
          .orderBy("sequence_number", "desc").limit(1)
      ).pipe(
        Effect.mapError(fromSqlError("load a snapshot")),
        Effect.map(([row]) => row === undefined ? Option.none() : Option.some(snapshotOf(row)))
      ),
    newest: (persistenceIds) =>
      persistenceIds.length === 0 ? Effect.succeed(new Map()) : database.run(newest(db, persistenceIds)).pipe(
        Effect.mapError(fromSqlError("find snapshots")),
        Effect.map((rows) =>
          new Map(
            rows.map((row) => [textOf(row.persistence_id) as PersistenceId, row.sequence_number as SequenceNumber])
          )
        )
      ),
    loadNewest: (persistenceIds) =>
      persistenceIds.length === 0 ? Effect.succeed([]) : database.run(
        db.selectFrom("sluice_snapshot")
          .innerJoin(
            newest(db, persistenceIds).as("newest"),
            (join) =>
              join.onRef("newest.persistence_id", "=", "sluice_snapshot.persistence_id")
                .onRef("newest.sequence_number", "=", "sluice_snapshot.sequence_number")
          )
          .select(columns)
      ).pipe(
        Effect.mapError(fromSqlError("load snapshots")),
        Effect.map((rows) => rows.map(snapshotOf))
      ),
    list: (persistenceId) =>
      database.run(
        db.selectFrom("sluice_snapshot").select(["sequence_number", "timestamp"])
          .where("persistence_id", "=", persistenceId).orderBy("sequence_number", "desc")
      ).pipe(
        Effect.mapError(fromSqlError("list snapshots")),
        Effect.map((rows) =>
          rows.map((row) => ({
            sequenceNumber: row.sequence_number as SequenceNumber,
            timestamp: row.timestamp as Timestamp
          }))
        )
      ),
    delete: (persistenceId, criteria) =>
      Effect.asVoid(database.run(db.deleteFrom("sluice_snapshot").where(meets(persistenceId, criteria)))).pipe(
        Effect.mapError(fromSqlError("delete snapshots"))
      )
  })

const columns = [
  "sluice_snapshot.persistence_id",
  "sluice_snapshot.sequence_number",
  "timestamp",
  "manifest",
  "payload",
  "metadata"
] as const

const newest = (db: Kysely<SluiceTables>, persistenceIds: ReadonlyArray<PersistenceId>) =>
  db.selectFrom("sluice_snapshot")
    .select(({ fn }) => ["persistence_id", fn.max("sequence_number").as("sequence_number")])
    .where("persistence_id", "in", persistenceIds)
    .groupBy("persistence_id")

const snapshotOf = (
  row: Pick<
    Selectable<SluiceTables["sluice_snapshot"]>,
    "persistence_id" | "sequence_number" | "timestamp" | "manifest" | "payload" | "metadata"
  >
): EncodedSnapshot => ({
  persistenceId: textOf(row.persistence_id) as PersistenceId,
  sequenceNumber: row.sequence_number as SequenceNumber,
  timestamp: row.timestamp as Timestamp,
  payload: { manifest: row.manifest, bytes: row.payload },
  metadata: MetadataColumn.decode(row.metadata).metadata
})

const meets =
  (persistenceId: PersistenceId, criteria: Criteria) => (eb: ExpressionBuilder<SluiceTables, "sluice_snapshot">) => {
    const { maxSequenceNumber, maxTimestamp, minSequenceNumber, minTimestamp } = criteria
    return eb.and([
      eb("persistence_id", "=", persistenceId),
      ...(minSequenceNumber === undefined ? [] : [eb("sequence_number", ">=", minSequenceNumber)]),
      ...(maxSequenceNumber === undefined ? [] : [eb("sequence_number", "<=", maxSequenceNumber)]),
      ...(minTimestamp === undefined ? [] : [eb("timestamp", ">=", minTimestamp)]),
      ...(maxTimestamp === undefined ? [] : [eb("timestamp", "<=", maxTimestamp)])
    ])
  }
