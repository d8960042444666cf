/**
 * What processes say about their workers, in tables of a SQL database.
 *
 * @since 0.1.0
 */
import {
  HeartbeatStore,
  keptFor,
  type NewReport,
  type Owner,
  type StoredReport,
  type WorkerId
} from "@sluice/core/HeartbeatStore"
import type { Slice } from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import type { WorkerState } from "@sluice/core/WorkerStatus"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import { type ExpressionBuilder, type Kysely, type RawBuilder, sql } from "kysely"
import type { Database } from "../Database.ts"
import { textOf } from "../internal/columns.ts"
import { isOf } from "../internal/offsetKey.ts"
import { retriedTransaction } from "../internal/retriedTransaction.ts"
import { upsert } from "../internal/upsert.ts"
import type { ProcessTable, SluiceTables, WorkerTable } from "../SluiceTables.ts"
import * as DatabaseClock from "./DatabaseClock.ts"
import type { Query } from "./Dialect.ts"
import { fromSqlError } from "./SqlStorageError.ts"

/** So many rows are sent at a time: a statement has room for some 30,000 values. */
const rowsAtOnce = 500

const workerKey = ["incarnation", "projection", "source", "slice_min"] as const

const workerColumns = [
  "slice_max",
  "state",
  "revision",
  "lag_events",
  "lag_millis",
  "rate",
  "eta_millis",
  "restarts",
  "filter_version",
  "past_lag",
  "error_tag",
  "error",
  "error_persistence_id",
  "error_sequence_number",
  "failed_at",
  "stuck_slice",
  "stuck_since"
] as const

/**
 * The heartbeats of a database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ database, db }: {
  readonly database: Database["Service"]
  /** Builds queries over Sluice's tables. */
  readonly db: Kysely<SluiceTables>
}): HeartbeatStore["Service"] => {
  const { dialect } = database
  const operation = "report on workers"

  const run = <A>(query: Query<A>): Effect.Effect<ReadonlyArray<A>, StorageError> =>
    Effect.mapError(database.run(query), fromSqlError(operation))

  const transaction = <A, E>(effect: Effect.Effect<A, E>) => retriedTransaction(database, operation, effect)

  const sign = (owner: Owner, beat_every: number, beat_at: RawBuilder<number>) =>
    run(
      upsert(
        dialect,
        db.insertInto("sluice_process").values({
          incarnation: owner.incarnation,
          name: owner.name,
          beat_every,
          beat_at
        }),
        ["incarnation"],
        ["name", "beat_every", "beat_at"]
      )
    )

  const remove = (incarnations: ReadonlyArray<string | Uint8Array>) =>
    Effect.andThen(
      run(db.deleteFrom("sluice_worker").where("incarnation", "in", incarnations as ReadonlyArray<string>)),
      run(db.deleteFrom("sluice_process").where("incarnation", "in", incarnations as ReadonlyArray<string>))
    )

  return HeartbeatStore.of({
    beat: ({ changed, gone, interval, owner }) =>
      Effect.flatMap(DatabaseClock.now(dialect), (now) => {
        const beat = sign(owner, integer(interval), now)
        if (changed.length === 0 && gone.length === 0) return Effect.asVoid(beat)
        return transaction(Effect.gen(function*() {
          for (const reports of Arr.chunksOf(changed, rowsAtOnce)) {
            const rows = reports.map((report) => toRow(owner, report, now))
            yield* run(upsert(dialect, db.insertInto("sluice_worker").values(rows), workerKey, workerColumns))
          }
          for (const workers of Arr.chunksOf(gone, rowsAtOnce)) {
            yield* run(db.deleteFrom("sluice_worker").where(isOneOf(owner.incarnation, workers)))
          }
          yield* beat
        }))
      }),
    leave: ({ incarnation }) => transaction(Effect.asVoid(remove([incarnation]))),
    forget: Effect.gen(function*() {
      const now = yield* DatabaseClock.now(dialect)
      const silent = yield* run(
        db.selectFrom("sluice_process").select("incarnation").where(
          "beat_at",
          "<",
          sql<number>`${now} - ${sql.lit(keptFor * 1000)}`
        )
      )
      if (silent.length > 0) yield* transaction(remove(silent.map(({ incarnation }) => incarnation)))
    }),
    reports: (projections) =>
      Effect.flatMap(DatabaseClock.now(dialect), (now) =>
        Effect.map(
          run(
            db.selectFrom("sluice_worker as w")
              .innerJoin("sluice_process as p", "p.incarnation", "w.incarnation")
              .leftJoin(
                "sluice_projection_source as s",
                (join) => join.onRef("s.projection", "=", "w.projection").onRef("s.source", "=", "w.source")
              )
              .selectAll("w")
              .select(["p.name", "p.beat_every", "p.beat_at", "s.revision as stored_revision", now.as("now")])
              .where("w.projection", "in", projections)
              .orderBy("w.projection").orderBy("w.source").orderBy("w.slice_min").orderBy("w.incarnation")
          ),
          // a server may say another time in each row
          (rows) => rows.map((row) => toReport({ ...row, now: rows[0]!.now }))
        ))
  })
}

