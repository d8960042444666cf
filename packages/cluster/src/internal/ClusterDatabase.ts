import * as DatabaseClock from "@sluice/sql/adapter/DatabaseClock"
import type { Query } from "@sluice/sql/adapter/Dialect"
import { OwnTables } from "@sluice/sql/adapter/OwnTables"
import { fromSqlError } from "@sluice/sql/adapter/SqlStorageError"
import { Database } from "@sluice/sql/Database"
import type { RunnerTable, SluiceTables } from "@sluice/sql/SluiceTables"
import * as Clock from "effect/Clock"
import { PersistenceError } from "effect/cluster/ClusterError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import { type InsertQueryBuilder, type Kysely, type RawBuilder, sql } from "kysely"

/** A process that has not been heard of for so long, in microseconds, is forgotten. */
const keptFor = 60_000_000

/** How often the log says that the database is away, in milliseconds. */
const warnEvery = 30_000

/** The longest, in milliseconds, that a statement may be without an answer before the log says so. */
const answerWithin = 3_000

/** How long the end of a process waits for the database, each time. */
const leaveWithin = "1 second"

/** @internal Milliseconds by a clock that nobody sets. */
export const elapsed = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos / 1_000_000n))

/** What is known of a runner that is alive. */
export type Member = Pick<RunnerTable, "workers" | "address" | "runner" | "healthy">

/**
 * @internal
 * The tables of the placement, as one process uses them for all numbers of workers.
 */
export interface ClusterDatabase {
  readonly database: Database["Service"]
  readonly db: Kysely<SluiceTables>
  /** A statement of the placement. */
  readonly run: <A>(query: Query<A>) => Effect.Effect<ReadonlyArray<A>, PersistenceError>
  /** Inserts the rows that are not there yet. */
  readonly insertMissing: <T extends "sluice_runner" | "sluice_runner_shard" | "sluice_range_lease", O>(
    insert: InsertQueryBuilder<SluiceTables, T, O>
  ) => Effect.Effect<void, PersistenceError>
  readonly now: Effect.Effect<RawBuilder<number>>
  /** When a lease ends that is given now. */
  readonly expiry: Effect.Effect<RawBuilder<number>>
  /** All runners that are alive, whatever their number of workers; read anew only if that was long ago. */
  readonly members: Effect.Effect<ReadonlyArray<Member>, PersistenceError>
  /** Members have changed by what this process has done. */
  readonly membersChanged: Effect.Effect<void>
  /** Removes what dead processes have left. */
  readonly forget: Effect.Effect<void, PersistenceError>
  /** Whether the last statement has failed, or is without an answer. */
  readonly isAway: () => boolean
  /** What is done at the end: it does not wait for a database that is away, as leases run out. */
  readonly leaving: <E>(effect: Effect.Effect<void, E>) => Effect.Effect<void>
}

/**
 * @internal
 * Within `pollEvery` the members are read once or twice, however many numbers of workers there are. No lease is given for longer than `takeover`.
 */
