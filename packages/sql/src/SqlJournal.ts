/**
 * The journal on a SQL server.
 *
 * @since 0.1.0
 */
import * as Floor from "@sluice/core/Floor"
import type {
  AppendRequest,
  Journal,
  JournalForked,
  JournalReader,
  OffsetBelowFloor,
  SequenceConflict,
  Written
} from "@sluice/core/Journal"
import { make as makeJournal } from "@sluice/core/Journal"
import type { Offsets } from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as RcMap from "effect/RcMap"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { SqlError } from "effect/sql/SqlError"
import type { Kysely } from "kysely"
import * as AppendLane from "./AppendLane.ts"
import type { AppendSignals } from "./AppendSignals.ts"
import type { Database } from "./Database.ts"
import { retryRefused } from "./internal/retryRefused.ts"
import * as JournalDeletion from "./JournalDeletion.ts"
import type { JournalDialect } from "./JournalDialect.ts"
import * as SliceLogReader from "./SliceLogReader.ts"
import type { SluiceTables } from "./SluiceTables.ts"
import { fromSqlError } from "./SqlStorageError.ts"
import * as SqlTransaction from "./SqlTransaction.ts"

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
  readonly signals: AppendSignals
  readonly identity: string
  readonly maxEventBytes: number | undefined
  /** How many transactions of single appends are under way at the same time. */
  readonly lanes: number
}

/** For how long appends wait for a database that is away. */
const patience = "30 seconds"

/** How often a lane tries a log that is locked before its appends wait for the lock, on another connection. */
const tries = 3

