/**
 * The durable state store in tables of a SQL database.
 *
 * Each change takes the next position of its slice's log, whose head is a row that stays locked until the commit. So the order of the
 * positions is that of the commits, and a reader that goes on after the last one it saw misses nothing but states that were changed
 * again, which it sees at their new positions.
 *
 * @since 0.1.0
 */
import {
  type ChangeReader,
  DurableStateStore,
  type EncodedState,
  type Revision,
  RevisionConflict
} from "@sluice/core/DurableStateStore"
import type { EncodedEnvelope, Metadata } from "@sluice/core/Envelope"
import type { Journal } from "@sluice/core/Journal"
import type { Offset, Offsets } from "@sluice/core/Offset"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SqlError } from "effect/sql/SqlError"
import { type Kysely, sql } from "kysely"
import { type AppendSignals, stateTopic } from "./AppendSignals.ts"
import type { Database } from "./Database.ts"
import * as DatabaseClock from "./DatabaseClock.ts"
import { bytesOf, textOf } from "./internal/columns.ts"
import { jsonOf } from "./JournalRow.ts"
import type { SluiceTables, StateTable } from "./SluiceTables.ts"
import { fromSqlError } from "./SqlStorageError.ts"
import * as SqlTransaction from "./SqlTransaction.ts"

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
  readonly signals: AppendSignals
}

/** How many slices are asked for in one query. */
const maxSlices = 128

const columns = [
  "persistence_id",
  "revision",
  "slice",
  "position",
  "timestamp",
  "manifest",
  "payload",
  "tags",
  "metadata"
] as const satisfies ReadonlyArray<keyof StateTable>

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
  range: SliceRange.SliceRange
): Effect.Effect<Offsets, SqlError> =>
  Effect.map(
    database.run(
      db.selectFrom("sluice_state_head").select(["slice", "position", "timestamp"])
        .where("entity_type", "=", entityType).where("slice", ">=", range.min).where("slice", "<=", range.max)
    ),
    (rows) =>
      new Map(rows.map(({ position, slice, timestamp }) => [
        slice as Slice.Slice,
        { position: position as Position, timestamp: timestamp as Timestamp }
      ]))
  )

