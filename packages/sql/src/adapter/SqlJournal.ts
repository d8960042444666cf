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
  OffsetBelowFloor,
  SequenceConflict,
  Written
} from "@sluice/core/Journal"
import { make as makeJournal, writtenEnvelopes } from "@sluice/core/Journal"
import type { Offsets } from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as RcMap from "effect/RcMap"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { SqlError } from "effect/sql/SqlError"
import type { Kysely } from "kysely"
import type { Database } from "../Database.ts"
import { mayBeDone } from "../internal/DatabaseError.ts"
import { retryFor } from "../internal/retryFor.ts"
import { retryRefused } from "../internal/retryRefused.ts"
import type { SluiceTables } from "../SluiceTables.ts"
import * as AppendLane from "./AppendLane.ts"
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
  /** How many more wait for a log that somebody holds. */
  readonly waiters: number
}

/** For how long appends wait for a database that is away, in milliseconds. */
const patience = 30_000

/** A server that takes no writes may be the wrong one for a moment, after a failover. */
const isAway = (error: SqlError): boolean => {
  const { reason } = fromSqlError("append")(error)
  return reason === "Unavailable" || reason === "ReadOnly"
}

/** Says so once: what is known is that nothing was written. */
const retryAway = <A>(self: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
  Effect.suspend(() => {
    let isTold = false
    return Effect.tapError(self, (error) => {
      if (isTold || !isAway(error) || mayBeDone(error)) return Effect.void
      isTold = true
      return Effect.logWarning("Waits for the database, and then appends: nothing was written", error)
    }).pipe(
      retryFor<SqlError>({
        atMost: patience,
        while: isAway,
        schedule: Schedule.jittered(Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]))
      })
    )
  })

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
    const written: Array<readonly [AppendRequest, Written]> = []
    answers.forEach((answer, i) => {
      if (answer?._tag === "Success") written.push([requests[i]!, answer.value])
    })
    if (written.length === 0) return
    // a lane's requests are of one entity type
    signals.appended(
      requests[0]!.entityType,
      new Set(written.map(([, { slice }]) => slice)),
      () => written.flatMap(([request, answer]) => writtenEnvelopes(request, answer))
    )
  }

  /** What may have been written, as the connection was lost, and looks for its own events first from then on, wherever it is sent. */
  const unknown = new WeakSet<AppendRequest>()

  /** A transaction whose outcome is unknown is sent again until it is answered. */
  const acknowledged = <A extends ReadonlyArray<AppendLane.Answer | undefined>>(
    write: (requests: NonEmptyReadonlyArray<AppendRequest>) => Effect.Effect<A, SqlError>
  ) =>
  (requests: NonEmptyReadonlyArray<AppendRequest>): Effect.Effect<A, StorageError> => {
    return Effect.suspend(() =>
      write(Arr.map(requests, (request) => unknown.has(request) ? { ...request, recheck: true } : request))
    ).pipe(
      Effect.tapError((error) =>
        mayBeDone(error)
          ? Effect.andThen(
            Effect.sync(() => requests.forEach((request) => unknown.add(request))),
            Effect.logWarning("Appends again, as it is not known whether it has: the database went away", error)
          )
          : Effect.void
      ),
      retryAway,
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

  // appends to a log that is locked for long have a lane of their own, but leave the other lanes their connections
  const waiters = Semaphore.makeUnsafe(options.waiters)
  const waiting = yield* RcMap.make({
    lookup: (_log: string) =>
      AppendLane.make<AppendLane.Answer>({
        maxEvents: 200,
        maxBytes: 1024 * 1024,
        joins: dialect.joins,
        write: acknowledged((requests) => waiters.withPermit(dialect.waitAppend(requests)))
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
    return Effect.mapError(
      registered.has(request.entityType)
        ? attempt(tries)
        : Effect.andThen(
          Effect.mapError(retryAway(register(request.entityType)), fromSqlError("register")),
          attempt(tries)
        ),
      // that it was busy the second time does not say that nothing was written the first time
      (error) =>
        error._tag === "StorageError" && unknown.has(request)
          ? new StorageError({ operation: error.operation, reason: "Unavailable", cause: error.cause })
          : error
    )
  }

  const appendWithin = (request: AppendRequest): Effect.Effect<Written, SequenceConflict | StorageError> =>
    // first of all, as it dies in a transaction that is over, where an append would not be part of anything
    Effect.suspend(() => {
      let answer: AppendLane.Answer | undefined
      return Effect.andThen(
        database.afterCommit(Effect.sync(() => announce([request], [answer]))),
        Effect.flatMap(
          Effect.mapError(
            Effect.andThen(register(request.entityType), dialect.appendWithin(request)),
            fromSqlError("append")
          ),
          (written) => answer = written
        )
      )
    })

  const heads = (entityType: string, range: SliceRange.SliceRange): Effect.Effect<Offsets, StorageError> =>
    Effect.mapError(dialect.heads(entityType, range), fromSqlError("read the heads"))
  const deletion = JournalDeletion.make({ ...options, heads })

  /** Fails when events at the offsets, or after them, are not there. */
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
    // after the timestamps, as what is missing of them may be deleted
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
    append: (request) =>
      Effect.flatMap(
        database.inTransaction,
        (inTransaction) => inTransaction ? appendWithin(request) : append(request)
      ),
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
