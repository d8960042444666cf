/**
 * The durable state store in tables of a SQL database.
 *
 * Each change takes the next position of its slice's log, whose head is a row that stays locked until the commit. So the order of the
 * positions is that of the commits. A reader that goes on after the last one it saw misses only states that were changed again. It sees
 * those at their new positions.
 *
 * @since 0.1.0
 */
import {
  type DurableStateStore,
  make as makeStore,
  type Revision,
  RevisionConflict
} from "@sluice/core/DurableStateStore"
import type { Journal } from "@sluice/core/Journal"
import type { Offset, Offsets } from "@sluice/core/Offset"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import * as Slice from "@sluice/core/Slice"
import type { SliceRange } from "@sluice/core/SliceRange"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SqlError } from "effect/sql/SqlError"
import { type Kysely, sql } from "kysely"
import type { Database } from "../Database.ts"
import { bytesOf } from "../internal/columns.ts"
import * as Queries from "../internal/stateQueries.ts"
import * as StateReader from "../internal/stateReader.ts"
import type { SluiceTables } from "../SluiceTables.ts"
import * as DatabaseClock from "./DatabaseClock.ts"
import * as EntityTypes from "./EntityTypes.ts"
import { encodeTags } from "./JournalRow.ts"
import * as MetadataColumn from "./MetadataColumn.ts"
import { fromSqlError } from "./SqlStorageError.ts"
import * as SqlTransaction from "./SqlTransaction.ts"
import type { StorageSignals } from "./StorageSignals.ts"

/**
 * What a durable state store is made of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly database: Database["Service"]
  /** Builds queries over Sluice's tables. */
  readonly db: Kysely<SluiceTables>
  /** Where change events go. */
  readonly journal: Journal["Service"]
  readonly signals: StorageSignals
}

/**
 * The newest position and timestamp of each slice in the range that has changes.
 *
 * @category getters
 * @since 0.1.0
 */
export const heads = (
  database: Database["Service"],
  db: Kysely<SluiceTables>,
  entityType: string,
  range: SliceRange
): Effect.Effect<Offsets, SqlError> => Queries.heads({ database, db }, entityType, range)