/**
 * The durable state store of a database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ database, db, journal, signals }: Options): DurableStateStore["Service"] => {
  const { dialect } = database

  /** Locks the head of the log, and moves it on. */
  const advance = Effect.fnUntraced(function*(
    entityType: string,
    slice: Slice.Slice
  ): Effect.fn.Return<Offset, SqlError> {
    const timestamp = yield* DatabaseClock.now(dialect)
    const insert = db.insertInto("sluice_state_head").values({ entity_type: entityType, slice, position: 1, timestamp })
    const position = sql.ref<number>("sluice_state_head.position")
    const last = sql.ref<number>("sluice_state_head.timestamp")
    if (dialect === "mysql") {
      yield* database.run(insert.onDuplicateKeyUpdate({
        position: sql<number>`position + 1`,
        timestamp: sql<number>`GREATEST(timestamp + 1, ${timestamp})`
      }))
      const [row] = yield* database.run(
        db.selectFrom("sluice_state_head").select(["position", "timestamp"])
          .where("entity_type", "=", entityType).where("slice", "=", slice).forUpdate()
      )
      return row as unknown as Offset
    }
    const greatest = sql.raw(dialect === "sqlite" ? "max" : "greatest")
    const [row] = yield* database.run(
      insert.onConflict((_) =>
        _.columns(["entity_type", "slice"]).doUpdateSet({
          position: sql<number>`${position} + 1`,
          timestamp: sql<number>`${greatest}(${last} + 1, ${timestamp})`
        })
      ).returning(["position", "timestamp"])
    )
    return row as unknown as Offset
  })

  const revisionOf = (persistenceId: PersistenceId): Effect.Effect<Revision, SqlError> => {
    const select = db.selectFrom("sluice_state").select("revision").where("persistence_id", "=", persistenceId)
    return Effect.map(
      // as others have committed it by now, also where the transaction sees an older state
      database.run(dialect === "sqlite" ? select : select.forUpdate()),
      ([row]) => (row?.revision ?? 0) as Revision
    )
  }

  const select = (entityType: string) => db.selectFrom("sluice_state").where("entity_type", "=", entityType)

  const makeReader = (
    entityType: string,
    range: SliceRange.SliceRange,
    start: Offsets
  ): ChangeReader => {
    const read = new Float64Array(Slice.count)
    const from = new Float64Array(Slice.count)
    for (const [slice, { position, timestamp }] of start) {
      read[slice] = position
      if (position === 0) from[slice] = timestamp
    }
    const marks = signals.marks(stateTopic(entityType))
    const seen = new Float64Array(Slice.count).fill(-1)
    const behind = new Set<Slice.Slice>()

    const probe = Effect.suspend(() => {
      let changed = false
      for (const slice of SliceRange.slices(range)) {
        if (seen[slice] === marks[slice]) continue
        seen[slice] = marks[slice]!
        changed = true
      }
      return !changed ? Effect.void : Effect.map(heads(database, db, entityType, range), (heads) => {
        for (const [slice, { position, timestamp }] of heads) {
          if (position > read[slice]! && timestamp >= from[slice]!) behind.add(slice)
        }
      })
    })

    const next = (limit: number): Effect.Effect<ReadonlyArray<EncodedEnvelope>, SqlError> =>
      Effect.suspend(() => {
        if (behind.size === 0) return Effect.succeed([])
        const slices = [...behind].slice(0, Math.min(maxSlices, limit))
        const each = Math.floor(limit / slices.length)
        const [first, ...rest] = slices.map((slice) =>
          db.selectFrom(
            select(entityType).select(columns).where("slice", "=", slice)
              .where("position", ">", read[slice]!).where("timestamp", ">=", from[slice]!)
              .orderBy("position").limit(each).as(`s${slice}`)
          ).selectAll()
        )
        return Effect.flatMap(
          database.run(rest.reduce<typeof first & {}>((all, next) => all.unionAll(next) as any, first!)),
          (rows) => {
            const counts = new Map<number, number>()
            const states = rows.map(toState).toSorted((a, b) => a.timestamp - b.timestamp || a.slice - b.slice)
            for (const { position, slice } of states) {
              read[slice] = position
              counts.set(slice, (counts.get(slice) ?? 0) + 1)
            }
            for (const slice of slices) if ((counts.get(slice) ?? 0) < each) behind.delete(slice)
            return states.length > 0 ? Effect.succeed(states.map(toEnvelope)) : next(limit)
          }
        )
      })

    return {
      next: (limit) =>
        Effect.mapError(
          behind.size > 0 ? next(limit) : Effect.andThen(probe, next(limit)),
          fromSqlError("read changes of states")
        )
    }
  }

  return DurableStateStore.of({
    identity: journal.identity,
    now: journal.now,
    get: (persistenceId) =>
      database.run(db.selectFrom("sluice_state").select(columns).where("persistence_id", "=", persistenceId)).pipe(
        Effect.mapError(fromSqlError("get a state")),
        Effect.map(([row]) => row === undefined ? Option.none() : Option.some(toState(row)))
      ),
    change: ({ entityType, event, expected, metadata, payload, persistenceId, tags }) => {
      const slice = Slice.ofPersistenceId(persistenceId)
      const statements = Effect.gen(function*() {
        const head = yield* advance(entityType, slice)
        const actual = yield* revisionOf(persistenceId)
        if (actual !== expected) return actual
        const values = {
          revision: actual + 1,
          position: head.position,
          timestamp: head.timestamp,
          manifest: payload === undefined ? null : payload.manifest,
          payload: payload === undefined ? null : bytesOf(payload.bytes),
          tags: jsonOf(tags),
          metadata: jsonOf(metadata)
        }
        yield* database.run(
          actual === 0
            ? db.insertInto("sluice_state")
              .values({ persistence_id: persistenceId, entity_type: entityType, slice, ...values })
            : db.updateTable("sluice_state").set(values).where("persistence_id", "=", persistenceId)
        )
        return undefined
      }).pipe(Effect.mapError(fromSqlError("change a state")))

      return SqlTransaction.run(
        database,
        "change a state",
        Effect.gen(function*() {
          const actual = yield* statements
          if (actual !== undefined) return yield* new RevisionConflict({ persistenceId, expected, actual })
          if (event !== undefined) {
            yield* journal.append({ entityType, persistenceId, expected: "any", events: [event], recheck: false })
          }
          yield* database.afterCommit(
            Effect.sync(() => signals.appended(stateTopic(entityType), new Set([slice])))
          )
          return expected + 1 as Revision
        })
      )
    },
    heads: (entityType, range) =>
      Effect.mapError(heads(database, db, entityType, range), fromSqlError("read the heads")),
    reader: (entityType, range, start) => Effect.sync(() => makeReader(entityType, range, start)),
    changes: (entityType) => signals.subscribe(stateTopic(entityType))
  })
}

const toState = (row: Pick<StateTable, typeof columns[number]>): EncodedState => ({
  persistenceId: textOf(row.persistence_id) as PersistenceId,
  revision: row.revision as Revision,
  slice: row.slice as Slice.Slice,
  position: row.position as Position,
  timestamp: row.timestamp as Timestamp,
  tags: row.tags === null ? [] : JSON.parse(row.tags) as ReadonlyArray<string>,
  metadata: row.metadata === null ? {} : JSON.parse(row.metadata) as Metadata,
  payload: row.payload === null ? undefined : { manifest: row.manifest!, bytes: row.payload }
})

const toEnvelope = ({ revision, ...state }: EncodedState): EncodedEnvelope => ({
  ...state,
  sequenceNumber: revision as number as SequenceNumber
})