/**
 * The journal of a database. It works as long as the scope is open.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Journal["Service"], StorageError, Scope.Scope> {
  const { database, dialect, signals } = options

  const registered = new Set<string>()
  const registering = Semaphore.makeUnsafe(1)
  const register = (entityType: string): Effect.Effect<void, SqlError> =>
    registered.has(entityType) ? Effect.void : registering.withPermit(Effect.suspend(() =>
      registered.has(entityType)
        ? Effect.void
        : Effect.andThen(retryRefused(dialect.register(entityType)), Effect.sync(() => void registered.add(entityType)))
    ))

  const announce = (requests: ReadonlyArray<AppendRequest>, answers: ReadonlyArray<AppendLane.Answer | undefined>) => {
    const slices = new Map<string, Set<Slice.Slice>>()
    answers.forEach((answer, i) => {
      if (answer?._tag !== "Success") return
      const { entityType } = requests[i]!
      slices.set(entityType, (slices.get(entityType) ?? new Set()).add(answer.value.slice))
    })
    for (const [entityType, written] of slices) signals.appended(entityType, written)
  }

  /**
   * A transaction whose outcome is unknown, as the connection was lost, is sent again until it is answered: unchanged, but that it
   * then looks for its own events first.
   */
  const acknowledged = <A extends ReadonlyArray<AppendLane.Answer | undefined>>(
    write: (requests: NonEmptyReadonlyArray<AppendRequest>) => Effect.Effect<A, SqlError>
  ) =>
  (requests: NonEmptyReadonlyArray<AppendRequest>): Effect.Effect<A, StorageError> => {
    let again = false
    return Effect.suspend(() =>
      write(again ? requests.map((request) => ({ ...request, recheck: true })) as any : requests)
    ).pipe(
      Effect.tapError((error) =>
        error.reason._tag === "ConnectionError"
          ? Effect.andThen(
            Effect.sync(() => {
              again = true
            }),
            Effect.logWarning("Appends again, as it is not known whether it has: the database went away", error)
          )
          : Effect.void
      ),
      Effect.retry({
        while: (error) => error.reason._tag === "ConnectionError",
        schedule: Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(
          Schedule.jittered,
          Schedule.upTo({ duration: patience })
        )
      }),
      retryRefused,
      Effect.tap((answers) => Effect.sync(() => announce(requests, answers))),
      Effect.mapError(fromSqlError("append"))
    )
  }

  const lanes = yield* Effect.forEach(
    Array.from({ length: options.lanes }),
    () =>
      AppendLane.make<AppendLane.Answer | undefined>({
        maxEvents: 200,
        maxBytes: 1024 * 1024,
        joins: dialect.joins,
        write: acknowledged(dialect.tryAppend)
      })
  )

  // appends to a log that is locked for long have a lane of their own
  const waiting = yield* RcMap.make({
    lookup: (_log: string) =>
      AppendLane.make<AppendLane.Answer>({
        maxEvents: 200,
        maxBytes: 1024 * 1024,
        joins: dialect.joins,
        write: acknowledged(dialect.waitAppend)
      }),
    idleTimeToLive: 0
  })
  const busy = new Map<string, number>()

  const appendWaiting = (
    log: string,
    request: AppendRequest
  ): Effect.Effect<Written, SequenceConflict | StorageError> =>
    Effect.acquireUseRelease(
      Effect.sync(() => busy.set(log, (busy.get(log) ?? 0) + 1)),
      () => Effect.scoped(Effect.flatMap(RcMap.get(waiting, log), (lane) => Effect.flatten(lane(request)))),
      () =>
        Effect.sync(() => {
          const left = busy.get(log)! - 1
          if (left === 0) busy.delete(log)
          else busy.set(log, left)
        })
    )

  const append = (request: AppendRequest): Effect.Effect<Written, SequenceConflict | StorageError> => {
    const slice = Slice.ofPersistenceId(request.persistenceId)
    const log = `${slice} ${request.entityType}`
    const lane = lanes[slice % lanes.length]!
    const attempt = (left: number): Effect.Effect<Written, SequenceConflict | StorageError> =>
      left === 0 || busy.has(log)
        ? appendWaiting(log, request)
        : Effect.flatMap(lane(request), (answer) => answer === undefined ? attempt(left - 1) : answer)
    return registered.has(request.entityType)
      ? attempt(tries)
      : Effect.andThen(Effect.mapError(register(request.entityType), fromSqlError("register")), attempt(tries))
  }

  const appendWithin = (request: AppendRequest): Effect.Effect<Written, SequenceConflict | StorageError> =>
    // first of all, as it dies in a transaction that is over, where an append would not be part of anything
    Effect.andThen(
      database.afterCommit(
        Effect.sync(() => signals.appended(request.entityType, new Set([Slice.ofPersistenceId(request.persistenceId)])))
      ),
      Effect.flatMap(
        Effect.mapError(
          Effect.andThen(register(request.entityType), dialect.appendWithin(request)),
          fromSqlError("append")
        ),
        (answer) => answer
      )
    )

  const heads = (entityType: string, range: SliceRange.SliceRange): Effect.Effect<Offsets, StorageError> =>
    Effect.mapError(dialect.heads(entityType, range), fromSqlError("read the heads"))
  const deletion = JournalDeletion.make({ ...options, heads })

  /** What is wrong with where a reader wants to begin. */
  const wrong = Effect.fnUntraced(function*(
    entityType: string,
    range: SliceRange.SliceRange,
    start: Offsets
  ): Effect.fn.Return<JournalForked | OffsetBelowFloor | undefined, StorageError> {
    const places = [...start].filter(([slice, { position }]) => SliceRange.contains(range, slice) && position > 0)
    const timestamps = places.length === 0
      ? new Map<Slice.Slice, Timestamp>()
      : yield* Effect.mapError(
        dialect.timestamps(entityType, places.map(([slice, { position }]) => [slice, position])),
        fromSqlError("open the journal")
      )
    // after the timestamps, as what is missing of them may be deleted
    const floors = yield* deletion.floors(entityType, range)
    return Floor.check({ entityType, range, start, floors, timestampAt: (slice) => timestamps.get(slice) })
  })

  return makeJournal({
    identity: options.identity,
    now: Effect.mapError(dialect.now, fromSqlError("ask for the time")),
    maxEventBytes: options.maxEventBytes,
    transaction: (effect) => SqlTransaction.run(database, "commit", effect),
    append: (request) =>
      Effect.flatMap(
        database.inTransaction,
        (inTransaction) => inTransaction ? appendWithin(request) : append(request)
      ),
    heads,
    reader: (entityType, range, start) =>
      Effect.flatMap(
        wrong(entityType, range, start),
        (error): Effect.Effect<JournalReader, JournalForked | OffsetBelowFloor> =>
          error === undefined
            ? Effect.succeed(SliceLogReader.make({ dialect, deletion, signals, entityType, range, start }))
            : Effect.fail(error)
      ),
    entity: (persistenceId, from, to, limit) =>
      Effect.mapError(dialect.entity(persistenceId, from, to, limit), fromSqlError("read an entity")),
    ...deletion,
    changes: signals.subscribe
  })
})
