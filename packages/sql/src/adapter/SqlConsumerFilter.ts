/**
 * The filters of streams, with all of their versions, in tables of a SQL database.
 *
 * @since 0.1.0
 */
import * as ChangeListeners from "@sluice/core/ChangeListeners"
import {
  ConsumerFilter,
  FilterVersion,
  fromText,
  type HistoryPolicy,
  joinPassed,
  KeptVersions,
  type Newest,
  type NewVersion,
  type Passed,
  pipeline
} from "@sluice/core/ConsumerFilter"
import { toText } from "@sluice/core/EventFilter"
import { type GivenUp, inclusions } from "@sluice/core/GivenUp"
import type { Offset } from "@sluice/core/Offset"
import type { OffsetKey } from "@sluice/core/OffsetStore"
import type { Position } from "@sluice/core/Position"
import type { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import type { Slice } from "@sluice/core/Slice"
import type { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import { type ExpressionBuilder, type Kysely, sql } from "kysely"
import type { Database } from "../Database.ts"
import { textOf } from "../internal/columns.ts"
import { isOf } from "../internal/offsetKey.ts"
import { retriedTransaction } from "../internal/retriedTransaction.ts"
import { shareLocked } from "../internal/shareLocked.ts"
import { sinceOf } from "../internal/sinceOf.ts"
import type { FilterTable, OffsetTable, PassedOverTable, SluiceTables } from "../SluiceTables.ts"
import * as DatabaseClock from "./DatabaseClock.ts"
import type { Query } from "./Dialect.ts"
import { fromSqlError } from "./SqlStorageError.ts"

/** Versions, and the ones before them. */
const withBefore = (versions: ReadonlyArray<number>): ReadonlyArray<number> =>
  versions.flatMap((version) => [version - 1, version])

/** Whether something that a filter has left out may be before the offset of a slice. After a rewind that may be a time. */
const hasLeftOut = (eb: ExpressionBuilder<{ readonly o: OffsetTable }, "o">) =>
  eb.or([
    eb("o.complete_up_to", "<", eb.ref("o.position")),
    eb.and([eb("o.complete_up_to", "is not", null), eb("o.position", "=", 0), eb("o.timestamp", ">", 0)])
  ])

/**
 * The filters of a database, of which the projection management restarts workers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ database, db, management }: {
  readonly database: Database["Service"]
  /** Builds queries over Sluice's tables. */
  readonly db: Kysely<SluiceTables>
  readonly management: ProjectionManagement["Service"]
}): ConsumerFilter["Service"] => {
  const { dialect } = database
  const listeners = ChangeListeners.make()
  const operation = "change a filter"

  const run = <A>(query: Query<A>): Effect.Effect<ReadonlyArray<A>, StorageError> =>
    Effect.mapError(database.run(query), fromSqlError(operation))

  /** Newest first. */
  const versionsOf = (source: string) =>
    db.selectFrom("sluice_filter").selectAll().where("source", "=", source).orderBy("version", "desc")

  const newestRow = (source: string) => Effect.map(run(versionsOf(source).limit(1)), ([row]) => row)

  const newestOf = (source: string) =>
    Effect.flatMap(newestRow(source), (row) => row === undefined ? Effect.undefined : toVersion(row))

  const heads = (source: string) => db.selectFrom("sluice_filter_head").select("version").where("source", "=", source)

  /** Keeps everybody else from storing a version, and workers from reading one, until the end of the transaction. */
  const lock = Effect.fnUntraced(function*(source: string): Effect.fn.Return<number, StorageError> {
    const locked = dialect === "sqlite" ? heads(source) : heads(source).forUpdate()
    const [head] = yield* run(locked)
    if (head !== undefined) return head.version
    // Only for the first: on MySQL and MariaDB an insert of a row that is there shares a lock with others, of whom none gets it for itself then.
    const insert = db.insertInto("sluice_filter_head").values({ source, version: 0 })
    yield* run(dialect === "mysql" ? insert.ignore() : insert.onConflict((_) => _.doNothing()))
    const [inserted] = yield* run(locked)
    return inserted!.version
  })

  /** The versions that have given up the past of something, each by one look into the index: it has a row for each slice of each projection. */
  const givenUpVersions = Effect.fnUntraced(function*(
    source: string
  ): Effect.fn.Return<ReadonlyArray<number>, StorageError> {
    const versions: Array<number> = []
    // MariaDB looks into the index once for a minimum, and reads all rows for the first in its order
    const minimum = db.selectFrom("sluice_given_up").select((eb) => eb.fn.min("version").as("version"))
      .where("source", "=", source)
    let [next] = yield* run(minimum)
    while (next?.version != null) {
      versions.push(next.version)
      ;[next] = yield* run(minimum.where("version", ">", next.version))
    }
    return versions
  })

  /** Deletes the versions up to one of them, but for the newest one by a pipeline, and those that are needed for what is given up. */
  const prune = Effect.fnUntraced(function*(source: string, upTo: number): Effect.fn.Return<void, StorageError> {
    if (upTo <= 0) return
    const [own] = yield* run(
      db.selectFrom("sluice_filter").select((eb) => eb.fn.max("version").as("version"))
        .where("source", "=", source).where("author", "=", pipeline)
    )
    yield* run(
      db.deleteFrom("sluice_filter").where("source", "=", source).where("version", "<=", upTo)
        .where("version", "not in", [own?.version ?? 0, ...withBefore(yield* givenUpVersions(source))])
    )
  })

  const setPast = Effect.fnUntraced(function*(
    source: string,
    history: HistoryPolicy,
    version: number,
    givesUp: NewVersion["givesUp"]
  ): Effect.fn.Return<void, StorageError> {
    yield* run(db.deleteFrom("sluice_passed_over").where("source", "=", source))
    if (givesUp !== undefined) {
      if (givesUp.insteadOf.length > 0) {
        yield* run(
          db.deleteFrom("sluice_given_up").where("source", "=", source).where("version", "in", givesUp.insteadOf)
        )
      }
      yield* run(
        db.insertInto("sluice_given_up").columns(["projection", "source", "slice", "version", "until"]).expression(
          (eb) =>
            eb.selectFrom("sluice_offset as o").select((eb) => [
              "o.projection",
              "o.source",
              "o.slice",
              sql.lit(version).as("version"),
              sinceOf(eb.ref("o.position"), eb.ref("o.timestamp")).as("until")
            ]).where("o.source", "=", source).where(hasLeftOut)
        )
      )
    }
    if (history === "now") {
      yield* run(
        db.insertInto("sluice_passed_over")
          .columns(["projection", "source", "slice", "revision", "position", "timestamp", "up_to"])
          .expression((eb) =>
            eb.selectFrom("sluice_offset as o").innerJoin(
              "sluice_projection_source as s",
              (join) => join.onRef("s.projection", "=", "o.projection").onRef("s.source", "=", "o.source")
            )
              .select((eb) => [
                "o.projection",
                "o.source",
                "o.slice",
                "s.revision",
                // where the timestamp is not known, it is looked through from the beginning
                eb.case().when("o.complete_up_to_time", "is", null).then(0).else(eb.ref("o.complete_up_to")).end()
                  .$notNull().as("from_position"),
                eb.fn.coalesce("o.complete_up_to_time", sql<number>`0`).as("from_timestamp"),
                eb.case().when("o.position", "=", 0).then(sql.lit(Number.MAX_SAFE_INTEGER)).else(eb.ref("o.position"))
                  .end().as("up_to")
              ])
              .where("o.source", "=", source)
              .where(hasLeftOut)
          )
      )
    }
  })

  const passedOf = (key: OffsetKey, revision: number) =>
    db.selectFrom("sluice_passed_over").select(["slice", "position", "timestamp", "up_to"])
      .where(isOf(key)).where("revision", "=", revision)

  return ConsumerFilter.of({
    find: (source, { after, by, version } = {}) => {
      let query = versionsOf(source).limit(1)
      if (version !== undefined) query = query.where("version", "=", version)
      if (by !== undefined) query = query.where("author", "=", by)
      if (after !== undefined) query = query.where("version", ">", after)
      return Effect.flatMap(run(query), ([row]) => row === undefined ? Effect.undefined : toVersion(row))
    },
    history: (source, before, limit) =>
      Effect.flatMap(
        run(
          (before === undefined ? versionsOf(source) : versionsOf(source).where("version", "<", before)).limit(limit)
        ),
        (rows) => Effect.forEach(rows, toVersion)
      ),
    store: (source, decide) =>
      retriedTransaction(
        database,
        operation,
        Effect.gen(function*() {
          const version = (yield* lock(source)) + 1
          const newest = yield* newestRow(source)
          const decided = yield* decide(newest && toNewest(newest))
          const flagged = yield* run(
            db.selectFrom("sluice_projection_source").select("source").where("source", "=", source)
              .where("at_least_once", "=", 1).limit(1)
          )
          const isAtLeastOnce = flagged.length > 0
          if (decided === undefined) {
            return { newest: newest && (yield* toVersion(newest)), isNew: false, isAtLeastOnce }
          }
          const { by: author, filter, givesUp, history, reason, restarts } = decided
          yield* run(
            db.insertInto("sluice_filter").values({
              source,
              version,
              filter: toText(filter),
              author,
              reason,
              history,
              stored_at: yield* DatabaseClock.now(dialect)
            })
          )
          yield* run(db.updateTable("sluice_filter_head").set({ version }).where("source", "=", source))
          if (restarts) {
            for (const key of yield* management.list) {
              if (key.source !== source) continue
              // one that is gone meanwhile goes by no filter
              yield* Effect.catchTag(management.restart(key), "UnknownProjection", () => Effect.void)
            }
          }
          if (restarts) yield* setPast(source, history, version, givesUp)
          yield* prune(source, version - (yield* KeptVersions))
          yield* database.afterCommit(Effect.sync(() => listeners.changed(source)))
          return { newest: yield* newestOf(source), isNew: true, isAtLeastOnce }
        })
      ),
    follow: (key, isAtLeastOnce) =>
      retriedTransaction(
        database,
        operation,
        Effect.gen(function*() {
          // waits for who is storing a version, who may not know this projection
          yield* run(shareLocked(dialect, heads(key.source)))
          if (isAtLeastOnce) {
            yield* run(
              db.updateTable("sluice_projection_source").set({ at_least_once: 1 }).where(isOf(key))
                .where("at_least_once", "=", 0)
            )
          }
          return yield* newestOf(key.source)
        })
      ),
    passedOver: (key, range, revision) =>
      Effect.map(
        run(passedOf(key, revision).where("slice", ">=", range.min).where("slice", "<=", range.max)),
        toPassed
      ),
    lookedThrough: Effect.fnUntraced(function*(key, revision, progress) {
      const done = Array.from(progress).flatMap(([slice, from]) => from === undefined ? [slice] : [])
      const open = Array.from(progress).flatMap(([slice, from]) => from === undefined ? [] : [[slice, from] as const])
      const caseOf = (value: (from: Offset) => number) =>
        sql<number>`CASE slice ${
          sql.join(open.map(([slice, from]) => sql`WHEN ${sql.lit(slice)} THEN ${sql.lit(value(from))}`), sql` `)
        } END`
      if (done.length > 0) {
        yield* run(
          db.deleteFrom("sluice_passed_over").where(isOf(key)).where("revision", "=", revision).where(
            "slice",
            "in",
            done
          )
        )
      }
      if (open.length > 0) {
        yield* run(
          db.updateTable("sluice_passed_over").set({
            position: caseOf((from) => from.position),
            timestamp: caseOf((from) => from.timestamp)
          }).where(isOf(key)).where("revision", "=", revision).where("slice", "in", open.map(([slice]) => slice))
        )
      }
    }),
    lookAgain: (key, revision, parts, issue) =>
      retriedTransaction(
        database,
        "repair a projection",
        Effect.gen(function*() {
          // in the order in which a restart locks them
          const ofProjection = db.selectFrom("sluice_projection").select("revision")
            .where("projection", "=", key.projection)
          const ofSource = db.selectFrom("sluice_projection_source").select("revision").where(isOf(key))
          if (dialect !== "sqlite") yield* run(ofProjection.forUpdate())
          const [before] = yield* run(dialect === "sqlite" ? ofSource : ofSource.forUpdate())
          if (before !== undefined && before.revision !== revision) return false
          yield* management.restart(key, issue)
          const [after] = yield* run(ofSource)
          const pending = toPassed(yield* run(passedOf(key, revision)))
          yield* run(db.deleteFrom("sluice_passed_over").where(isOf(key)))
          const rows = [...new Set([...pending.keys(), ...parts.keys()])].map((slice) => {
            const { from: { position, timestamp }, upTo } = joinPassed(
              (parts.get(slice) ?? pending.get(slice))!,
              pending.get(slice)
            )
            return { ...key, slice, revision: after!.revision, position, timestamp, up_to: upTo }
          })
          if (rows.length > 0) yield* run(db.insertInto("sluice_passed_over").values(rows))
          return true
        })
      ),
    givenUp: (key, range) =>
      Effect.map(
        run(
          db.selectFrom("sluice_given_up").select(["slice", "version", "until"]).where(isOf(key))
            .where("slice", ">=", range.min).where("slice", "<=", range.max).orderBy("version")
        ),
        (rows) =>
          Map.groupBy(
            rows.map(({ slice, until, version }): GivenUp & { readonly slice: Slice } => ({
              slice: slice as Slice,
              version,
              until: until as Timestamp
            })),
            ({ slice }) => slice
          )
      ),
    givenUpBy: Effect.fnUntraced(function*(source) {
      const versions = yield* givenUpVersions(source)
      if (versions.length === 0) return []
      const rows = yield* run(versionsOf(source).where("version", "in", withBefore(versions)))
      return inclusions(yield* Effect.forEach(rows, toVersion), new Set(versions))
    }),
    afterCommit: database.afterCommit,
    changes: listeners.subscribe
  })
}

const toPassed = (
  rows: ReadonlyArray<Pick<PassedOverTable, "slice" | "position" | "timestamp" | "up_to">>
): ReadonlyMap<Slice, Passed> =>
  new Map(rows.map(({ position, slice, timestamp, up_to }) => [
    slice as Slice,
    { from: { position: position as Position, timestamp: timestamp as Timestamp }, upTo: up_to as Position }
  ]))

const toNewest = ({ author, filter, source, version }: FilterTable): Newest => ({
  version,
  by: textOf(author),
  filter: fromText(textOf(source), textOf(filter), version)
})

const toVersion = (row: FilterTable): Effect.Effect<FilterVersion, StorageError> => {
  const source = textOf(row.source)
  return Effect.map(fromText(source, textOf(row.filter), row.version), (filter) =>
    new FilterVersion({
      source,
      version: row.version,
      filter,
      by: textOf(row.author),
      reason: textOf(row.reason),
      history: row.history as HistoryPolicy,
      at: row.stored_at as Timestamp
    }, { disableChecks: true }))
}
