import { type EncodedState, isForked, type Revision } from "@sluice/core/DurableStateStore"
import { JournalForked, maxPageBytes } from "@sluice/core/Journal"
import type { Offset, Offsets } from "@sluice/core/Offset"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import type { Slice } from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { type Kysely, type RawBuilder, sql } from "kysely"
import type { Dialect } from "../adapter/Dialect.ts"
import type { TimeCursor } from "../adapter/JournalDialect.ts"
import { decodeTags } from "../adapter/JournalRow.ts"
import * as MetadataColumn from "../adapter/MetadataColumn.ts"
import type { Database } from "../Database.ts"
import type { SluiceTables, StateTable } from "../SluiceTables.ts"
import { textOf } from "./columns.ts"
import { type After, type Change, type Cut, maxLogs } from "./StateLogPlan.ts"

/** @internal */
export interface Options {
  readonly database: Database["Service"]
  /** Builds queries over Sluice's tables. */
  readonly db: Kysely<SluiceTables>
}

/** @internal A change whose content may be too large to be read before it is known how large it is. */
export interface Found extends Change, Omit<StateRow, keyof Change> {
  readonly bytes: number
}

/** @internal The changes that were found, with their content. One that was changed meanwhile has none. */
export interface Page extends Cut {
  readonly states: ReadonlyArray<EncodedState>
}

/** A larger state is read on its own, once it is known to fit the page: a page of the smaller ones has `maxPageBytes` at most. */
const smallBytes = 8192

/** @internal How many changes a page has at most. */
export const maxPageRows = maxPageBytes / smallBytes

const integerTypes: Record<Dialect, RawBuilder<unknown>> = {
  sqlite: sql`INTEGER`,
  postgres: sql`bigint`,
  mysql: sql`SIGNED`
}

