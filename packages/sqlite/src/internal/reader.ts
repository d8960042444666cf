import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Floor from "@sluice/core/Floor"
import { type JournalReader, maxPageBytes } from "@sluice/core/Journal"
import type { Offset, Offsets } from "@sluice/core/Offset"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import { count as SliceCount, type Slice } from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import { columns, type JournalRow, sizeOf, toEnvelope } from "@sluice/sql/adapter/JournalRow"
import * as ReadOutcome from "@sluice/sql/adapter/ReadOutcome"
import type Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import { sql } from "kysely"
import { type Connection, type Db, prepare } from "./connection.ts"
import { FilePlan } from "./FilePlan.ts"

const page = (
  statement: Sqlite.Statement<Array<unknown>, any>,
  ...parameters: Array<unknown>
): Array<EncodedEnvelope> => {
  const envelopes: Array<EncodedEnvelope> = []
  let bytes = 0
  for (const row of statement.iterate(...parameters) as Iterable<JournalRow>) {
    envelopes.push(toEnvelope(row))
    bytes += sizeOf(row)
    if (bytes >= maxPageBytes) break
  }
  return envelopes
}

/** Places in logs, which are given as a parameter: `[[slice, position], …]` in JSON. */
const places = sql<{ value: string }>`json_each(${""})`.as("place")
const place = {
  slice: sql<number>`place.value ->> 0`,
  position: sql<number>`place.value ->> 1`
}

/** @internal Runs a function that reads, and may throw. */
export type Run = <A>(operation: string, f: () => A) => Effect.Effect<A, StorageError>

