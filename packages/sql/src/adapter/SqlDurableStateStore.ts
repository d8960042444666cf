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
  type DurableStateStore,
  type EncodedState,
  isForked,
  make as makeStore,
  type Revision,
  RevisionConflict,
  toEnvelope
} from "@sluice/core/DurableStateStore"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { type Journal, JournalForked, maxPageBytes } from "@sluice/core/Journal"
import { LogCursor } from "@sluice/core/LogCursor"
import type { Offset, Offsets } from "@sluice/core/Offset"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SqlError } from "effect/sql/SqlError"
import { type Kysely, type RawBuilder, sql } from "kysely"
import type { Database } from "../Database.ts"
import { bytesOf, textOf } from "../internal/columns.ts"
import type { SluiceTables, StateTable } from "../SluiceTables.ts"
import * as DatabaseClock from "./DatabaseClock.ts"
import type { Dialect } from "./Dialect.ts"
import type { TimeCursor } from "./JournalDialect.ts"
import { decodeTags, encodeTags } from "./JournalRow.ts"
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

/** How many slices are asked for in one query. */
const maxSlices = 128

/** A larger state is read on its own, once it is known to fit the page: a page of the smaller ones has `maxPageBytes` at most. */
const smallBytes = 8192
const maxPageRows = maxPageBytes / smallBytes