const isOneOf = (incarnation: string, workers: ReadonlyArray<WorkerId>) => (eb: ExpressionBuilder<any, any>) =>
  eb.and([
    eb("incarnation", "=", incarnation),
    eb.or(workers.map(({ key, min }) => eb.and([isOf(key)(eb), eb("slice_min", "=", min)])))
  ])

/** The nearest number that a column keeps, and that is read again. */
const integer = (n: number): number =>
  Math.min(Math.max(Math.round(n) || 0, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER)

const known = (n: number | undefined): number | null => n === undefined ? null : integer(n)

const toRow = (
  { incarnation }: Owner,
  { eta, failure, filterVersion, key, lag, pastLag, range, rate, restarts, revision, state, stuck, timeLag }: NewReport,
  now: RawBuilder<number>
) => ({
  incarnation,
  ...key,
  slice_min: range.min,
  slice_max: range.max,
  state,
  revision: known(revision),
  lag_events: known(lag),
  lag_millis: known(timeLag),
  rate: integer(rate * 1000),
  eta_millis: known(eta),
  restarts: integer(restarts),
  filter_version: known(filterVersion),
  past_lag: known(pastLag),
  error_tag: failure?.tag ?? null,
  error: failure?.message ?? null,
  error_persistence_id: failure?.event?.persistenceId ?? null,
  error_sequence_number: known(failure?.event?.sequenceNumber),
  failed_at: failure === undefined ? null : sql<number>`${now} - ${sql.lit(integer(failure.age * 1000))}`,
  stuck_slice: stuck?.slice ?? null,
  stuck_since: stuck === undefined ? null : sql<number>`${now} - ${sql.lit(integer(stuck.age * 1000))}`
})

const toReport = (
  row: WorkerTable & Pick<ProcessTable, "name" | "beat_every" | "beat_at"> & {
    readonly stored_revision: number | null
    readonly now: number
  }
): StoredReport => ({
  key: { projection: textOf(row.projection), source: textOf(row.source) },
  range: SliceRange.make(row.slice_min, row.slice_max),
  owner: { name: row.name, incarnation: textOf(row.incarnation) },
  interval: row.beat_every,
  at: row.beat_at as Timestamp,
  now: row.now as Timestamp,
  storedRevision: row.stored_revision ?? undefined,
  state: row.state as WorkerState,
  revision: row.revision ?? undefined,
  lag: row.lag_events ?? undefined,
  timeLag: row.lag_millis ?? undefined,
  rate: row.rate / 1000,
  eta: row.eta_millis ?? undefined,
  restarts: row.restarts,
  filterVersion: row.filter_version ?? undefined,
  pastLag: row.past_lag ?? undefined,
  failure: row.error_tag === null ? undefined : {
    tag: row.error_tag,
    message: row.error!,
    event: row.error_persistence_id === null
      ? undefined
      : { persistenceId: textOf(row.error_persistence_id), sequenceNumber: row.error_sequence_number! },
    at: row.failed_at as Timestamp
  },
  stuck: row.stuck_since === null
    ? undefined
    : { slice: (row.stuck_slice ?? undefined) as Slice | undefined, since: row.stuck_since as Timestamp }
})
