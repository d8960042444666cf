/**
 * The filters of streams, with all of their versions, in tables of a SQL database.
 *
 * @since 0.1.0
 */
import * as ChangeListeners from "@sluice/core/ChangeListeners"
import { ConsumerFilter, FilterVersion, fromText, type HistoryPolicy, toText } from "@sluice/core/ConsumerFilter"
import type { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import type { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import type { Kysely } from "kysely"
import type { Database } from "../Database.ts"
import { textOf } from "../internal/columns.ts"
import { isOf } from "../internal/offsetKey.ts"
import { retriedTransaction } from "../internal/retriedTransaction.ts"
import { shareLocked } from "../internal/shareLocked.ts"
import type { FilterTable, SluiceTables } from "../SluiceTables.ts"
import * as DatabaseClock from "./DatabaseClock.ts"
import type { Query } from "./Dialect.ts"
import { fromSqlError } from "./SqlStorageError.ts"

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

  const newestOf = (source: string) =>
    Effect.flatMap(
      run(versionsOf(source).limit(1)),
      ([row]) => row === undefined ? Effect.undefined : toVersion(row)
    )

  const heads = (source: string) => db.selectFrom("sluice_filter_head").select("version").where("source", "=", source)

  /** Keeps everybody else from storing a version, and workers from reading one, until the end of the transaction. */
  const lock = Effect.fnUntraced(function*(source: string): Effect.fn.Return<number, StorageError> {
    const insert = db.insertInto("sluice_filter_head").values({ source, version: 0 })
    yield* run(dialect === "mysql" ? insert.ignore() : insert.onConflict((_) => _.doNothing()))
    const [head] = yield* run(dialect === "sqlite" ? heads(source) : heads(source).forUpdate())
    return head!.version
  })

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
          const newest = yield* newestOf(source)
          const decided = yield* decide(newest)
          const flagged = yield* run(
            db.selectFrom("sluice_projection_source").select("source").where("source", "=", source)
              .where("at_least_once", "=", 1).limit(1)
          )
          const isAtLeastOnce = flagged.length > 0
          if (decided === undefined) return { newest, isNew: false, isAtLeastOnce }
          const { by: author, filter, history, reason, restarts } = decided
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
    changes: listeners.subscribe
  })
}

const toVersion = (row: FilterTable): Effect.Effect<FilterVersion, StorageError> => {
  const source = textOf(row.source)
  return Effect.map(fromText(source, textOf(row.filter)), (filter) =>
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