/** @internal The columns that a state is made of. */
export const columns = [
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

type StateRow = Pick<StateTable, typeof columns[number]>

/** @internal */
export const toState = (row: StateRow): EncodedState => ({
  persistenceId: textOf(row.persistence_id) as PersistenceId,
  revision: row.revision as Revision,
  slice: row.slice as Slice,
  position: row.position as Position,
  timestamp: row.timestamp as Timestamp,
  tags: decodeTags(row.tags),
  metadata: MetadataColumn.decode(row.metadata).metadata,
  payload: row.payload === null ? undefined : { manifest: row.manifest!, bytes: row.payload }
})

/** @internal */
export const toOffsets = (
  rows: ReadonlyArray<{ readonly slice: number; readonly position: number; readonly timestamp: number }>
): Offsets => new Map(rows.map(({ position, slice, timestamp }) => [slice as Slice, { position, timestamp } as Offset]))

/** @internal The newest position and timestamp of each slice in the range that has changes. */
export const heads = (
  { database, db }: Options,
  entityType: string,
  range: SliceRange.SliceRange
): Effect.Effect<Offsets, SqlError> =>
  Effect.map(
    database.run(
      db.selectFrom("sluice_state_head").select(["slice", "position", "timestamp"])
        .where("entity_type", "=", entityType).where("slice", ">=", range.min).where("slice", "<=", range.max)
    ),
    toOffsets
  )

/** The changes next to an offset, before and after it. The one at its position is before it. */
interface Neighbours {
  readonly before: Offset | undefined
  /** When the change after it was made. */
  readonly after: Timestamp | undefined
}

const neighboursIn = (
  { database, db }: Options,
  entityType: string,
  offsets: After
): Effect.Effect<ReadonlyArray<readonly [Slice, Neighbours]>, SqlError> => {
  const integer = (value: number) => sql<number>`CAST(${value} AS ${integerTypes[database.dialect]})`
  const [first, ...rest] = offsets.map(([slice, { position }]) =>
    db.selectNoFrom([integer(slice).as("slice"), integer(position).as("position")])
  )
  const log = db.selectFrom("sluice_state").where("entity_type", "=", entityType)
    .where("sluice_state.slice", "=", sql.ref<number>("o.slice")).limit(1)
  const before = log.where("sluice_state.position", "<=", sql.ref<number>("o.position"))
    .orderBy("sluice_state.position", "desc")
  const after = log.where("sluice_state.position", ">", sql.ref<number>("o.position"))
    .orderBy("sluice_state.position")
  return Effect.map(
    database.run(
      db.selectFrom(rest.reduce<typeof first & {}>((all, next) => all.unionAll(next) as any, first!).as("o")).select([
        "o.slice",
        before.select("sluice_state.position").as("before_position"),
        before.select("sluice_state.timestamp").as("before_timestamp"),
        after.select("sluice_state.timestamp").as("after_timestamp")
      ])
    ),
    (rows) =>
      rows.map(({ after_timestamp, before_position, before_timestamp, slice }) => [slice as Slice, {
        before: before_position === null
          ? undefined
          : { position: before_position, timestamp: before_timestamp } as Offset,
        after: after_timestamp === null ? undefined : after_timestamp as Timestamp
      }])
  )
}

/** @internal The changes next to each of the offsets. */
export const neighbours = (
  options: Options,
  entityType: string,
  offsets: After
): Effect.Effect<ReadonlyMap<Slice, Neighbours>, SqlError> => {
  const parts = Array.from(
    { length: Math.ceil(offsets.length / maxLogs) },
    (_, i) => offsets.slice(i * maxLogs, (i + 1) * maxLogs)
  )
  return Effect.map(
    Effect.forEach(parts, (part) => neighboursIn(options, entityType, part)),
    (found) => new Map(found.flat())
  )
}

/** @internal Fails when an offset is not in the logs as they are now. */
export const verify = Effect.fnUntraced(function*(
  options: Options,
  entityType: string,
  range: SliceRange.SliceRange,
  start: Offsets
): Effect.fn.Return<void, JournalForked | SqlError> {
  const asked = [...start].filter(([slice, { position }]) => position > 0 && SliceRange.contains(range, slice))
  const found = yield* neighbours(options, entityType, asked)
  for (const [slice, offset] of asked) {
    const { after, before } = found.get(slice)!
    const next = after === undefined ? undefined : { position: offset.position + 1 as Position, timestamp: after }
    if (isForked(offset, before, next)) return yield* new JournalForked({ entityType, slice, offset })
  }
})

const bytes = sql<number>`COALESCE(OCTET_LENGTH(payload), 0) + COALESCE(OCTET_LENGTH(tags), 0) +
  COALESCE(OCTET_LENGTH(metadata), 0)`
const ifSmall = <Column extends "payload" | "tags" | "metadata">(column: Column) =>
  sql<StateTable[Column]>`CASE WHEN ${bytes} <= ${sql.lit(smallBytes)} THEN ${sql.ref(column)} END`.as(column)

/** The changes of an entity type: where they are and how large, and what is in the small ones. */
const changesOf = (db: Kysely<SluiceTables>, entityType: string) =>
  db.selectFrom("sluice_state")
    .select(["persistence_id", "revision", "slice", "position", "timestamp", "manifest"])
    .select([bytes.as("bytes"), ifSmall("payload"), ifSmall("tags"), ifSmall("metadata")])
    .where("entity_type", "=", entityType)

/** @internal Up to `each` changes that follow in each log, in the order of time. */
export const findInLogs = (
  { database, db }: Options,
  entityType: string,
  logs: After,
  each: number
): Effect.Effect<ReadonlyArray<Found>, SqlError> => {
  const [first, ...rest] = logs.map(([slice, { position, timestamp }]) =>
    db.selectFrom(
      changesOf(db, entityType).where("slice", "=", slice)
        .where("position", ">", position).where("timestamp", ">=", position === 0 ? timestamp : 0)
        .orderBy("position").limit(each).as(`s${slice}`)
    ).selectAll()
  )
  return Effect.map(
    database.run(rest.reduce<typeof first & {}>((all, next) => all.unionAll(next) as any, first!)),
    (found) => (found as ReadonlyArray<Found>).toSorted((a, b) => a.timestamp - b.timestamp || a.slice - b.slice)
  )
}

/** @internal Up to `limit` changes of the range that come next in the order of time. */
export const findByTime = (
  { database, db }: Options,
  entityType: string,
  range: SliceRange.SliceRange,
  after: TimeCursor,
  limit: number
): Effect.Effect<ReadonlyArray<Found>, SqlError> => {
  // which keeps to the index of times, or all changes would be sorted for each page
  const slice = sql<number>`slice + 0`
  return database.run(
    changesOf(db, entityType).where(slice, ">=", range.min).where(slice, "<=", range.max)
      .where("timestamp", ">=", after.timestamp)
      .where((_) => _.or([_("timestamp", ">", after.timestamp), _("slice", ">", after.slice)]))
      .orderBy("timestamp").orderBy("slice").limit(limit)
  ) as Effect.Effect<ReadonlyArray<Found>, SqlError>
}

/**
 * @internal
 * The first of the changes that were found, up to `maxPageBytes` of them all. The large ones are read now that it is known that they
 * fit. One that was changed meanwhile is left out, as it is further on in its log by then.
 */
export const readPage = Effect.fnUntraced(function*(
  { database, db }: Options,
  found: ReadonlyArray<Found>
): Effect.fn.Return<Page, SqlError> {
  const rows = fitting(found)
  const large = rows.filter((row) => row.bytes > smallBytes)
  const contents = new Map(
    large.length === 0 ? [] : (yield* database.run(
      db.selectFrom("sluice_state").select(["persistence_id", "position", "payload", "tags", "metadata"])
        .where((_) =>
          _.or(
            large.map(({ persistence_id, position }) =>
              _.and([_("persistence_id", "=", persistence_id), _("position", "=", position)])
            )
          )
        )
    )).map((row) => [textOf(row.persistence_id), row])
  )
  const states: Array<EncodedState> = []
  for (const row of rows) {
    const content = row.bytes <= smallBytes ? row : contents.get(textOf(row.persistence_id))
    if (content !== undefined) states.push(toState({ ...row, ...content }))
  }
  return { rows, isCut: rows.length < found.length, states }
})

/** Those that fit a page. The last one may go beyond its end. */
const fitting = (found: ReadonlyArray<Found>): ReadonlyArray<Found> => {
  let total = 0
  const end = found.findIndex((row) => {
    if (total >= maxPageBytes) return true
    total += row.bytes
    return false
  })
  return end < 0 ? found : found.slice(0, end)
}