/** @internal Reads the journal on a connection. */
export const makeReading = (connection: Connection, db: Db) => {
  const logs = db.selectFrom("sluice_journal").where("entity_type", "=", "").where("slice", "=", 0)
  // one statement for all logs, however many there are, as statements block the event loop
  const selectHeads = prepare(
    connection,
    db.withRecursive("log", (_) =>
      logs.clearWhere().select((_) => _.fn.min("slice").as("slice"))
        .where("entity_type", "=", "").where("slice", ">=", 0).where("slice", "<=", 0)
        .unionAll(
          _.selectFrom("log").select((_) =>
            _.selectFrom("sluice_journal").select((_) => _.fn.min("slice").as("slice"))
              .where("entity_type", "=", "").whereRef("slice", ">", "log.slice").where("slice", "<=", 0).$asScalar()
              .as("slice")
          ).where("log.slice", "is not", null)
        ))
      .selectFrom("log").crossJoin("sluice_journal as head")
      .select(["head.slice", "head.position", "head.timestamp"])
      .where((_) =>
        _("head.timestamp", "=", (_) =>
          _.selectFrom("sluice_journal").select("timestamp").where("entity_type", "=", "")
            .whereRef("slice", "=", "log.slice").orderBy("position", "desc").limit(1))
      )
  )
  const selectTimestamps = prepare(
    connection,
    db.selectFrom(places).crossJoin("sluice_journal as event").select(["event.slice", "event.timestamp"])
      .where("event.entity_type", "=", "").where("event.slice", "=", place.slice).where(
        "event.position",
        "=",
        place.position
      )
  )
  const selectNext = prepare(
    connection,
    db.selectFrom(places).select((_) =>
      _.fn.min(
        _.selectFrom("sluice_journal").select("timestamp").where("entity_type", "=", "")
          .where("slice", "=", place.slice).where("position", ">", place.position).orderBy("position").limit(1)
          .$asScalar()
      ).as("timestamp")
    )
  ).pluck()
  const selectLast = prepare(
    connection,
    db.selectFrom("sluice_journal").select((_) => _.fn.max("timestamp").as("timestamp")).where("entity_type", "=", "")
  ).pluck()
  const selectPage = prepare(
    connection,
    db.selectFrom("sluice_journal").select(columns)
      .where("entity_type", "=", "").where("timestamp", ">", 0)
      .where("slice", ">=", 0).where("slice", "<=", 0)
      .orderBy("timestamp").limit(1)
  )
  const selectFloors = prepare(
    connection,
    db.selectFrom("sluice_floor").select(["slice", "position", "timestamp"])
      .where("entity_type", "=", "").where("slice", ">=", 0).where("slice", "<=", 0)
  )
  const selectEntity = prepare(
    connection,
    db.selectFrom("sluice_journal").select(columns)
      .where("persistence_id", "=", "").where("sequence_number", ">=", 0).where("sequence_number", "<=", 0)
      .orderBy("sequence_number").limit(1)
  )

  /** A timestamp before all unread events. */
  const before = (entityType: string, range: SliceRange.SliceRange, start: Offsets): number => {
    let after = Infinity
    let isBeginning = range.min === 0 && range.max === SliceCount - 1
    const begun: Array<readonly [Slice, number]> = []
    for (const slice of SliceRange.slices(range)) {
      const { position, timestamp } = start.get(slice) ?? { position: 0, timestamp: 0 }
      if (position === 0 && timestamp > 0) after = Math.min(after, timestamp - 1)
      else begun.push([slice, position])
      if (position > 0 || timestamp > 0) isBeginning = false
    }
    if (isBeginning) return 0
    if (begun.length > 0) {
      const next: number | null = selectNext.get(entityType, 1, JSON.stringify(begun))
      if (next !== null) after = Math.min(after, next - 1)
    }
    // new events will be later than all that are there
    return Math.min(after, selectLast.get(entityType) ?? 0)
  }

  const heads = (entityType: string, range: SliceRange.SliceRange): Offsets =>
    new Map(
      (selectHeads.all(entityType, range.min, range.max, entityType, range.max, entityType, 1) as Array<
        { slice: Slice } & Offset
      >).map(({ position, slice, timestamp }) => [slice, { position, timestamp }])
    )

  const timestamps = (
    entityType: string,
    positions: ReadonlyArray<readonly [Slice, number]>
  ): ReadonlyMap<Slice, Timestamp> => {
    if (positions.length === 0) return new Map()
    const json = JSON.stringify(positions)
    return new Map(
      (selectTimestamps.all(json, entityType) as Array<{ slice: Slice; timestamp: Timestamp }>)
        .map(({ slice, timestamp }) => [slice, timestamp])
    )
  }

  const floors = (entityType: string, range: SliceRange.SliceRange): Offsets =>
    new Map(
      (selectFloors.all(entityType, range.min, range.max) as Array<{ slice: Slice } & Offset>)
        .map(({ position, slice, timestamp }) => [slice, { position, timestamp }])
    )

  return {
    heads,

    entity: (persistenceId: PersistenceId, from: SequenceNumber, to: SequenceNumber, limit: number) =>
      page(selectEntity, persistenceId, from, to, limit),

    floors,

    timestamps,

    wrong: (entityType: string, range: SliceRange.SliceRange, start: Offsets) => {
      const places = Array.from(start).flatMap(([slice, { position }]): ReadonlyArray<readonly [Slice, number]> =>
        position > 0 && SliceRange.contains(range, slice) ? [[slice, position]] : []
      )
      const found = timestamps(entityType, places)
      return Floor.check({
        entityType,
        range,
        start,
        floors: floors(entityType, range),
        timestampAt: (slice) => found.get(slice)
      })
    },

    reader: (
      run: Run,
      entityType: string,
      range: SliceRange.SliceRange,
      start: Offsets,
      marks: () => number
    ): JournalReader => {
      const plan = new FilePlan(range, start, before(entityType, range, start))

      const { settle } = ReadOutcome.settling(
        entityType,
        (range) => run("read the floors", () => floors(entityType, range))
      )

      const next: JournalReader["next"] = (limit) =>
        Effect.suspend(() => {
          const signals = marks()
          return plan.isAtEnd(signals) ? Effect.succeed([]) : Effect.flatMap(
            run("read the journal", () => page(selectPage, entityType, plan.after, range.min, range.max, limit)),
            (found) => settle(plan.page(found, signals), () => next(limit))
          )
        })
      return { next, pass: (events) => plan.pass(events, marks()) }
    }
  }
}
