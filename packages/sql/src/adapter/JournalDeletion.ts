/**
 * Deleting events from the journal's table, so that readers can tell a deleted event from one that is missing.
 *
 * @since 0.1.0
 */
import { isPrunable, type Journal, type PruneOptions, ReplicatedEvents, sourceKey } from "@sluice/core/Journal"
import type { Offset, Offsets } from "@sluice/core/Offset"
import { entityType as entityTypeOf, type PersistenceId } from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import { deletedError } from "@sluice/core/ProjectionManagement"
import type * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { type Expression, type ExpressionBuilder, type Kysely, sql, type SqlBool } from "kysely"
import type { Database } from "../Database.ts"
import { textOf } from "../internal/columns.ts"
import { retryRefusedAs } from "../internal/retryRefused.ts"
import type { SluiceTables } from "../SluiceTables.ts"
import type { JournalDialect } from "./JournalDialect.ts"
import * as MetadataColumn from "./MetadataColumn.ts"
import { fromSqlError } from "./SqlStorageError.ts"

/** The transaction is tried again, and what is wrong with the database is said as for others. */
const retried = retryRefusedAs((error) => isSqlError(error) ? error : undefined)
const asStorageError =
  (what: string) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, Exclude<E, SqlError> | StorageError, R> =>
    Effect.mapError(self, (error) => isSqlError(error) ? fromSqlError(what)(error) : error as Exclude<E, SqlError>)

const lastOf = (upTo: Offsets | undefined, slice: Slice.Slice): number =>
  upTo === undefined ? Infinity : upTo.get(slice)?.position ?? 0

/** How many events a transaction looks at. */
const batchSize = 500

/** At so many of the newest events is looked to tell whether a type is replicated: those from before it was come first. */
const newest = 100

