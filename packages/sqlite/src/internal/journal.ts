import * as Journal from "@sluice/core/Journal"
import type { StorageError } from "@sluice/core/StorageError"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Append from "@sluice/sql/adapter/Append"
import * as AppendLane from "@sluice/sql/adapter/AppendLane"
import * as EntityTypes from "@sluice/sql/adapter/EntityTypes"
import * as JournalDeletion from "@sluice/sql/adapter/JournalDeletion"
import * as JournalIdentity from "@sluice/sql/adapter/JournalIdentity"
import * as LogSearch from "@sluice/sql/adapter/LogSearch"
import { fromSqlError } from "@sluice/sql/adapter/SqlStorageError"
import * as SqlTransaction from "@sluice/sql/adapter/SqlTransaction"
import type { StorageSignals } from "@sluice/sql/adapter/StorageSignals"
import * as Database from "@sluice/sql/Database"
import * as Clock from "effect/Clock"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import type { Options } from "../SqliteOptions.ts"
import { makeAppender } from "./append.ts"
import { type Connection, type Db, failed, sqlError } from "./connection.ts"
import type { OpenFile } from "./openFile.ts"
import { makeReading, type Run } from "./reader.ts"
import { SameJournal } from "./sameJournal.ts"
import type { FileSessions } from "./sessions.ts"

/** Whether somebody else has the lock of the file. */
const isLocked = ({ reason }: SqlError): boolean => reason._tag === "LockTimeoutError"

/** How soon another process's commit is noticed, in milliseconds: while there are some, and when it has been quiet. To be woken costs more than to look. */
const soon = 10
const later = 25

/** After so many looks in vain it is quiet. */
const looksInVain = 100