/**
 * The durable state store of a database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): DurableStateStore["Service"] => {
  const { database, db, journal, signals } = options
  const { dialect } = database

  /** Locks the log by its head, and returns the next place in it. */
  const nextPlace = Effect.fnUntraced(function*(
    entityType: string,
    slice: Slice.Slice
  ): Effect.fn.Return<Offset, SqlError> {
    const timestamp = yield* DatabaseClock.now(dialect)
    // a head may have been deleted, or set back, by hand: what is in the log is not written over
    const newest = db.selectFrom("sluice_state").where("entity_type", "=", entityType).where("slice", "=", slice)
      .orderBy("position", "desc").limit(1)
    const insert = db.insertInto("sluice_state_head")
    const first = { entity_type: entityType, slice, position: 1, timestamp }
    if (dialect === "mysql") {
      yield* database.run(
        insert.values(first).onDuplicateKeyUpdate({
          position: sql<number>`position + 1`,
          timestamp: sql<number>`GREATEST(timestamp + 1, ${timestamp})`
        })
      )
      // an insert would lock what it reads of the log
      const [row] = yield* database.run(
        db.selectFrom("sluice_state_head").select(["position", "timestamp"])
          .select([newest.select("position").as("last"), newest.select("timestamp").as("time")])
          .where("entity_type", "=", entityType).where("slice", "=", slice).forUpdate()
      )
      const { last, position, time, timestamp: at } = row!
      if (last === null || last < position) return { position, timestamp: at } as unknown as Offset
      const next = { position: last + 1, timestamp: Math.max(time! + 1, at) }
      yield* database.run(
        db.updateTable("sluice_state_head").set(next).where("entity_type", "=", entityType).where("slice", "=", slice)
      )
      return next as unknown as Offset
    }
    const greatest = sql.raw(dialect === "sqlite" ? "max" : "greatest")
    const after = (column: "position" | "timestamp") => sql<number>`COALESCE((${newest.select(column)}), 0) + 1`
    const [row] = yield* database.run(
      insert.values({
        ...first,
        position: after("position"),
        timestamp: sql`${greatest}(${after("timestamp")}, ${timestamp})`
      })
        .onConflict((_) =>
          _.columns(["entity_type", "slice"]).doUpdateSet({
            position: sql<number>`${greatest}(${sql.ref("sluice_state_head.position")} + 1, excluded.position)`,
            timestamp: sql<number>`${greatest}(${sql.ref("sluice_state_head.timestamp")} + 1, excluded.timestamp)`
          })
        ).returning(["position", "timestamp"])
    )
    return row as unknown as Offset
  })

  /** The last revision, and whether there is a state: by the newest committed row, although the transaction may see an older one. */
  const currentOf = (persistenceId: PersistenceId) => {
    const select = db.selectFrom("sluice_state")
      .select(["revision", (_) => _("payload", "is not", null).as("is_there")])
      .where("persistence_id", "=", persistenceId)
    return Effect.map(
      database.run(dialect === "sqlite" ? select : select.forUpdate()),
      ([row]) => ({ revision: (row?.revision ?? 0) as Revision, isThere: Boolean(row?.is_there) })
    )
  }

  return makeStore(journal, {
    get: (persistenceId) =>
      database.run(db.selectFrom("sluice_state").select(Queries.columns).where("persistence_id", "=", persistenceId))
        .pipe(
          Effect.mapError(fromSqlError("get a state")),
          Effect.map(([row]) => row === undefined ? Option.none() : Option.some(Queries.toState(row)))
        ),
    change: ({ entityType, event, expected, metadata, payload, persistenceId, tags }) => {
      const slice = Slice.ofPersistenceId(persistenceId)
      const statements = Effect.gen(function*() {
        const place = yield* nextPlace(entityType, slice)
        const { isThere, revision: actual } = yield* currentOf(persistenceId)
        if (actual !== expected && (isThere || expected !== 0)) {
          return yield* new RevisionConflict({ persistenceId, expected, actual })
        }
        const revision = actual + 1 as Revision
        const values = {
          revision,
          position: place.position,
          timestamp: place.timestamp,
          manifest: payload === undefined ? null : payload.manifest,
          payload: payload === undefined ? null : bytesOf(payload.bytes),
          tags: encodeTags(tags),
          metadata: MetadataColumn.encode({ metadata })
        }
        yield* database.run(
          actual === 0
            ? db.insertInto("sluice_state")
              .values({ persistence_id: persistenceId, entity_type: entityType, slice, ...values })
            : db.updateTable("sluice_state").set(values).where("persistence_id", "=", persistenceId)
        )
        return { revision, position: place.position, timestamp: place.timestamp }
      }).pipe(Effect.catchTag("SqlError", (error) => Effect.fail(fromSqlError("change a state")(error))))

      return SqlTransaction.run(
        database,
        "change a state",
        Effect.gen(function*() {
          const changed = yield* statements
          if (event !== undefined) {
            yield* journal.append({ entityType, persistenceId, expected: "any", events: [event], recheck: false })
          }
          yield* database.afterCommit(
            Effect.sync(() => signals.changed(entityType, new Set([slice])))
          )
          return changed
        })
      )
    },
    entityTypes: (limit) => EntityTypes.find(database, db, "sluice_state_head", limit),
    heads: (entityType, range) =>
      Effect.mapError(Queries.heads(options, entityType, range), fromSqlError("read the heads")),
    before: (entityType, range, time) =>
      database.run(
        db.selectFrom("sluice_state").select((eb) => [
          "slice",
          eb.fn.max("position").as("position"),
          eb.fn.max("timestamp").as("timestamp")
        ]).where("entity_type", "=", entityType).where("slice", ">=", range.min).where("slice", "<=", range.max)
          .where("timestamp", "<", time).groupBy("slice")
      ).pipe(
        Effect.map((rows) => Queries.toOffsets(rows)),
        Effect.mapError(fromSqlError("look for a time"))
      ),
    reader: (entityType, range, start, { byTime = false } = {}) =>
      Queries.verify(options, entityType, range, start).pipe(
        Effect.catchTag("SqlError", (error) => Effect.fail(StateReader.readFailed(error))),
        Effect.map(() => StateReader.make({ ...options, entityType, range, start, byTime }))
      ),
    changes: signals.states.subscribe
  })
}