/**
 * The deleting part of a journal.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ database, db, dialect, heads }: {
  readonly database: Database["Service"]
  readonly dialect?: Pick<JournalDialect, "remove"> | undefined
  readonly heads: Journal["Service"]["heads"]
  /** Builds queries over Sluice's tables. */
  readonly db: Kysely<SluiceTables>
}): Pick<Journal["Service"], "deleteEvents" | "prune" | "floors"> => {
  const log = (entityType: string, slice: number) =>
    db.selectFrom("sluice_journal").where("entity_type", "=", entityType).where("slice", "=", slice)

  const remove: NonNullable<JournalDialect["remove"]> = dialect?.remove ??
    ((entityType, slice, positions) =>
      database.run(
        db.deleteFrom("sluice_journal").where("entity_type", "=", entityType).where("slice", "=", slice)
          .where("position", "in", positions)
      ))

  const floors = (entityType: string, range: SliceRange.SliceRange) =>
    Effect.map(
      database.run(
        db.selectFrom("sluice_floor").select(["slice", "position", "timestamp"])
          .where("entity_type", "=", entityType).where("slice", ">=", range.min).where("slice", "<=", range.max)
      ),
      (rows) =>
        new Map(rows.map(({ position, slice, timestamp }): [Slice.Slice, Offset] => [
          slice as Slice.Slice,
          { position: position as Position, timestamp: timestamp as Timestamp }
        ]))
    )

  /**
   * Removes some of the events after a position and before the head, and returns how far it came and how many it
   * removed. It takes no lock. That is safe: meanwhile an entity's newest event can only become an older one, never the
   * other way round.
   */
  const removeSome = Effect.fnUntraced(function*(
    entityType: string,
    slice: number,
    before: number,
    after: number,
    head: number,
    included: PruneOptions["included"]
  ): Effect.fn.Return<{ readonly position: number; readonly removed: number } | undefined, SqlError | StorageError> {
    const rows = yield* database.run(
      log(entityType, slice).select(["position", "timestamp", "persistence_id", "sequence_number"])
        .select((eb) => eb("payload", "is", null).as("is_empty"))
        .where("position", ">", after).where("position", "<", head)
        .orderBy("position").limit(batchSize)
    )
    // timestamps rise with positions
    const old = rows.filter(({ timestamp }) => timestamp < before)
    const last = old.at(-1)
    if (last === undefined) return undefined
    const ids = [...new Set(old.map((row) => textOf(row.persistence_id)))]
    const newest = new Map(
      (yield* database.run(
        db.selectFrom("sluice_journal").select(["persistence_id", (eb) => eb.fn.max("sequence_number").as("newest")])
          .where("persistence_id", "in", ids)
          .groupBy("persistence_id")
      )).map((row) => [textOf(row.persistence_id), row.newest])
    )
    const snapshots = included && (yield* included(ids as Array<PersistenceId>))
    const removable = old.filter((row) => {
      const id = textOf(row.persistence_id)
      return isPrunable(
        { sequenceNumber: row.sequence_number, isEmpty: Boolean(row.is_empty) },
        newest.get(id)!,
        snapshots && (snapshots.get(id as PersistenceId) ?? 0)
      )
    })
    const lastRemoved = removable.at(-1)
    if (lastRemoved !== undefined) {
      yield* remove(entityType, slice, removable.map(({ position }) => position))
      yield* emptyLetters(
        entityType,
        (eb) =>
          eb.or(
            removable.map((row) =>
              eb.and([eb("persistence_id", "=", row.persistence_id), eb("sequence_number", "=", row.sequence_number)])
            )
          )
      )
      // later ones stay, and are there for whoever has read up to here
      yield* raise(entityType, slice, lastRemoved)
    }
    return { position: last.position, removed: removable.length }
  })

  /** The newest events are of replicas, or some of them. */
  const isReplicated = (entityType: string) =>
    Effect.map(
      database.run(
        db.selectFrom("sluice_journal").select("metadata").where("entity_type", "=", entityType)
          .orderBy("timestamp", "desc").limit(newest)
      ),
      (rows) => rows.some(({ metadata }) => MetadataColumn.isReplicated(metadata))
    )

  /** Whether an event of a replica is among those that are looked at, where the newest ones do not tell: they may have been emptied. */
  const hasReplicated = (entityType: string, slice: number, before: number, head: number) =>
    Effect.map(
      database.run(
        log(entityType, slice).select("position").where("position", "<", head).where("timestamp", "<", before)
          .where("metadata", "like", MetadataColumn.replicatedPattern).limit(1)
      ),
      ({ length }) => length > 0
    )

  /** Fails where the entity has an event of a replica, also one that is to stay. */
  const refuseReplicated = (persistenceId: PersistenceId) =>
    Effect.flatMap(
      database.run(
        db.selectFrom("sluice_journal").select("sequence_number").where("persistence_id", "=", persistenceId)
          .where("metadata", "like", MetadataColumn.replicatedPattern).limit(1)
      ),
      (rows) =>
        rows.length === 0
          ? Effect.void
          : Effect.fail(new ReplicatedEvents({ entityType: entityTypeOf(persistenceId), persistenceId }))
    )

  /** Dead letters of the events are deleted with them. */
  const emptyLetters = (
    entityType: string,
    which: (eb: ExpressionBuilder<SluiceTables, "sluice_dead_letter">) => Expression<SqlBool>
  ) =>
    database.run(
      db.updateTable("sluice_dead_letter")
        .set({ manifest: null, payload: null, tags: null, metadata: null, error: deletedError })
        .where("source", "=", sourceKey(entityType)).where(which)
    )

  const raise = (
    entityType: string,
    slice: number,
    { position, timestamp }: Record<"position" | "timestamp", number>
  ) => {
    const insert = db.insertInto("sluice_floor").values({ entity_type: entityType, slice, position, timestamp })
    const greatest = sql.raw(database.dialect === "sqlite" ? "max" : "greatest")
    const highest = (column: "position" | "timestamp", value: number) =>
      database.dialect === "mysql"
        ? sql<number>`GREATEST(${sql.ref(column)}, ${value})`
        : sql<number>`${greatest}(${sql.ref(`sluice_floor.${column}`)}, ${value})`
    const values = { position: highest("position", position), timestamp: highest("timestamp", timestamp) }
    return database.run(
      database.dialect === "mysql"
        ? insert.onDuplicateKeyUpdate(values)
        : insert.onConflict((_) => _.columns(["entity_type", "slice"]).doUpdateSet(values))
    )
  }

  return {
    deleteEvents: (persistenceId, to, { evenReplicated = false } = {}) => {
      const empty = database.withTransaction(Effect.andThen(
        Effect.andThen(
          evenReplicated ? Effect.void : refuseReplicated(persistenceId),
          database.run(
            db.updateTable("sluice_journal").set({ payload: null, tags: null, metadata: null })
              .where("persistence_id", "=", persistenceId).where("sequence_number", "<=", to)
              .where("payload", "is not", null)
          )
        ),
        emptyLetters(
          entityTypeOf(persistenceId),
          (eb) => eb.and([eb("persistence_id", "=", persistenceId), eb("sequence_number", "<=", to)])
        )
      ))
      return Effect.flatMap(
        database.inTransaction,
        // in somebody else's transaction, they have to try again
        (inTransaction) => inTransaction ? empty : retried(empty)
      ).pipe(Effect.asVoid, asStorageError("delete events"))
    },
    floors: (entityType, range) => Effect.mapError(floors(entityType, range), fromSqlError("read the floors")),
    prune: (entityType, before, { evenReplicated = false, included, upTo } = {}) =>
      Effect.gen(function*() {
        const pruning = asStorageError("prune the journal")
        const ends = Array.from(
          yield* heads(entityType, SliceRange.full),
          ([slice, head]) => [slice, Math.min(head.position, lastOf(upTo, slice) + 1)] as const
        )
        if (!evenReplicated) {
          let replicated = yield* pruning(isReplicated(entityType))
          // all of them before the first is removed
          for (const [slice, end] of ends) replicated ||= yield* pruning(hasReplicated(entityType, slice, before, end))
          if (replicated) return yield* new ReplicatedEvents({ entityType, persistenceId: undefined })
        }
        let removed = 0
        for (const [slice, end] of ends) {
          let after = 0
          while (true) {
            const removing = database.withTransaction(removeSome(entityType, slice, before, after, end, included))
            const some = yield* pruning(retried(removing))
            if (some === undefined) break
            after = some.position
            removed += some.removed
          }
        }
        return removed
      })
  }
}