/** @internal The journal on its connections: one that writes, and one that reads and watches what others write. */
export const makeJournal: (
  options: Options & { readonly lockTimeout: number },
  sameJournal: SameJournal,
  sessions: Pick<FileSessions, "isFree">,
  reader: Connection,
  file: OpenFile,
  database: Database.Database["Service"],
  db: Db,
  signals: StorageSignals
) => Effect.Effect<Journal.Journal["Service"], StorageError, Scope.Scope> = Effect.fnUntraced(function*(
  options,
  sameJournal,
  sessions,
  reader,
  file,
  database,
  db,
  signals
) {
  const identity = yield* Effect.mapError(JournalIdentity.get(database, db), fromSqlError("identify the journal"))
  const { connection: writer } = sameJournal
  sameJournal.expect(db, identity)
  const sameRead = new SameJournal(reader)
  sameRead.expect(db, identity)
  const reading = makeReading(reader, db)
  const readingOwnWrites = makeReading(writer, db)
  // readers never wait for writers, only while another process recovers or resets the log
  const read: Run = (operation, f) =>
    Database.retryWhileBusy(options.lockTimeout)(Effect.try({
      try: () => {
        const found = f()
        // after the read, as it may have seen the latest commit
        sameRead.check()
        return found
      },
      catch: failed(operation)
    }))

  // on the connection that writes, it changes only when another connection has committed
  const dataVersion = writer.prepare<[], number>("PRAGMA data_version").pluck()
  let version: number | undefined
  let inVain = 0
  const tellOfOthers = (current: number | undefined): void => {
    if (current !== undefined && current === version) return
    inVain = 0
    version = current
    signals.signalAll()
  }
  const lookForOthers = (): void => {
    let current: number | undefined
    try {
      current = dataVersion.get()
    } catch {
      // another process is recovering the log
    }
    tellOfOthers(current)
  }
  /** Tells first of what others have committed before. A reader here counts the signals of all slices. */
  const signalsAfter = (tell: () => void): Pick<StorageSignals, "appended"> => ({
    appended: (entityType, _slices, events) => {
      tell()
      signals.appended(entityType, undefined, events)
    }
  })
  const ownSignals = signalsAfter(lookForOthers)
  let lost: string | undefined
  const lookAtFile = Effect.suspend(() => {
    const path = file.lost()
    if (path === lost) return Effect.void
    const found = lost
    lost = path
    return path === undefined
      ? Effect.logInfo(`'${found}' is there again`)
      : Effect.logError(`'${path}' was moved, removed or replaced while it was open: nothing more is written`)
  })
  yield* Effect.andThen(signals.untilAwaited, Effect.andThen(lookAtFile, Effect.sync(lookForOthers))).pipe(
    Effect.andThen(Effect.suspend(() => Effect.sleep(inVain++ < looksInVain ? soon : later))),
    Effect.forever,
    Effect.forkScoped
  )

  const appender = makeAppender(
    writer,
    file,
    db,
    (yield* WebCrypto).randomUUID(),
    sameJournal
  )
  const microseconds = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos / 1000n))
  type Requests = Parameters<typeof appender.batch>[0]
  const batch = (requests: Requests) =>
    Effect.flatMap(
      microseconds,
      (now) => Effect.try({ try: () => appender.batch(requests, now), catch: sqlError("append") })
    )
  /** Waits for the connection, and then for the lock of the file. */
  const waitAndBatch = (requests: Requests) =>
    Effect.scoped(Effect.andThen(database.sql.reserve, Database.retryWhileBusy(options.lockTimeout)(batch(requests))))
  const laneSignals = signalsAfter(() => tellOfOthers(appender.version()))
  const lane = yield* AppendLane.make<AppendLane.Answer>({
    maxEvents: 200,
    maxBytes: 1024 * 1024,
    write: (requests) =>
      Effect.matchEffect(
        Effect.suspend(() =>
          sessions.isFree()
            ? Effect.catchIf(batch(requests), isLocked, () => waitAndBatch(requests))
            : waitAndBatch(requests)
        ),
        {
          onFailure: (error) => {
            // the append may have been committed all the same, without being announced
            version = undefined
            return Effect.fail(fromSqlError("append")(error))
          },
          onSuccess: (answers) => {
            Append.announce(laneSignals, requests, answers)
            return Effect.succeed(answers)
          }
        }
      )
  })

  const heads: Journal.Journal["Service"]["heads"] = (entityType, range) =>
    read("read the heads", () => reading.heads(entityType, range))
  return Journal.make({
    identity,
    entityTypes: (limit) => EntityTypes.find(database, db, "sluice_journal", limit),
    // SQLite's clock is this machine's
    now: Effect.map(microseconds, Timestamp.make),
    maxEventBytes: options.maxEventBytes,
    transaction: (effect) => SqlTransaction.run(database, "commit", effect),
    afterCommit: database.afterCommit,
    inTransaction: database.inTransaction,
    append: Append.make({
      database,
      signals: ownSignals,
      within: (request) =>
        Effect.flatMap(microseconds, (now) =>
          Effect.mapError(
            database.direct("append", () => appender.within(request, now)),
            fromSqlError("append")
          )),
      alone: (request) => Effect.flatten(lane(request))
    }),
    heads,
    before: (entityType, range, time) =>
      Effect.gen(function*() {
        return yield* LogSearch.before({
          heads: yield* heads(entityType, range),
          floors: yield* read("read the floors", () => reading.floors(entityType, range)),
          time,
          timestamps: (positions) => read("look for a time", () => reading.timestamps(entityType, positions))
        })
      }),
    reader: (entityType, range, start) =>
      Effect.flatten(read("open the journal", () => {
        const error = reading.wrong(entityType, range, start)
        const marks = signals.events.marks(entityType)
        return error === undefined
          ? Effect.succeed(reading.reader(read, entityType, range, start, () => marks[0]!))
          : Effect.fail(error)
      })),
    entity: (persistenceId, from, to, limit) =>
      Effect.flatMap(
        database.inTransaction,
        (inTransaction) =>
          inTransaction
            ? Effect.mapError(
              database.direct("read an entity", () => readingOwnWrites.entity(persistenceId, from, to, limit)),
              fromSqlError("read an entity")
            )
            : read("read an entity", () => reading.entity(persistenceId, from, to, limit))
      ),
    ...JournalDeletion.make({ database, db, heads }),
    floors: (entityType, range) => read("read the floors", () => reading.floors(entityType, range)),
    committed: signals.committed,
    changes: signals.events.subscribe
  })
})