export const make = ({ pollEvery, takeover, what }: {
  readonly pollEvery: Duration.Duration
  readonly takeover: Duration.Duration
  /** What this process has for as long as it renews its leases, as the log calls it. */
  readonly what: "workers" | "entities"
}): Effect.Effect<ClusterDatabase, never, Database | OwnTables> =>
  Effect.gen(function*() {
    const database = yield* Database
    const db = yield* OwnTables
    const logLevel = yield* References.MinimumLogLevel
    const { dialect } = database
    const withLock = Semaphore.makeUnsafe(1).withPermits(1)
    const freshFor = Duration.toMillis(pollEvery) / 2
    let isAway = false
    let warnedAt = -Infinity
    let members: { readonly at: number; readonly rows: ReadonlyArray<Member> } | undefined

    // before Effect Cluster gives up the renewal of leases, which it does without a word
    const unansweredAfter = Duration.min(Duration.divideUnsafe(takeover, 4), Duration.millis(answerWithin))

    const failed = (why: string) =>
      Effect.flatMap(elapsed, (now) => {
        isAway = true
        if (now - warnedAt < warnEvery) return Effect.void
        warnedAt = now
        return Effect.logWarning(
          `The placement of ${what} does not reach the database. If that lasts, the ${what} of this process stop until it does: ${why}`
        )
      })
    const succeeded = Effect.suspend(() => {
      if (!isAway) return Effect.void
      isAway = false
      warnedAt = -Infinity
      return Effect.logInfo(`The placement of ${what} reaches the database again`)
    })

    /** Whoever has called ends it in time; it is not ended here, as it may be answered still. */
    const noticed = <A, E>(statement: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      Effect.acquireUseRelease(
        Effect.forkChild(
          Effect.delay(failed(`it does not answer for ${Duration.format(unansweredAfter)}`), unansweredAfter)
        ),
        () => statement,
        Fiber.interrupt
      )

    const run: ClusterDatabase["run"] = (query) =>
      Effect.mapError(noticed(database.run(query)), fromSqlError(`place ${what}`)).pipe(
        // two processes that take leases at once; whatever else it is, Effect Cluster tries again
        Effect.retry({
          while: (error) => error.reason === "Busy",
          schedule: Schedule.jittered(Schedule.exponential("5 millis")),
          times: 5
        }),
        Effect.tap(succeeded),
        Effect.tapError((error) => failed(error.message)),
        Effect.mapError((cause) => new PersistenceError({ cause })),
        Effect.withTracerEnabled(false),
        // the fibers of Effect Cluster log nothing, and say of everything what it is to them
        Effect.provideService(References.MinimumLogLevel, logLevel),
        Effect.provideService(References.CurrentLogAnnotations, {})
      )
    const now = DatabaseClock.now(dialect)
    const expiry = Effect.map(now, (now) => sql<number>`${now} + ${sql.lit(Duration.toMillis(takeover) * 1000)}`)

    /** Of those that have died before the clock was set back; the living renew theirs. */
    const shorten = Effect.gen(function*() {
      for (const table of ["sluice_runner_shard", "sluice_runner"] as const) {
        const expires_at = yield* expiry
        yield* run(db.updateTable(table).where("expires_at", ">", expires_at).set({ expires_at }))
      }
    })

    return {
      database,
      db,
      run,
      now,
      expiry,
      insertMissing: (insert) =>
        Effect.asVoid(run(dialect === "mysql" ? insert.ignore() : insert.onConflict((_) => _.doNothing()))),
      members: withLock(Effect.gen(function*() {
        const at = yield* elapsed
        if (members !== undefined && at - members.at < freshFor) return members.rows
        const limit = yield* expiry
        const rows = yield* run(
          db.selectFrom("sluice_runner")
            .select(["workers", "address", "runner", "healthy"])
            .select(sql<number>`CASE WHEN expires_at > ${limit} THEN 1 ELSE 0 END`.as("isTooLong"))
            .where("expires_at", ">", yield* now)
        )
        if (rows.some(({ isTooLong }) => isTooLong === 1)) yield* shorten
        members = { at, rows }
        return rows
      })),
      membersChanged: Effect.sync(() => {
        members = undefined
      }),
      forget: Effect.gen(function*() {
        const silent = sql<number>`${yield* now} - ${sql.lit(keptFor)}`
        yield* run(db.deleteFrom("sluice_runner_shard").where("expires_at", "<", silent))
        yield* run(db.deleteFrom("sluice_runner").where("expires_at", "<", silent))
        yield* run(
          db.deleteFrom("sluice_range_lease")
            .where("address", "not in", db.selectFrom("sluice_runner").select("address"))
        )
      }),
      isAway: () => isAway,
      leaving: (effect) =>
        Effect.suspend(() =>
          isAway ? Effect.void : Effect.ignore(
            Effect.asVoid(Effect.timeout(Effect.interruptible(effect), leaveWithin))
          )
        )
    }
  })