const integerTypes: Record<Dialect, RawBuilder<unknown>> = {
  sqlite: sql`INTEGER`,
  postgres: sql`bigint`,
  mysql: sql`SIGNED`
}

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

  /** The last revision, and whether there is a state. */
  const currentOf = (persistenceId: PersistenceId) => {
    const select = db.selectFrom("sluice_state")
      .select(["revision", (_) => _("payload", "is not", null).as("is_there")])
      .where("persistence_id", "=", persistenceId)
    return Effect.map(
      // as others have committed it by now, also where the transaction sees an older state
      database.run(dialect === "sqlite" ? select : select.forUpdate()),
      ([row]) => ({ revision: (row?.revision ?? 0) as Revision, isThere: Boolean(row?.is_there) })
    )
  }

  const integer = (value: number) => sql<number>`CAST(${value} AS ${integerTypes[dialect]})`

  /** What is next to each offset, the state at its position included. */
  const neighbours = (entityType: string, offsets: ReadonlyArray<readonly [slice: Slice.Slice, offset: Offset]>) => {
    const [first, ...rest] = offsets.map(([slice, { position }]) =>
      db.selectNoFrom([integer(slice).as("slice"), integer(position).as("position")])
    )
    const log = sql`${sql.ref("entity_type")} = ${entityType} AND ${sql.ref("sluice_state.slice")} = ${
      sql.ref("o.slice")
    }`
    return Effect.map(
      database.run(
        db.selectFrom(rest.reduce<typeof first & {}>((all, next) => all.unionAll(next) as any, first!).as("o")).select([
          "o.slice",
          (eb) =>
            eb.selectFrom("sluice_state").select("sluice_state.position").where(sql<boolean>`${log}`)
              .whereRef("sluice_state.position", "<=", "o.position").orderBy("sluice_state.position", "desc").limit(1)
              .as("before_position"),
          (eb) =>
            eb.selectFrom("sluice_state").select("sluice_state.timestamp").where(sql<boolean>`${log}`)
              .whereRef("sluice_state.position", "<=", "o.position").orderBy("sluice_state.position", "desc").limit(1)
              .as("before_timestamp"),
          (eb) =>
            eb.selectFrom("sluice_state").select("sluice_state.timestamp").where(sql<boolean>`${log}`)
              .whereRef("sluice_state.position", ">", "o.position").orderBy("sluice_state.position").limit(1)
              .as("after_timestamp")
        ])
      ),
      (rows) => new Map(rows.map((row) => [row.slice as Slice.Slice, row]))
    )
  }

  /** Fails when an offset is not in the logs as they are now. */
  const verify = Effect.fnUntraced(function*(
    entityType: string,
    range: SliceRange.SliceRange,
    start: Offsets
  ): Effect.fn.Return<void, JournalForked | SqlError> {
    const asked = [...start].filter(([slice, { position }]) => position > 0 && SliceRange.contains(range, slice))
    for (let i = 0; i < asked.length; i += maxSlices) {
      const some = asked.slice(i, i + maxSlices)
      const found = yield* neighbours(entityType, some)
      for (const [slice, offset] of some) {
        const { after_timestamp: after, before_position, before_timestamp } = found.get(slice)!
        const before = before_position === null ? undefined : { position: before_position, timestamp: before_timestamp }
        if (
          isForked(
            offset,
            before as Offset | undefined,
            after === null ? undefined : { position: offset.position + 1 as Position, timestamp: after as Timestamp }
          )
        ) return yield* new JournalForked({ entityType, slice, offset })
      }
    }
  })

  const bytes = sql<number>`COALESCE(OCTET_LENGTH(payload), 0) + COALESCE(OCTET_LENGTH(tags), 0) +
    COALESCE(OCTET_LENGTH(metadata), 0)`
  const ifSmall = <Column extends "payload" | "tags" | "metadata">(column: Column) =>
    sql<StateTable[Column]>`CASE WHEN ${bytes} <= ${sql.lit(smallBytes)} THEN ${sql.ref(column)} END`.as(column)

  /** The changes of an entity type: where they are and how large, and what is in the small ones. */
  const changesOf = (entityType: string) =>
    db.selectFrom("sluice_state")
      .select(["persistence_id", "revision", "slice", "position", "timestamp", "manifest"])
      .select([bytes.as("bytes"), ifSmall("payload"), ifSmall("tags"), ifSmall("metadata")])
      .where("entity_type", "=", entityType)

  /** Up to `each` changes that follow in each log, in the order of time. */
  const findInLogs = (
    entityType: string,
    logs: ReadonlyArray<readonly [slice: Slice.Slice, after: Offset]>,
    each: number
  ): Effect.Effect<ReadonlyArray<Found>, SqlError> => {
    const [first, ...rest] = logs.map(([slice, { position, timestamp }]) =>
      db.selectFrom(
        changesOf(entityType).where("slice", "=", slice)
          .where("position", ">", position).where("timestamp", ">=", position === 0 ? timestamp : 0)
          .orderBy("position").limit(each).as(`s${slice}`)
      ).selectAll()
    )
    return Effect.map(
      database.run(rest.reduce<typeof first & {}>((all, next) => all.unionAll(next) as any, first!)),
      (found) => found.toSorted((a, b) => a.timestamp - b.timestamp || a.slice - b.slice)
    )
  }

  /** Up to `limit` changes of the range that come next in the order of time. */
  const findByTime = (
    entityType: string,
    range: SliceRange.SliceRange,
    after: TimeCursor,
    limit: number
  ): Effect.Effect<ReadonlyArray<Found>, SqlError> => {
    // which keeps to the index of times, or all changes would be sorted for each page
    const slice = sql<number>`slice + 0`
    return database.run(
      changesOf(entityType).where(slice, ">=", range.min).where(slice, "<=", range.max)
        .where("timestamp", ">=", after.timestamp)
        .where((_) => _.or([_("timestamp", ">", after.timestamp), _("slice", ">", after.slice)]))
        .orderBy("timestamp").orderBy("slice").limit(limit)
    )
  }

  /**
   * The first of the changes that were found, up to `maxPageBytes` of them all. The large ones are read now that it is known that they
   * fit. One that was changed meanwhile is left out, as it is further on in its log by then.
   */
  const readPage = Effect.fnUntraced(function*(found: ReadonlyArray<Found>): Effect.fn.Return<Page, SqlError> {
    let total = 0
    const fits = found.findIndex((row) => {
      if (total >= maxPageBytes) return true
      total += row.bytes
      return false
    })
    const rows = fits < 0 ? found : found.slice(0, fits)
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
    return { rows, isCut: fits >= 0, states }
  })

  const makeReader = (
    entityType: string,
    range: SliceRange.SliceRange,
    start: Offsets,
    byTime: boolean
  ): ChangeReader => {
    /** Where no change is any more is no gap: the entity has changed again, further on. */
    const cursor = new LogCursor(range, start)
    const marks = signals.states.marks(entityType)
    const seen = new Float64Array(Slice.count).fill(-1)
    const behind = new Set<Slice.Slice>()
    /** The heads when they were asked for last. */
    let probed: Offsets = new Map()
    /** What is read in the order of time: up to the heads, as what is committed later may be older than what others have. */
    let window: { readonly after: TimeCursor; readonly end: number } | undefined
    /** Fewer where states are large, as a database may have to read all of them to tell their sizes. */
    let pageRows = maxPageRows

    const forked = (slice: Slice.Slice) => new JournalForked({ entityType, slice, offset: cursor.offset(slice) })

    /** Finds the logs that have more. */
    const probe = Effect.suspend(() => {
      const changed: Array<readonly [Slice.Slice, number]> = []
      for (const slice of SliceRange.slices(range)) {
        if (seen[slice] !== marks[slice]) changed.push([slice, marks[slice]!])
      }
      return changed.length === 0 ? Effect.void : Effect.flatMap(heads(database, db, entityType, range), (heads) => {
        for (const [slice, { position, timestamp }] of heads) {
          const verdict = cursor.verdict(slice, position, timestamp)
          if (verdict === "fork" || position < cursor.position(slice)) return Effect.fail(forked(slice))
          if (verdict !== "alreadyDelivered") behind.add(slice)
        }
        for (const [slice, mark] of changed) seen[slice] = mark
        probed = heads
        return Effect.void
      })
    })

    /** Goes past what was read. */
    const pass = (rows: Page["rows"]): Effect.Effect<void, JournalForked> => {
      for (const { position, slice, timestamp } of rows as ReadonlyArray<EncodedState>) {
        if (cursor.verdict(slice, position, timestamp) === "fork") return Effect.fail(forked(slice))
        cursor.advance(slice, position, timestamp)
      }
      return Effect.void
    }

    const load = Effect.fnUntraced(function*(
      found: ReadonlyArray<Found>
    ): Effect.fn.Return<Page, JournalForked | SqlError> {
      const page = yield* readPage(found)
      pageRows = page.isCut ? page.rows.length * 2 : Math.min(maxPageRows, pageRows * 4)
      yield* pass(page.rows)
      return page
    })

    const nextInLogs = Effect.fnUntraced(function*(
      limit: number
    ): Effect.fn.Return<ReadonlyArray<EncodedEnvelope>, JournalForked | SqlError> {
      if (behind.size === 0) yield* probe
      while (behind.size > 0) {
        const count = Math.min(limit, pageRows)
        const slices = [...behind].slice(0, Math.min(maxSlices, count))
        const each = Math.floor(count / slices.length)
        const found = yield* findInLogs(entityType, slices.map((slice) => [slice, cursor.offset(slice)]), each)
        const { isCut, rows, states } = yield* load(found)
        const counts = new Map<Slice.Slice, number>()
        for (const { slice } of rows as ReadonlyArray<EncodedState>) counts.set(slice, (counts.get(slice) ?? 0) + 1)
        if (!isCut) { for (const slice of slices) if ((counts.get(slice) ?? 0) < each) behind.delete(slice) }
        if (states.length > 0) return states.map(toEnvelope)
      }
      return []
    })

    /** When the first change was made that is not read of logs that have more. */
    const firstOf = Effect.fnUntraced(function*(
      slices: ReadonlyArray<Slice.Slice>
    ): Effect.fn.Return<number, SqlError> {
      let first = Infinity
      const begun = slices.filter((slice) => cursor.offset(slice).position > 0)
      for (const slice of slices) {
        const { position, timestamp } = cursor.offset(slice)
        if (position === 0) first = Math.min(first, timestamp)
      }
      for (let i = 0; i < begun.length; i += maxSlices) {
        const some = yield* neighbours(
          entityType,
          begun.slice(i, i + maxSlices).map((slice) => [slice, cursor.offset(slice)] as const)
        )
        for (const { after_timestamp } of some.values()) first = Math.min(first, after_timestamp ?? Infinity)
      }
      return first
    })

    const nextByTime = Effect.fnUntraced(function*(
      limit: number
    ): Effect.fn.Return<ReadonlyArray<EncodedEnvelope>, JournalForked | SqlError> {
      while (true) {
        if (window === undefined) {
          if (behind.size === 0) yield* probe
          if (behind.size === 0) return []
          const timestamp = yield* firstOf([...behind])
          let end = 0
          for (const slice of behind) end = Math.max(end, probed.get(slice)?.timestamp ?? 0)
          if (timestamp > end) {
            behind.clear()
            continue
          }
          window = { after: { timestamp, slice: -1 }, end }
        }
        const { after, end } = window
        const count = Math.min(limit, pageRows)
        const found = yield* findByTime(entityType, range, after, count)
        const unread = (found as ReadonlyArray<Found & Pick<EncodedState, "slice">>).filter(
          ({ position, slice, timestamp }) =>
            position <= (probed.get(slice)?.position ?? 0) &&
            cursor.verdict(slice, position, timestamp) !== "alreadyDelivered"
        )
        const { isCut, rows, states } = yield* load(unread)
        const last = isCut ? rows.at(-1)! : found.at(-1)
        window = last === undefined || !isCut && found.length < count || last.timestamp > end
          ? undefined
          : { after: last, end }
        if (window === undefined) behind.clear()
        if (states.length > 0) return states.map(toEnvelope)
      }
    })
    const next = byTime ? nextByTime : nextInLogs

    return {
      next: (limit) => Effect.catchTag(next(limit), "SqlError", (error) => Effect.fail(readFailed(error)))
    }
  }

  return makeStore(journal, {
    get: (persistenceId) =>
      database.run(db.selectFrom("sluice_state").select(columns).where("persistence_id", "=", persistenceId)).pipe(
        Effect.mapError(fromSqlError("get a state")),
        Effect.map(([row]) => row === undefined ? Option.none() : Option.some(toState(row)))
      ),
    change: ({ entityType, event, expected, metadata, payload, persistenceId, tags }) => {
      const slice = Slice.ofPersistenceId(persistenceId)
      const statements = Effect.gen(function*() {
        const head = yield* advance(entityType, slice)
        const { isThere, revision: actual } = yield* currentOf(persistenceId)
        if (actual !== expected && (isThere || expected !== 0)) {
          return yield* new RevisionConflict({ persistenceId, expected, actual })
        }
        const revision = actual + 1 as Revision
        const values = {
          revision,
          position: head.position,
          timestamp: head.timestamp,
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
        return revision
      }).pipe(Effect.catchTag("SqlError", (error) => Effect.fail(fromSqlError("change a state")(error))))

      return SqlTransaction.run(
        database,
        "change a state",
        Effect.gen(function*() {
          const revision = yield* statements
          if (event !== undefined) {
            yield* journal.append({ entityType, persistenceId, expected: "any", events: [event], recheck: false })
          }
          yield* database.afterCommit(
            Effect.sync(() => signals.changed(entityType, new Set([slice])))
          )
          return revision
        })
      )
    },
    heads: (entityType, range) =>
      Effect.mapError(heads(database, db, entityType, range), fromSqlError("read the heads")),
    before: (entityType, range, time) =>
      database.run(
        db.selectFrom("sluice_state").select((eb) => [
          "slice",
          eb.fn.max("position").as("position"),
          eb.fn.max("timestamp").as("timestamp")
        ]).where("entity_type", "=", entityType).where("slice", ">=", range.min).where("slice", "<=", range.max)
          .where("timestamp", "<", time).groupBy("slice")
      ).pipe(
        Effect.map((rows) =>
          new Map(rows.map(({ position, slice, timestamp }) => [
            slice as Slice.Slice,
            { position: position as Position, timestamp: timestamp as Timestamp }
          ]))
        ),
        Effect.mapError(fromSqlError("look for a time"))
      ),
    reader: (entityType, range, start, options) =>
      verify(entityType, range, start).pipe(
        Effect.catchTag("SqlError", (error) => Effect.fail(readFailed(error))),
        Effect.map(() => makeReader(entityType, range, start, options?.byTime ?? false))
      ),
    changes: signals.states.subscribe
  })
}

/** A change whose content may be too large to be read before it is known how large it is. */
interface Found extends Pick<StateTable, typeof columns[number]> {
  readonly bytes: number
}

/** What was found, and what became of it: `rows` says up to where the logs were read, and `states` has what is to be seen. */
interface Page {
  readonly rows: ReadonlyArray<Pick<StateTable, "slice" | "position" | "timestamp">>
  /** Whether there was more, for which there was no room. */
  readonly isCut: boolean
  readonly states: ReadonlyArray<EncodedState>
}

const readFailed = fromSqlError("read changes of states")

const toState = (row: Pick<StateTable, typeof columns[number]>): EncodedState => ({
  persistenceId: textOf(row.persistence_id) as PersistenceId,
  revision: row.revision as Revision,
  slice: row.slice as Slice.Slice,
  position: row.position as Position,
  timestamp: row.timestamp as Timestamp,
  tags: decodeTags(row.tags),
  metadata: MetadataColumn.decode(row.metadata).metadata,
  payload: row.payload === null ? undefined : { manifest: row.manifest!, bytes: row.payload }
})
