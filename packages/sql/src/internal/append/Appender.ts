import type { AppendRequest } from "@sluice/core/Journal"
import * as Slice from "@sluice/core/Slice"
import type { StorageError } from "@sluice/core/StorageError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as RcMap from "effect/RcMap"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { SqlError } from "effect/sql/SqlError"
import * as Append from "../../adapter/Append.ts"
import * as AppendLane from "../../adapter/AppendLane.ts"
import type { JournalDialect } from "../../adapter/JournalDialect.ts"
import { fromSqlError } from "../../adapter/SqlStorageError.ts"
import type { StorageSignals } from "../../adapter/StorageSignals.ts"
import { mayBeDone } from "../DatabaseError.ts"
import { retryRefused } from "../retryRefused.ts"
import { BusyLogs } from "./BusyLogs.ts"
import { Registrations } from "./Registrations.ts"
import { retryAway } from "./retryAway.ts"
import { UnknownOutcomes } from "./UnknownOutcomes.ts"

/** How often a lane tries a log that is locked before its appends wait for the lock, on another connection. */
const tries = 3

const batch = { maxEvents: 200, maxBytes: 1024 * 1024 }

/** @internal What appends need. */
export interface Options {
  readonly database: Append.Options["database"]
  readonly dialect: Pick<JournalDialect, "register" | "tryAppend" | "waitAppend" | "appendWithin" | "joins">
  readonly signals: Pick<StorageSignals, "appended">
  /** How many transactions of single appends are under way at the same time. */
  readonly lanes: number
  /** How many more may wait for a log that somebody holds. */
  readonly waiters: number
}

type Lane<A> = (request: AppendRequest) => Effect.Effect<A, StorageError>

/** What appends to one journal share. */
interface Appender extends Options {
  readonly registrations: Registrations
  readonly unknown: UnknownOutcomes
  /** They only try the locks of logs. */
  readonly trying: Lane<AppendLane.Answer | undefined>
  /** By log: they wait for the lock, a few at a time. */
  readonly waiting: RcMap.RcMap<string, Lane<AppendLane.Answer>>
  readonly busy: BusyLogs
}

/**
 * @internal
 * Appends to a journal, in the fiber's transaction if there is one, else in one of a lane. A locked log does not hold
 * up the others of its lane: its appends wait for the lock in a lane of their own, on connections of their own.
 */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Append.Append, never, Scope.Scope> {
  const { database, dialect, signals } = options
  const unknown = new UnknownOutcomes()
  const waiters = Semaphore.makeUnsafe(options.waiters)
  const makeLanes = <A extends AppendLane.Answer | undefined>(lanes: number, write: Write<A>) =>
    AppendLane.make<A>({ ...batch, lanes, joins: dialect.joins, write: acknowledged(unknown, signals, write) })
  const appender: Appender = {
    ...options,
    registrations: new Registrations(dialect.register),
    unknown,
    trying: yield* makeLanes(options.lanes, dialect.tryAppend),
    waiting: yield* RcMap.make({
      lookup: (_log: string) => makeLanes(1, (requests) => waiters.withPermit(dialect.waitAppend(requests))),
      idleTimeToLive: 0
    }),
    busy: new BusyLogs()
  }
  return Append.make({
    database,
    signals,
    within: (request) =>
      Effect.mapError(
        Effect.andThen(appender.registrations.add(request.entityType), dialect.appendWithin(request)),
        fromSqlError("append")
      ),
    alone: (request) => appendAlone(appender, request)
  })
})

/** Appends in a transaction that is shared with others' appends. */
const appendAlone = (appender: Appender, request: AppendRequest): ReturnType<Append.Append> => {
  const { registrations, unknown } = appender
  const { entityType } = request
  const appended = registrations.has(entityType)
    ? appendTrying(appender, request, tries)
    : Effect.andThen(
      Effect.mapError(retryAway(registrations.add(entityType)), fromSqlError("register")),
      Effect.suspend(() => appendTrying(appender, request, tries))
    )
  return Effect.mapError(appended, (error) => unknown.explain(request, error))
}

/** Tries the lock of the log so often, and then waits for it. If others wait for it, it waits at once. */
const appendTrying = (appender: Appender, request: AppendRequest, left: number): ReturnType<Append.Append> => {
  const { busy, trying } = appender
  const log = `${Slice.ofPersistenceId(request.persistenceId)} ${request.entityType}`
  if (left === 0 || busy.has(log)) return appendWaiting(appender, log, request)
  return Effect.flatMap(
    trying(request),
    (answer) => answer === undefined ? appendTrying(appender, request, left - 1) : answer
  )
}

const appendWaiting = ({ busy, waiting }: Appender, log: string, request: AppendRequest): ReturnType<Append.Append> =>
  Effect.acquireUseRelease(
    Effect.sync(() => busy.enter(log)),
    () => Effect.scoped(Effect.flatMap(RcMap.get(waiting, log), (lane) => Effect.flatten(lane(request)))),
    () => Effect.sync(() => busy.leave(log))
  )

type Write<A> = (requests: NonEmptyReadonlyArray<AppendRequest>) => Effect.Effect<ReadonlyArray<A>, SqlError>

/** A write that is sent again while its outcome is unknown, and announced. */
const acknowledged = <A extends AppendLane.Answer | undefined>(
  unknown: UnknownOutcomes,
  signals: Options["signals"],
  write: Write<A>
) =>
(requests: NonEmptyReadonlyArray<AppendRequest>): Effect.Effect<ReadonlyArray<A>, StorageError> =>
  Effect.suspend(() => write(unknown.prepare(requests))).pipe(
    Effect.tapError((error) => {
      if (!mayBeDone(error)) return Effect.void
      unknown.add(requests)
      return Effect.logWarning("Appends again, as it is not known whether it has: the database went away", error)
    }),
    retryAway,
    retryRefused,
    Effect.tap((answers) => Effect.sync(() => Append.announce(signals, requests, answers))),
    Effect.mapError(fromSqlError("append"))
  )
