/**
 * The journal on a SQL server.
 *
 * @since 0.1.0
 */
import * as Floor from "@sluice/core/Floor"
import { type Journal, type JournalForked, make as makeJournal, type OffsetBelowFloor } from "@sluice/core/Journal"
import type { Offsets } from "@sluice/core/Offset"
import type * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Kysely } from "kysely"
import type { Database } from "../Database.ts"
import * as Appender from "../internal/append/Appender.ts"
import type { SluiceTables } from "../SluiceTables.ts"
import * as EntityTypes from "./EntityTypes.ts"
import * as JournalDeletion from "./JournalDeletion.ts"
import type { JournalDialect } from "./JournalDialect.ts"
import * as LogSearch from "./LogSearch.ts"
import * as SliceLogReader from "./SliceLogReader.ts"
import { fromSqlError } from "./SqlStorageError.ts"
import * as SqlTransaction from "./SqlTransaction.ts"
import type { StorageSignals } from "./StorageSignals.ts"

/**
 * What a journal is made of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly database: Database["Service"]
  /** Builds queries over Sluice's tables. */
  readonly db: Kysely<SluiceTables>
  readonly dialect: JournalDialect
  readonly signals: StorageSignals
  readonly identity: string
  readonly maxEventBytes: number | undefined
  /** How many transactions of single appends are under way at the same time. */
  readonly lanes: number
  /** How many more transactions may wait for a log that somebody has locked. */
  readonly waiters: number
}

/**
 * The journal of a database, for as long as the scope is open.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Journal["Service"], StorageError, Scope.Scope> {
  const { database, dialect, signals } = options

  const append = yield* Appender.make(options)

  const heads = (entityType: string, range: SliceRange.SliceRange): Effect.Effect<Offsets, StorageError> =>
    Effect.mapError(dialect.heads(entityType, range), fromSqlError("read the heads"))
  const deletion = JournalDeletion.make({ ...options, heads })

  /** Fails when an event at one of the offsets is missing, or one after it was deleted. */
  const verify = Effect.fnUntraced(function*(
    entityType: string,
    range: SliceRange.SliceRange,
    offsets: Offsets
  ): Effect.fn.Return<void, JournalForked | OffsetBelowFloor | StorageError> {
    const places = [...offsets].filter(([slice, { position }]) => SliceRange.contains(range, slice) && position > 0)
    const timestamps = places.length === 0
      ? new Map<Slice.Slice, Timestamp>()
      : yield* Effect.mapError(
        dialect.timestamps(entityType, places.map(([slice, { position }]) => [slice, position])),
        fromSqlError("open the journal")
      )
    // after the timestamps: an event that was not found may have been deleted
    const floors = yield* deletion.floors(entityType, range)
    const timestampAt = (slice: Slice.Slice) => timestamps.get(slice)
    const error = Floor.check({ entityType, range, start: offsets, floors, timestampAt })
    if (error !== undefined) return yield* error
  })

  return makeJournal({
    identity: options.identity,
    now: Effect.mapError(dialect.now, fromSqlError("ask for the time")),
    maxEventBytes: options.maxEventBytes,
    transaction: (effect) => SqlTransaction.run(database, "commit", effect),
    afterCommit: database.afterCommit,
    inTransaction: database.inTransaction,
    append,
    entityTypes: (limit) => EntityTypes.find(database, options.db, "sluice_journal", limit),
    heads,
    before: (entityType, range, time) =>
      Effect.gen(function*() {
        return yield* LogSearch.before({
          heads: yield* heads(entityType, range),
          floors: yield* deletion.floors(entityType, range),
          time,
          timestamps: (positions) =>
            Effect.mapError(dialect.timestamps(entityType, positions), fromSqlError("look for a time"))
        })
      }),
    reader: (entityType, range, start, options) =>
      Effect.map(verify(entityType, range, start), () =>
        SliceLogReader.make({
          dialect,
          deletion,
          verify: (offsets) => verify(entityType, range, offsets),
          signals,
          entityType,
          range,
          start,
          byTime: options?.byTime ?? false
        })),
    entity: (persistenceId, from, to, limit) =>
      Effect.mapError(dialect.entity(persistenceId, from, to, limit), fromSqlError("read an entity")),
    ...deletion,
    committed: signals.committed,
    changes: signals.events.subscribe
  })
})
