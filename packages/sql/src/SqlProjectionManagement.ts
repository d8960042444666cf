/**
 * What projections are told, and what they have put aside, in tables of a SQL database.
 *
 * @since 0.1.0
 */
import type { Metadata } from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import type { OffsetKey } from "@sluice/core/OffsetStore"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import { type DeadLetter, ProjectionManagement } from "@sluice/core/ProjectionManagement"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type { Slice } from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { type Kysely, sql } from "kysely"
import type { AppendSignals } from "./AppendSignals.ts"
import type { Database } from "./Database.ts"
import * as DatabaseClock from "./DatabaseClock.ts"
import { bytesOf, textOf } from "./internal/columns.ts"
import { isOf } from "./internal/offsetKey.ts"
import { jsonOf } from "./JournalRow.ts"
import type { DeadLetterTable, SluiceTables } from "./SluiceTables.ts"
import { fromSqlError } from "./SqlStorageError.ts"

const topicOf = (projection: string): string => `projection|${projection}`

const noSlices: ReadonlySet<Slice> = new Set()

/** Beyond this an error is cut off. */
const maxErrorLength = 10_000

/**
 * The projection management of a database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ database, db, signals }: {
  readonly database: Database["Service"]
  /** Builds queries over Sluice's tables. */
  readonly db: Kysely<SluiceTables>
  readonly signals: AppendSignals
}): ProjectionManagement["Service"] => {
  const { dialect } = database

  const transaction = (
    operation: string,
    effect: Effect.Effect<unknown, SqlError>
  ) => Effect.asVoid(Effect.mapError(database.withTransaction(effect), fromSqlError(operation)))

  const tell = (projection: string, paused: boolean | undefined) => {
    const insert = db.insertInto("sluice_projection").values({
      projection,
      paused: paused === true ? 1 : 0,
      revision: 1
    })
    const change = {
      ...paused === undefined ? {} : { paused: paused ? 1 : 0 },
      revision: dialect === "mysql"
        ? sql<number>`revision + 1`
        : sql<number>`${sql.ref("sluice_projection.revision")} + 1`
    }
    return Effect.andThen(
      database.run(
        dialect === "mysql"
          ? insert.onDuplicateKeyUpdate(change)
          : insert.onConflict((_) => _.column("projection").doUpdateSet(change))
      ),
      database.afterCommit(Effect.sync(() => signals.appended(topicOf(projection), noSlices)))
    )
  }

  return ProjectionManagement.of({
    command: (projection) =>
      database.run(
        db.selectFrom("sluice_projection").select(["paused", "revision"]).where("projection", "=", projection)
      ).pipe(
        Effect.map(([row]) => ({ paused: row?.paused === 1, revision: row?.revision ?? 0 })),
        Effect.mapError(fromSqlError("ask what a projection is told"))
      ),
    tell: (projection, paused) => transaction("tell a projection", tell(projection, paused)),
    changes: (projection) => signals.subscribe(topicOf(projection)),
    rewind: (key, { journal, offsets }) =>
      transaction(
        "rewind a projection",
        Effect.gen(function*() {
          const updated_at = yield* DatabaseClock.now(dialect)
          const rows = Array.from(SliceRange.slices(SliceRange.full), (slice) => {
            const { position, timestamp } = offsets.get(slice) ?? Offset.make(0, 0)
            return { ...key, slice, position, timestamp, journal: journal ?? "", complete_up_to: null, updated_at }
          })
          const changed = ["position", "timestamp", "journal", "complete_up_to", "updated_at"] as const
          const insert = db.insertInto("sluice_offset").values(rows)
          yield* database.run(
            dialect === "mysql"
              ? insert.onDuplicateKeyUpdate(
                Object.fromEntries(changed.map((column) => [column, sql`VALUES(${sql.ref(column)})`]))
              )
              : insert.onConflict((_) =>
                _.columns(["projection", "source", "slice"]).doUpdateSet((eb) =>
                  Object.fromEntries(changed.map((column) => [column, eb.ref(`excluded.${column}`)]))
                )
              )
          )
          yield* database.run(db.deleteFrom("sluice_offset_entity").where(isOf(key)))
          yield* tell(key.projection, undefined)
        })
      ),
    clear: (key) =>
      transaction(
        "clear a projection",
        Effect.gen(function*() {
          yield* database.run(db.deleteFrom("sluice_offset").where(isOf(key)))
          yield* database.run(db.deleteFrom("sluice_offset_entity").where(isOf(key)))
          yield* database.run(db.deleteFrom("sluice_dead_letter").where(isOf(key)))
          yield* tell(key.projection, undefined)
        })
      ),
    list: database.run(
      db.selectFrom("sluice_offset").select(["projection", "source"]).distinct()
        .orderBy("projection").orderBy("source")
    ).pipe(
      Effect.map((rows) => rows.map((row) => ({ projection: textOf(row.projection), source: textOf(row.source) }))),
      Effect.mapError(fromSqlError("list projections"))
    ),
    putAside: ({ envelope, error, key }) =>
      transaction(
        "put an event aside",
        Effect.flatMap(DatabaseClock.now(dialect), (put_aside_at) => {
          const values = {
            slice: envelope.slice,
            position: envelope.position ?? null,
            timestamp: envelope.timestamp,
            manifest: envelope.payload?.manifest ?? null,
            payload: envelope.payload === undefined ? null : bytesOf(envelope.payload.bytes),
            tags: jsonOf(envelope.tags),
            metadata: jsonOf(envelope.metadata),
            // PostgreSQL has no text with a zero in it
            error: error.slice(0, maxErrorLength).replaceAll("\0", "\\0"),
            put_aside_at
          }
          const { persistenceId: persistence_id, sequenceNumber: sequence_number } = envelope
          const insert = db.insertInto("sluice_dead_letter").values({
            ...key,
            persistence_id,
            sequence_number,
            ...values
          })
          return database.run(
            dialect === "mysql"
              ? insert.onDuplicateKeyUpdate(values)
              : insert.onConflict((_) =>
                _.columns(["projection", "source", "persistence_id", "sequence_number"]).doUpdateSet(values)
              )
          )
        })
      ),
    deadLetters: (key, after, limit) =>
      database.run(
        db.selectFrom("sluice_dead_letter").selectAll().where(isOf(key)).where((eb) =>
          after === undefined ? eb.lit(true) : eb.or([
            eb("persistence_id", ">", after.persistenceId),
            eb.and([
              eb("persistence_id", "=", after.persistenceId),
              eb("sequence_number", ">", after.sequenceNumber)
            ])
          ])
        ).orderBy("persistence_id").orderBy("sequence_number").limit(limit)
      ).pipe(
        Effect.map((rows) => rows.map((row) => toDeadLetter(key, row))),
        Effect.mapError(fromSqlError("list dead letters"))
      ),
    discard: (key, { persistenceId, sequenceNumber }) =>
      database.run(
        db.deleteFrom("sluice_dead_letter").where(isOf(key))
          .where("persistence_id", "=", persistenceId).where("sequence_number", "=", sequenceNumber)
      ).pipe(Effect.asVoid, Effect.mapError(fromSqlError("discard a dead letter")))
  })
}

const toDeadLetter = (key: OffsetKey, row: DeadLetterTable): DeadLetter => ({
  key,
  envelope: {
    persistenceId: textOf(row.persistence_id) as PersistenceId,
    sequenceNumber: row.sequence_number as SequenceNumber,
    slice: row.slice as Slice,
    position: row.position as Position | null ?? undefined,
    timestamp: row.timestamp as Timestamp,
    tags: row.tags === null ? [] : JSON.parse(row.tags) as ReadonlyArray<string>,
    metadata: row.metadata === null ? {} : JSON.parse(row.metadata) as Metadata,
    payload: row.payload === null ? undefined : { manifest: row.manifest!, bytes: row.payload }
  },
  error: row.error,
  at: row.put_aside_at as Timestamp
})
