/**
 * The commands to projections, and their dead letters, in tables of a SQL database.
 *
 * @since 0.1.0
 */
import { pastLag } from "@sluice/core/ConsumerFilter"
import { sourceKey as stateKey } from "@sluice/core/DurableStateStore"
import { encoded, type EncodedEnvelope } from "@sluice/core/Envelope"
import { sourceKey } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import type { OffsetKey } from "@sluice/core/OffsetStore"
import { entityType as entityTypeOf, type PersistenceId } from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import {
  checkSince,
  claimAfter,
  claimTime,
  type Command,
  type DeadLetter,
  type DeadLetterId,
  deletedError,
  errorAfter,
  isPast,
  type Issue,
  type IssuedCommand,
  keptCommands,
  maxSkips,
  noCommand,
  noIssue,
  type Progress,
  ProjectionManagement,
  queuedError,
  SkipRefused,
  type SliceProgress,
  TooManyRewinds,
  UnknownProjection,
  VersionNameTaken
} from "@sluice/core/ProjectionManagement"
import {
  completed,
  initialPhase,
  isAtWork,
  nameOf,
  type Phase,
  type StoredVersion,
  SwitchTooSlow,
  type VersionId
} from "@sluice/core/ProjectionVersion"
import { bounded, folded, type Known, type Rewind, rewound } from "@sluice/core/Rewind"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import { ofPersistenceId as sliceOf, type Slice } from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { Start } from "@sluice/core/Source"
import type { StorageError } from "@sluice/core/StorageError"
import * as Timestamp from "@sluice/core/Timestamp"
import { Transaction } from "@sluice/core/Transaction"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import {
  type ExpressionBuilder,
  type InsertQueryBuilder,
  type Kysely,
  type Selectable,
  type SelectQueryBuilder,
  sql
} from "kysely"
import type { Database } from "../Database.ts"
import { bytesOf, textOf } from "../internal/columns.ts"
import { isOf } from "../internal/offsetKey.ts"
import { retriedTransaction } from "../internal/retriedTransaction.ts"
import { fromRewinds, toRewinds } from "../internal/rewindsColumn.ts"
import { shareLocked } from "../internal/shareLocked.ts"
import { sinceOf } from "../internal/sinceOf.ts"
import { toStoredNumber } from "../internal/storedNumber.ts"
import { unlessIdle } from "../internal/unlessIdle.ts"
import { upsert } from "../internal/upsert.ts"
import type { CommandTable, DeadLetterTable, ProjectionTable, SluiceTables } from "../SluiceTables.ts"
import * as DatabaseClock from "./DatabaseClock.ts"
import type { Query } from "./Dialect.ts"
import { decodeTags, encodeTags } from "./JournalRow.ts"
import * as MetadataColumn from "./MetadataColumn.ts"
import { fromSqlError } from "./SqlStorageError.ts"
import * as SqlTransaction from "./SqlTransaction.ts"
import type { StorageSignals } from "./StorageSignals.ts"

/** How many entities a statement reads or changes at most. */
const maxRows = 500

/** Beyond this an error is cut off. */
const maxErrorLength = 10_000

/**
 * A thousand rows, made by the server, as sending them takes longer. A server may end a recursion early, without an
 * error.
 */
const allSlices = sql<{ readonly slice: number }>`(
  WITH digit(n) AS (SELECT ${sql.raw(Array.from({ length: 32 }, (_, n) => n).join(" UNION ALL SELECT "))})
  SELECT high.n * 32 + low.n AS slice FROM digit high CROSS JOIN digit low
)`

const eventOf = ({ persistenceId, sequenceNumber }: DeadLetterId) => (eb: ExpressionBuilder<SluiceTables, any>) =>
  eb.and([eb("persistence_id", "=", persistenceId), eb("sequence_number", "=", sequenceNumber)])

/** What is read of a command before it is changed. */
type Commanded = Pick<Selectable<ProjectionTable>, "revision" | "scalings" | "phase">

/** What a command changes beside the revision. */
type Change = Partial<Pick<Selectable<ProjectionTable>, "paused" | "workers" | "automatic" | "scalings" | "phase">>

const toCommand = (row: Selectable<ProjectionTable>): Command => ({
  paused: row.paused === 1,
  revision: row.revision,
  workers: row.workers ?? undefined,
  automatic: row.automatic === 1,
  notForWorkers: row.scalings,
  phase: row.phase as Phase
})

/**
 * The projection management of a database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ database, db, signals, transactionTimeout = 60_000 }: {
  readonly database: Database["Service"]
  /** Builds queries over Sluice's tables. */
  readonly db: Kysely<SluiceTables>
  readonly signals: StorageSignals
  /** For how many milliseconds a transaction may be idle. */
  readonly transactionTimeout?: number | undefined
}): ProjectionManagement["Service"] => {
  const { dialect } = database

  const run = <A>(query: Query<A>): Effect.Effect<ReadonlyArray<A>, StorageError> =>
    Effect.mapError(database.run(query), fromSqlError("manage a projection"))

  const transaction = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | StorageError, R> =>
    retriedTransaction(database, "manage a projection", effect)

  const now = Effect.gen(function*() {
    const now = yield* DatabaseClock.now(dialect)
    const [clock] = yield* run(sql<{ now: Timestamp.Timestamp }>`SELECT ${now} AS now`)
    return clock!.now
  })

  /** Locks a row until the end of the transaction, where there is more than one writer. */
  const locked = <O>(select: SelectQueryBuilder<any, any, O>): SelectQueryBuilder<any, any, O> =>
    dialect === "sqlite" ? select : select.forUpdate()

  const insertMissing = (insert: InsertQueryBuilder<SluiceTables, any, any>) =>
    run(dialect === "mysql" ? insert.ignore() : insert.onConflict((_) => _.doNothing()))

  /** Locks the command to a projection. There is none if the projection is not registered. */
  const lockCommand = (projection: string): Effect.Effect<Commanded | undefined, StorageError> =>
    Effect.map(
      run(
        locked(
          db.selectFrom("sluice_projection").select(["revision", "scalings", "phase"]).where(
            "projection",
            "=",
            projection
          )
        )
      ),
      ([row]) => row
    )

  /** Raises the revision, once the projection is locked. */
  const raise = (
    projection: string,
    revision: number,
    change: Change
  ): Effect.Effect<number, StorageError> =>
    run(
      db.updateTable("sluice_projection").set({ ...change, revision: revision + 1 }).where(
        "projection",
        "=",
        projection
      )
    ).pipe(
      Effect.andThen(
        database.afterCommit(Effect.sync(() => signals.commanded(projection)))
      ),
      Effect.as(revision + 1)
    )

  /** Keeps a command, once the projection is locked, and as many of those before as are kept. */
  const keep = Effect.fnUntraced(function*(
    { command, projection, revision, source }: Omit<IssuedCommand, "by" | "reason" | "target" | "at">,
    { by, reason, target }: Issue = noIssue
  ): Effect.fn.Return<void, StorageError> {
    const commanded_at = yield* DatabaseClock.now(dialect)
    yield* run(
      db.insertInto("sluice_command").values({
        projection,
        revision,
        source: source ?? null,
        command,
        target: target ?? null,
        author: by,
        reason,
        commanded_at
      })
    )
    const commands = db.selectFrom("sluice_command").select("revision").where("projection", "=", projection)
    const [newest] = yield* run(commands.orderBy("revision", "desc").limit(1).offset(keptCommands))
    if (newest === undefined) return
    yield* run(
      db.deleteFrom("sluice_command").where("projection", "=", projection).where("revision", "<=", newest.revision)
    )
  })

  /** Changes the command to a projection in all of its sources. */
  const change = (
    projection: string,
    command: IssuedCommand["command"],
    changed: (before: Commanded) => Change,
    issue: Issue | undefined
  ) =>
    transaction(
      Effect.gen(function*() {
        const before = yield* lockCommand(projection)
        if (before === undefined) return yield* new UnknownProjection({ projection, source: undefined })
        const revision = yield* raise(projection, before.revision, changed(before))
        yield* keep({ projection, source: undefined, command, revision }, issue)
      })
    )

  /** Locks the command to a projection that is registered in a source. Its workers go on meanwhile. */
  const lockKnown = Effect.fnUntraced(function*(
    key: OffsetKey
  ): Effect.fn.Return<Commanded, UnknownProjection | StorageError> {
    const command = yield* lockCommand(key.projection)
    const [known] = yield* run(db.selectFrom("sluice_projection_source").select("revision").where(isOf(key)))
    return command === undefined || known === undefined ? yield* new UnknownProjection(key) : command
  })

  /** Keeps a command to discard dead letters, once the projection is locked. */
  const keepDiscard = (
    key: OffsetKey,
    { revision, scalings }: Commanded,
    issue: Issue | undefined
  ): Effect.Effect<void, StorageError> =>
    Effect.flatMap(
      raise(key.projection, revision, { scalings: scalings + 1 }),
      (revision) => keep({ ...key, command: "Discard", revision }, issue)
    )

  /** Locks the offsets in the order of their slices. Only their number is sent. */
  const lockOffsets = (key: OffsetKey): Effect.Effect<unknown, StorageError> => {
    // a single writer has all of them
    if (dialect === "sqlite") return Effect.void
    const offsets = db.selectFrom("sluice_offset").select("slice").where(isOf(key)).orderBy("slice").forUpdate()
    return run(db.selectFrom(offsets.as("o")).select((eb) => eb.fn.countAll().as("n")))
  }

  /**
   * Locks a projection in a source, so that nobody moves its offsets or handles its dead letters until the end of the transaction. Whoever
   * moves more than one offset takes them in the same order.
   */
  const lock = Effect.fnUntraced(function*(
    key: OffsetKey
  ): Effect.fn.Return<number, UnknownProjection | StorageError> {
    const command = yield* lockCommand(key.projection)
    const [known] = yield* run(locked(db.selectFrom("sluice_projection_source").select("revision").where(isOf(key))))
    if (command === undefined || known === undefined) return yield* new UnknownProjection(key)
    yield* lockOffsets(key)
    return command.revision
  })

  /** The newest time that events of the source have, as this database has them or as they were read. */
  const newestOf = Effect.fnUntraced(function*(key: OffsetKey): Effect.fn.Return<number, StorageError> {
    const own = ([["sluice_journal", sourceKey("")], ["sluice_state_head", stateKey("")]] as const)
      .filter(([, prefix]) => key.source.startsWith(prefix))
      .map(([table, prefix]) =>
        db.selectFrom(table).select((eb) => eb.fn.max("timestamp").as("newest"))
          .where("entity_type", "=", key.source.slice(prefix.length))
      )
    const read = db.selectFrom("sluice_offset").select((eb) => eb.fn.max("timestamp").as("newest")).where(isOf(key))
    const found = yield* Effect.forEach([read, ...own], (query) => run(query))
    return Math.max(...found.map(([row]) => row?.newest ?? 0))
  })

  /** An offset before the first event in each slice. */
  const firstOffsets = Effect.fnUntraced(function*(key: OffsetKey) {
    const now = yield* DatabaseClock.now(dialect)
    return db.insertInto("sluice_offset")
      .columns(["projection", "source", "slice", "position", "timestamp", "journal", "revision", "updated_at"])
      .expression((eb) =>
        eb.selectFrom("sluice_projection_source as p").crossJoin(allSlices.as("s")).select([
          "p.projection",
          "p.source",
          "s.slice",
          eb.lit(0).as("position"),
          eb.lit(0).as("timestamp"),
          sql.lit("").as("journal"),
          "p.revision",
          now.as("updated_at")
        ]).where("p.projection", "=", key.projection).where("p.source", "=", key.source)
      )
  })

  /** An offset before the first event in each slice that has none. */
  const insertOffsets = (key: OffsetKey): Effect.Effect<unknown, StorageError> =>
    Effect.flatMap(firstOffsets(key), insertMissing)

  /**
   * The offsets of a projection that is locked, and was not known in the source. Where there are none at all, nothing is looked for row by row, which
   * takes PostgreSQL twice as long.
   */
  const registerOffsets = Effect.fnUntraced(function*(
    key: OffsetKey,
    revision: number
  ): Effect.fn.Return<void, StorageError> {
    const before = yield* run(db.selectFrom("sluice_offset").select("slice").where(isOf(key)).limit(1))
    if (before.length === 0) return void (yield* run(yield* firstOffsets(key)))
    yield* insertOffsets(key)
    yield* run(db.updateTable("sluice_offset").set({ revision }).where(isOf(key)).where("revision", "!=", revision))
  })

  /** Of slices that are in the mode per entity, or were, what is known of them after they are rewound. */
  const known = Effect.fnUntraced(function*(
    key: OffsetKey,
    { journal, offsets }: Start,
    revision: number
  ): Effect.fn.Return<ReadonlyMap<Slice, Known>, StorageError> {
    const rows = yield* run(
      db.selectFrom("sluice_offset")
        .select(["slice", "position", "timestamp", "journal", "complete_up_to", "complete_up_to_time", "rewinds"])
        .where(isOf(key))
        .where((eb) => eb.or([eb("complete_up_to", "is not", null), eb("rewinds", "is not", null)]))
    )
    return new Map(rows.map((row): [Slice, Known] => {
      const completeUpTo = row.complete_up_to === null
        ? undefined
        : Offset.make(row.complete_up_to, row.complete_up_to_time ?? 0)
      const before: Known = {
        offset: Offset.make(row.position, row.timestamp),
        journal: row.journal,
        completeUpTo,
        rewinds: toRewinds(row.rewinds),
        // {@link rewindGivenUp} sees to it
        givenUp: []
      }
      const slice = row.slice as Slice
      return [slice, rewound(before, offsets.get(slice) ?? Offset.beginning, journal, revision)]
    }))
  })

  /**
   * Remembers rewinds of slices with their entities, once the projection is locked. It looks at all entities that are older, page by page, which
   * is rare.
   */
  const fold = Effect.fnUntraced(function*(
    key: OffsetKey,
    rewinds: ReadonlyMap<Slice, ReadonlyArray<Rewind>>
  ): Effect.fn.Return<void, StorageError> {
    const newest = Math.max(...Array.from(rewinds.values(), (some) => some.at(-1)!.revision))
    const entities = db.selectFrom("sluice_offset_entity")
      .select(["persistence_id", "sequence_number", "revision", "since"])
      .where(isOf(key)).where("revision", "<", newest).orderBy("persistence_id").limit(maxRows)
    let page = yield* run(entities)
    while (page.length > 0) {
      const rows = page.flatMap((row) => {
        const some = rewinds.get(sliceOf(textOf(row.persistence_id)))
        const after = some && folded(some, toStoredNumber(row))
        return after === undefined ? [] : [{ ...key, ...row, since: after.since! }]
      })
      if (rows.length > 0) {
        const insert = db.insertInto("sluice_offset_entity").values(rows)
        yield* run(upsert(dialect, insert, ["projection", "source", "persistence_id"], ["since"]))
      }
      page = yield* run(entities.where("persistence_id", ">", page.at(-1)!.persistence_id))
    }
  })

  /** What is given up of slices whose offsets are set, as `rewound` in `Rewind` says. There may be tens of thousands of rows. */
  const rewindGivenUp = Effect.fnUntraced(function*(
    key: OffsetKey,
    isExact: boolean
  ): Effect.fn.Return<void, StorageError> {
    const ofKey = db.deleteFrom("sluice_given_up").where(isOf(key))
    if (isExact) {
      yield* run(ofKey)
      return
    }
    const offsets = (eb: ExpressionBuilder<SluiceTables, "sluice_given_up">) =>
      eb.selectFrom("sluice_offset as o").where("o.projection", "=", key.projection).where("o.source", "=", key.source)
        .whereRef("o.slice", "=", "sluice_given_up.slice")
    const since = (eb: ExpressionBuilder<SluiceTables, "sluice_given_up">) =>
      offsets(eb).select((eb) => sinceOf(eb.ref("o.position"), eb.ref("o.timestamp")).as("since"))
    yield* run(
      db.updateTable("sluice_given_up").set((eb) => ({ until: since(eb).$asScalar().$notNull() }))
        .where(isOf(key)).where((eb) => eb("until", ">", since(eb)))
    )
    // as a number, since PostgreSQL would join a table that was not analyzed yet in a way that takes a row of the one for each of the other
    const complete = (eb: ExpressionBuilder<SluiceTables, "sluice_given_up">) =>
      offsets(eb).where("o.complete_up_to", "is not", null).select((eb) =>
        sinceOf(eb.ref("o.complete_up_to"), eb.fn.coalesce("o.complete_up_to_time", sql<number>`0`)).as("complete")
      )
    yield* run(
      ofKey.where((eb) => eb("until", "<=", eb.fn.coalesce(complete(eb).$asScalar(), sql.lit(Number.MAX_SAFE_INTEGER))))
    )
  })

  const setOffsets = Effect.fnUntraced(function*(
    key: OffsetKey,
    start: Start,
    revision: number
  ): Effect.fn.Return<void, TooManyRewinds | StorageError> {
    const updated_at = yield* DatabaseClock.now(dialect)
    const after = yield* known(key, start, revision)
    const isExact = Array.from(after.values()).every(({ completeUpTo }) => completeUpTo === undefined)
    const common = {
      journal: start.journal ?? "",
      complete_up_to: null,
      complete_up_to_time: null,
      rewinds: null,
      revision,
      updated_at
    }
    yield* run(db.updateTable("sluice_projection_source").set({ revision }).where(isOf(key)))
    // also of those that were deleted by hand
    yield* insertOffsets(key)
    yield* run(db.updateTable("sluice_offset").set({ position: 0, timestamp: 0, ...common }).where(isOf(key)))
    const slices = new Set([...start.offsets.keys(), ...isExact ? [] : after.keys()])
    const ofEntities = new Map<Slice, ReadonlyArray<Rewind>>()
    const rows = []
    for (const slice of slices) {
      const { position, timestamp } = start.offsets.get(slice) ?? Offset.beginning
      const now: Partial<Known> = isExact ? {} : after.get(slice) ?? {}
      const { completeUpTo, journal, rewinds = [] } = now
      const some = bounded(rewinds)
      if (some === undefined) return yield* new TooManyRewinds({ ...key, slice })
      if (some.folded.length > 0) ofEntities.set(slice, some.folded)
      rows.push({
        ...key,
        slice,
        position,
        timestamp,
        ...common,
        ...journal === undefined ? {} : { journal },
        complete_up_to: completeUpTo?.position ?? null,
        complete_up_to_time: completeUpTo?.timestamp ?? null,
        rewinds: fromRewinds(some.kept)
      })
    }
    if (rows.length > 0) {
      const insert = db.insertInto("sluice_offset").values(rows)
      yield* run(upsert(
        dialect,
        insert,
        ["projection", "source", "slice"],
        ["position", "timestamp", "journal", "complete_up_to", "complete_up_to_time", "rewinds"]
      ))
    }
    yield* rewindGivenUp(key, isExact)
    if (isExact) yield* run(db.deleteFrom("sluice_offset_entity").where(isOf(key)))
    if (ofEntities.size > 0) yield* fold(key, ofEntities)
  })

  const discardAhead = (key: OffsetKey) =>
    run(
      db.deleteFrom("sluice_dead_letter").where(isOf(key)).where((letter) => {
        const offset = letter.selectFrom("sluice_offset as o").select("o.slice").where((eb) =>
          eb.and([
            eb("o.projection", "=", key.projection),
            eb("o.source", "=", key.source),
            eb("o.slice", "=", eb.ref("sluice_dead_letter.slice"))
          ])
        )
        return letter.or([
          letter.and([
            letter("position", "is", null),
            letter.not(letter.exists(
              offset.where((eb) => eb("o.timestamp", ">", eb.ref("sluice_dead_letter.timestamp")))
            ))
          ]),
          letter.exists(
            offset.where((eb) =>
              eb.and([
                eb("o.position", "<", eb.ref("sluice_dead_letter.position")),
                eb.or([
                  eb("o.position", ">", 0),
                  eb("o.timestamp", "<=", eb.ref("sluice_dead_letter.timestamp"))
                ])
              ])
            )
          )
        ])
      })
    )

  const page = (key: OffsetKey, after: DeadLetterId | undefined, limit: number) =>
    db.selectFrom("sluice_dead_letter").where(isOf(key)).where((eb) =>
      after === undefined ? eb.lit(true) : eb.or([
        eb("persistence_id", ">", after.persistenceId),
        eb.and([
          eb("persistence_id", "=", after.persistenceId),
          eb("sequence_number", ">", after.sequenceNumber)
        ])
      ])
    ).orderBy("persistence_id").orderBy("sequence_number").limit(limit)

  /** Some dead letter of an entity, locked until the end of the transaction. */
  const holdLetter: (
    key: OffsetKey,
    persistenceId: PersistenceId
  ) => Effect.Effect<boolean, StorageError> = Effect.fnUntraced(function*(key, persistenceId) {
    const some = db.selectFrom("sluice_dead_letter").select("sequence_number").where(isOf(key))
      .where("persistence_id", "=", persistenceId).orderBy("sequence_number").limit(1)
    if ((yield* run(locked(some))).length > 0) return true
    // a server that has waited for who deletes the first one may not look for the next
    return (yield* run(some)).length > 0 && (yield* holdLetter(key, persistenceId))
  })

  const lockLetter = (key: OffsetKey, letter: DeadLetterId) =>
    Effect.map(
      run(locked(db.selectFrom("sluice_dead_letter").selectAll().where(isOf(key)).where(eventOf(letter)))),
      ([row]) => row
    )

  /**
   * Whether the event is deleted or pruned in this database's own journal. If it is neither, it stays so until the end
   * of the transaction.
   */
  const isDeleted = Effect.fnUntraced(function*(
    { source }: OffsetKey,
    { persistenceId, position, sequenceNumber, slice, timestamp }: EncodedEnvelope
  ): Effect.fn.Return<boolean, StorageError> {
    const entityType = entityTypeOf(persistenceId)
    if (source !== sourceKey(entityType)) return false
    // before the letter, in the order in which a deletion locks them
    const [event] = yield* run(
      shareLocked(
        dialect,
        db.selectFrom("sluice_journal").select((eb) => eb("payload", "is", null).as("is_empty"))
          .where("persistence_id", "=", persistenceId).where("sequence_number", "=", sequenceNumber)
      )
    )
    if (event !== undefined) return Boolean(event.is_empty)
    const [floor] = yield* run(
      db.selectFrom("sluice_floor").select(["position", "timestamp"])
        .where("entity_type", "=", entityType).where("slice", "=", slice)
    )
    return floor !== undefined && floor.position >= (position ?? Infinity) && floor.timestamp >= timestamp
  })

  /** Where an event stands, if it is one of this database's own journal, or the newest state of an entity. */
  const placeOf = Effect.fnUntraced(function*(
    { source }: OffsetKey,
    { persistenceId, sequenceNumber }: DeadLetterId
  ): Effect.fn.Return<{ readonly position: number; readonly timestamp: number } | undefined, StorageError> {
    const entityType = entityTypeOf(persistenceId)
    if (source === sourceKey(entityType)) {
      const [event] = yield* run(
        db.selectFrom("sluice_journal").select(["position", "timestamp"])
          .where("persistence_id", "=", persistenceId).where("sequence_number", "=", sequenceNumber)
      )
      return event
    }
    if (source !== stateKey(entityType)) return undefined
    const [state] = yield* run(
      db.selectFrom("sluice_state").select(["position", "timestamp"])
        .where("persistence_id", "=", persistenceId).where("revision", "=", sequenceNumber)
    )
    return state
  })

  /** Why an event cannot be skipped, if so. It waits for nobody: a worker finds out what is committed meanwhile. */
  const skipProblem = Effect.fnUntraced(function*(
    key: OffsetKey,
    event: DeadLetterId
  ): Effect.fn.Return<SkipRefused["reason"] | undefined, StorageError> {
    const { persistenceId, sequenceNumber } = event
    const [letter] = yield* run(
      db.selectFrom("sluice_dead_letter").select("slice").where(isOf(key)).where(eventOf(event))
    )
    if (letter !== undefined) return "PutAside"
    const [row] = yield* run(
      db.selectFrom("sluice_offset").select(["position", "timestamp", "complete_up_to", "rewinds"]).where(isOf(key))
        .where("slice", "=", sliceOf(persistenceId))
    )
    const [last] = yield* run(
      db.selectFrom("sluice_offset_entity").select(["persistence_id", "sequence_number", "revision", "since"])
        .where(isOf(key)).where("persistence_id", "=", persistenceId)
    )
    if (row !== undefined) {
      const progress = {
        offset: Offset.make(row.position, row.timestamp),
        completeUpTo: (row.complete_up_to ?? undefined) as Position | undefined,
        rewinds: toRewinds(row.rewinds)
      }
      const place = yield* placeOf(key, event)
      if (isPast({ sequenceNumber, ...place }, progress, last && toStoredNumber(last))) return "Past"
    }
    const others = yield* run(
      db.selectFrom("sluice_skip").select("slice").where(isOf(key)).where((eb) => eb.not(eventOf(event)(eb)))
        .limit(maxSkips)
    )
    return others.length < maxSkips ? undefined : "TooMany"
  })

  const updateLetter = (
    key: OffsetKey,
    letter: DeadLetterId,
    change: Pick<DeadLetterTable, "claimed_at"> & Partial<Pick<DeadLetterTable, "error" | "queued" | "fingerprint">>
  ) => run(db.updateTable("sluice_dead_letter").set(change).where(isOf(key)).where(eventOf(letter)))

  /** Deletes what is stored of a projection in a source, once that is locked. */
  const forget = Effect.fnUntraced(function*(key: OffsetKey): Effect.fn.Return<void, StorageError> {
    yield* run(db.deleteFrom("sluice_projection_source").where(isOf(key)))
    yield* run(db.deleteFrom("sluice_offset").where(isOf(key)))
    yield* run(db.deleteFrom("sluice_offset_entity").where(isOf(key)))
    for (const table of ["sluice_passed_over", "sluice_given_up"] as const) {
      yield* run(db.deleteFrom(table).where(isOf(key)))
    }
    yield* run(db.deleteFrom("sluice_dead_letter").where(isOf(key)))
    yield* run(db.deleteFrom("sluice_skip").where(isOf(key)))
  })

  /** Fences the workers of a projection in a source, once that is locked. */
  const fence = (key: OffsetKey, revision: number): Effect.Effect<unknown, StorageError> =>
    Effect.andThen(
      run(db.updateTable("sluice_projection_source").set({ revision }).where(isOf(key))),
      run(db.updateTable("sluice_offset").set({ revision }).where(isOf(key)))
    )

  const sourcesOf = (projection: string): Effect.Effect<ReadonlyArray<OffsetKey>, StorageError> =>
    Effect.map(
      run(
        db.selectFrom("sluice_projection_source").select("source").where("projection", "=", projection).orderBy(
          "source"
        )
      ),
      (rows) => rows.map(({ source }) => ({ projection, source: textOf(source) }))
    )

  const versionsOf = (of: string): Effect.Effect<ReadonlyArray<StoredVersion>, StorageError> =>
    Effect.map(
      run(
        db.selectFrom("sluice_projection").select(["projection", "version", "phase"])
          .where((eb) => eb.or([eb("projection", "=", of), eb("version_of", "=", of)])).orderBy("version")
      ),
      (rows) =>
        rows.map(({ phase, projection, version }) => ({
          projection: textOf(projection),
          of,
          version,
          phase: phase as Phase
        }))
    )

  /**
   * The versions of a projection, of which nobody changes any until the end of the transaction: whoever does so locks the first one before others, and those in
   * the order of their numbers.
   */
  const lockVersions = (of: string): Effect.Effect<ReadonlyArray<StoredVersion>, StorageError> =>
    Effect.andThen(lockCommand(of), versionsOf(of))

  /** Locks what is stored of a version, so that nobody handles any of its events. */
  const lockVersion = Effect.fnUntraced(function*(
    { projection }: StoredVersion
  ): Effect.fn.Return<ReadonlyArray<OffsetKey>, StorageError> {
    yield* lockCommand(projection)
    const keys = yield* sourcesOf(projection)
    for (const key of keys) {
      yield* run(locked(db.selectFrom("sluice_projection_source").select("revision").where(isOf(key))))
      yield* lockOffsets(key)
    }
    return keys
  })

  /** Its workers are fenced, or, where it goes on, have nothing to read in it. All of it is locked, unless it is new. */
  const setPhase = Effect.fnUntraced(function*(
    { phase, projection }: StoredVersion,
    command: IssuedCommand["command"],
    issue: Issue | undefined
  ): Effect.fn.Return<void, StorageError> {
    const { revision: before, scalings } = (yield* lockCommand(projection))!
    const revision = yield* raise(
      projection,
      before,
      phase === "Live" ? { phase, scalings: scalings + 1 } : { phase }
    )
    if (phase === "Retired") { for (const key of yield* sourcesOf(projection)) yield* fence(key, revision) }
    yield* keep({ projection, source: undefined, command, revision }, issue)
  })

  /** Changes one version, if it is stored in the phase, and locked then. */
  const changeVersion = (
    id: VersionId,
    phase: Phase,
    change: (version: StoredVersion, keys: ReadonlyArray<OffsetKey>) => Effect.Effect<void, StorageError>
  ): Effect.Effect<boolean, StorageError> =>
    transaction(Effect.gen(function*() {
      const version = (yield* lockVersions(id.of)).find(({ version }) => version === id.version)
      if (version?.phase !== phase) return false
      yield* change(version, yield* lockVersion(version))
      return true
    }))

  const phaseOf = (projection: string): Effect.Effect<Phase | undefined, StorageError> =>
    Effect.map(
      run(db.selectFrom("sluice_projection").select("phase").where("projection", "=", projection)),
      ([row]) => row?.phase as Phase | undefined
    )

  const progress = (
    projection: string,
    slices: ReadonlyArray<Slice>
  ): Effect.Effect<ReadonlyArray<Progress>, StorageError> =>
    run(
      db.selectFrom("sluice_projection_source as s")
        .innerJoin("sluice_projection as p", "p.projection", "s.projection")
        .leftJoin("sluice_offset as o", (join) =>
          join.onRef("o.projection", "=", "s.projection").onRef("o.source", "=", "s.source")
            .on("o.slice", "in", slices.length === 0 ? [-1] : [...slices]))
        .leftJoin("sluice_passed_over as b", (join) =>
          join.onRef("b.projection", "=", "s.projection").onRef("b.source", "=", "s.source")
            .onRef("b.slice", "=", "o.slice").onRef("b.revision", "=", "s.revision"))
        .leftJoin(
          db.selectFrom("sluice_offset")
            .select((
              { fn }
            ) => ["source", fn.min("journal").as("first_journal"), fn.max("journal").as("last_journal")])
            .where("projection", "=", projection).where("journal", "<>", "").where("position", ">", 0)
            .groupBy("source").as("j"),
          (join) =>
            join.onRef("j.source", "=", "s.source")
        )
        .select([
          "s.source",
          "p.paused",
          "p.phase",
          "o.slice",
          "o.position",
          "o.timestamp",
          "o.journal",
          "o.complete_up_to",
          "o.rewinds",
          "b.position as from_position",
          "b.timestamp as from_timestamp",
          "b.up_to",
          "j.first_journal",
          "j.last_journal",
          (eb) =>
            eb.exists(
              eb.selectFrom("sluice_dead_letter as d").select("d.slice")
                .whereRef("d.projection", "=", "s.projection").whereRef("d.source", "=", "s.source")
            ).as("has_letters")
        ])
        .where("s.projection", "=", projection).orderBy("s.source")
    ).pipe(
      Effect.map((rows) =>
        Array.from(
          Map.groupBy(rows, ({ source }) =>
            textOf(source)),
          ([source, rows]) => ({
            source,
            isPaused: rows[0]!.paused === 1,
            phase: rows[0]!.phase as Phase,
            hasDeadLetters: Boolean(rows[0]!.has_letters),
            journal: rows[0]!.first_journal === rows[0]!.last_journal
              ? rows[0]!.first_journal ?? undefined
              : undefined,
            slices: new Map(rows.flatMap((row): ReadonlyArray<readonly [Slice, SliceProgress]> => {
              if (row.slice === null) {
                return []
              }
              const offset = Offset.make(row.position!, row.timestamp!)
              const completeUpTo = (row.complete_up_to ?? undefined) as Position | undefined
              const past = row.up_to === null ? undefined : {
                from: Offset.make(row.from_position!, row.from_timestamp!),
                upTo: row.up_to as Position
              }
              return [[row.slice as Slice, {
                offset,
                journal: row.journal === "" ? undefined : row.journal!,
                completeUpTo,
                rewinds: toRewinds(row.rewinds),
                pastLag: past === undefined ? 0 : pastLag(past, { offset, completeUpTo })
              }]]
            }))
          })
        )
      )
    )

  return ProjectionManagement.of({
    command: (projection) =>
      Effect.map(
        run(db.selectFrom("sluice_projection").selectAll().where("projection", "=", projection)),
        ([row]) => row === undefined ? noCommand : toCommand(row)
      ),
    register: (key) =>
      transaction(
        Effect.gen(function*() {
          const { projection } = key
          yield* insertMissing(db.insertInto("sluice_projection").values({ projection, paused: 0, revision: 0 }))
          const { phase, revision } = (yield* lockCommand(projection))!
          if (!isAtWork(phase as Phase)) return
          const [known] = yield* run(db.selectFrom("sluice_projection_source").select("revision").where(isOf(key)))
          if (known !== undefined) return
          yield* run(db.insertInto("sluice_projection_source").values({ ...key, revision, at_least_once: 0 }))
          yield* registerOffsets(key, revision)
        })
      ),
    commands: (projections) =>
      Effect.map(
        run(db.selectFrom("sluice_projection").selectAll().where("projection", "in", projections)),
        (rows) => new Map(rows.map((row) => [textOf(row.projection), toCommand(row)]))
      ),
    // a maximum would miss one that is committed after a greater one
    commanded: run(db.selectFrom("sluice_projection").select((eb) => eb.fn.sum("revision").as("commanded"))).pipe(
      Effect.map(([row]) => Number(row?.commanded ?? 0))
    ),
    isShared: true,
    setPaused: (projection, paused, issue) =>
      change(projection, paused ? "Pause" : "Resume", () => ({ paused: paused ? 1 : 0 }), issue),
    setWorkers: (projection, workers, issue) =>
      change(
        projection,
        "Scale",
        ({ scalings }) => ({ workers: workers ?? null, automatic: 0, scalings: scalings + 1 }),
        issue
      ),
    setWorkersAt: (projection, workers, at, issue) =>
      transaction(
        Effect.gen(function*() {
          const before = yield* lockCommand(projection)
          if (before?.revision !== at) return false
          const changed = { workers, automatic: 1, scalings: before.scalings + 1 }
          const revision = yield* raise(projection, at, changed)
          yield* keep({ projection, source: undefined, command: "Scale", revision }, issue)
          return true
        })
      ),
    history: (projection, before, limit) => {
      const commands = db.selectFrom("sluice_command").selectAll().where("projection", "=", projection)
      const wanted = before === undefined ? commands : commands.where("revision", "<", before)
      return Effect.map(run(wanted.orderBy("revision", "desc").limit(limit)), (rows) => rows.map(toIssued))
    },
    changes: signals.commands.subscribe,
    rewind: (key, start, undo, newest = Timestamp.make(0), issue) =>
      transaction(
        Effect.gen(function*() {
          yield* lock(key)
          yield* checkSince(
            key,
            start,
            yield* now,
            Effect.map(newestOf(key), (known) => Math.max(newest, known))
          )
          // nobody handles events now, and nobody can begin to
          yield* undo
          // which may be the rewind of another source of the projection
          const before = (yield* lockCommand(key.projection))!
          const revision = yield* raise(key.projection, before.revision, {})
          yield* setOffsets(key, start, revision)
          yield* discardAhead(key)
          yield* run(db.deleteFrom("sluice_skip").where(isOf(key)))
          yield* keep({ ...key, command: "Rewind", revision }, issue)
        })
      ).pipe(Effect.provideService(Transaction, SqlTransaction.service(database))),
    restart: (key, repair) =>
      transaction(
        Effect.gen(function*() {
          const revision = yield* raise(key.projection, yield* lock(key), {})
          yield* fence(key, revision)
          if (repair !== undefined) yield* keep({ ...key, command: "Repair", revision }, repair)
        })
      ),
    clear: (key, issue) =>
      transaction(
        Effect.gen(function*() {
          const before = yield* lock(key)
          yield* forget(key)
          const revision = yield* raise(key.projection, before, {})
          yield* keep({ ...key, command: "Clear", revision }, issue)
        })
      ),
    declare: (id, issue) =>
      transaction(Effect.gen(function*() {
        const { of, version } = id
        const first: StoredVersion = { projection: of, of, version: 1, phase: "Building" }
        const isNew = (yield* phaseOf(of)) === undefined
        if (isNew) {
          const phase = version === 1 ? first.phase : "Dropped"
          const values = { projection: of, paused: 0, revision: 0, phase }
          yield* insertMissing(db.insertInto("sluice_projection").values(values))
        }
        const versions = yield* lockVersions(of)
        if (isNew && version === 1 && (yield* lockCommand(of))!.revision === 0) yield* setPhase(first, "Build", issue)
        if (versions.some((one) => one.version === version)) return
        const added: StoredVersion = { ...id, projection: nameOf(id), phase: initialPhase(versions, id) }
        const { phase, projection } = added
        // the first one is there by now
        if ((yield* lockCommand(projection)) !== undefined) return yield* new VersionNameTaken({ of, version })
        yield* run(
          db.insertInto("sluice_projection").values({
            projection,
            paused: 0,
            revision: 0,
            version_of: of,
            version,
            phase
          })
        )
        if (phase === "Building") yield* setPhase(added, "Build", issue)
      })),
    versions: Effect.fnUntraced(function*(projection) {
      const [row] = yield* run(
        db.selectFrom("sluice_projection").select("version_of").where("projection", "=", projection)
      )
      return yield* versionsOf(row?.version_of == null ? projection : textOf(row.version_of))
    }),
    complete: (id, isComplete, switching, issue) =>
      transaction(Effect.gen(function*() {
        const changes = completed(yield* lockVersions(id.of), id)
        for (const version of changes) yield* lockVersion(version)
        const isLive = changes.some(({ phase }) => phase === "Live")
        if (isLive) {
          if (!isComplete(yield* progress(nameOf(id), SliceRange.slices(SliceRange.full)))) return false
          // nobody handles events of any of them now, and nobody can begin to
          const { of, version } = id
          yield* unlessIdle(
            database,
            transactionTimeout,
            switching,
            (limit) => new SwitchTooSlow({ of, version, limit })
          )
        }
        for (const version of changes) yield* setPhase(version, "Switch", issue)
        return isLive
      })).pipe(Effect.provideService(Transaction, SqlTransaction.service(database))),
    cancel: (id, issue) =>
      changeVersion(id, "Building", (version) => setPhase({ ...version, phase: "Retired" }, "Cancel", issue)),
    drop: (id, issue) =>
      Effect.asVoid(changeVersion(id, "Retired", (version, keys) =>
        Effect.andThen(
          Effect.forEach(keys, forget),
          setPhase({ ...version, phase: "Dropped" }, "Drop", issue)
        ))),
    list: run(
      db.selectFrom("sluice_projection_source").select(["projection", "source"]).orderBy("projection").orderBy("source")
    ).pipe(
      Effect.map((rows) => rows.map((row) => ({ projection: textOf(row.projection), source: textOf(row.source) })))
    ),
    progress,
    skip: (key, event, issue = noIssue) =>
      transaction(
        Effect.gen(function*() {
          const before = yield* lockKnown(key)
          const reason = yield* skipProblem(key, event)
          if (reason !== undefined) return yield* new SkipRefused({ ...key, ...event, reason })
          const insert = db.insertInto("sluice_skip").values({
            ...key,
            persistence_id: event.persistenceId,
            sequence_number: event.sequenceNumber,
            slice: sliceOf(event.persistenceId),
            author: issue.by,
            reason: issue.reason
          })
          const skip = ["projection", "source", "persistence_id", "sequence_number"] as const
          yield* run(upsert(dialect, insert, skip, ["author", "reason"]))
          const revision = yield* raise(key.projection, before.revision, {})
          yield* keep({ ...key, command: "Skip", revision }, issue)
        })
      ),
    skips: (key, range) =>
      run(
        db.selectFrom("sluice_skip").select(["persistence_id", "sequence_number", "author", "reason"]).where(isOf(key))
          .where("slice", ">=", range.min).where("slice", "<=", range.max)
      ).pipe(
        Effect.map((rows) =>
          rows.map((row) => ({
            persistenceId: textOf(row.persistence_id) as PersistenceId,
            sequenceNumber: row.sequence_number as SequenceNumber,
            by: row.author,
            reason: row.reason
          }))
        )
      ),
    endSkip: (key, event) =>
      transaction(
        Effect.gen(function*() {
          const [skip] = yield* run(
            locked(db.selectFrom("sluice_skip").select("slice").where(isOf(key)).where(eventOf(event)))
          )
          if (skip === undefined) return false
          yield* run(db.deleteFrom("sluice_skip").where(isOf(key)).where(eventOf(event)))
          return true
        })
      ),
    putAside: ({ envelope, error, fingerprint, key }) =>
      transaction(
        Effect.gen(function*() {
          // its content was read before the transaction
          const isGone = yield* isDeleted(key, envelope)
          const payload = isGone ? undefined : envelope.payload
          const values = {
            slice: envelope.slice,
            position: envelope.position ?? null,
            timestamp: envelope.timestamp,
            manifest: payload?.manifest ?? null,
            payload: payload === undefined ? null : bytesOf(payload.bytes),
            tags: isGone ? null : encodeTags(envelope.tags),
            metadata: isGone ? null : MetadataColumn.encode(envelope),
            error: isGone ? deletedError : errorText(error),
            put_aside_at: yield* DatabaseClock.now(dialect),
            claimed_at: null,
            queued: 0,
            fingerprint: fingerprintText(fingerprint)
          }
          const { persistenceId: persistence_id, sequenceNumber: sequence_number } = envelope
          const insert = db.insertInto("sluice_dead_letter").values({
            ...key,
            persistence_id,
            sequence_number,
            ...values
          })
          const letter = ["projection", "source", "persistence_id", "sequence_number"] as const
          yield* run(upsert(dialect, insert, letter, Object.keys(values) as Array<keyof typeof values>))
        })
      ),
    parked: (key, range) =>
      run(
        db.selectFrom("sluice_dead_letter").select("persistence_id").distinct().where(isOf(key))
          .where("slice", ">=", range.min).where("slice", "<=", range.max)
      ).pipe(
        Effect.map((rows) => rows.map((row) => textOf(row.persistence_id) as PersistenceId))
      ),
    holdParked: (key, persistenceIds) =>
      Effect.map(
        Effect.filter(persistenceIds, (persistenceId) => holdLetter(key, persistenceId)),
        (held) => new Set(held)
      ),
    queue: Effect.fnUntraced(function*(key, events) {
      const put_aside_at = yield* DatabaseClock.now(dialect)
      for (const some of Arr.chunksOf(events, maxRows)) {
        yield* insertMissing(
          db.insertInto("sluice_dead_letter").values(
            some.map(({ persistenceId, position, sequenceNumber, slice, timestamp }) => ({
              ...key,
              persistence_id: persistenceId,
              sequence_number: sequenceNumber,
              slice,
              position: position ?? null,
              timestamp,
              manifest: null,
              payload: null,
              tags: null,
              metadata: null,
              error: queuedError,
              put_aside_at,
              claimed_at: null,
              queued: 1,
              fingerprint: ""
            }))
          )
        )
      }
    }),
    letterCounts: (key) =>
      run(
        db.selectFrom("sluice_dead_letter").select(({ fn }) => [
          fn.count("persistence_id").distinct().as("entities"),
          fn.countAll().as("letters"),
          fn.sum("queued").as("queued")
        ]).where(isOf(key))
      ).pipe(
        Effect.map(([row]) => {
          const queued = Number(row?.queued ?? 0)
          return { entities: Number(row?.entities ?? 0), failed: Number(row?.letters ?? 0) - queued, queued }
        })
      ),
    letterGroups: (key, limit) =>
      run(
        db.selectFrom("sluice_dead_letter").select(({ fn }) => [
          "fingerprint",
          fn.countAll().as("letters"),
          fn.count("persistence_id").distinct().as("entities"),
          fn.min("put_aside_at").as("first"),
          fn.max("put_aside_at").as("last")
        ]).where(isOf(key)).where("queued", "=", 0).groupBy("fingerprint")
          .orderBy("letters", "desc").orderBy("fingerprint").limit(limit)
      ).pipe(
        Effect.map((rows) =>
          rows.map(({ entities, fingerprint, first, last, letters }) => ({
            fingerprint,
            letters: Number(letters),
            entities: Number(entities),
            first: Timestamp.make(first),
            last: Timestamp.make(last)
          }))
        )
      ),
    // page by page, as a transaction that locks many rows stops who queues behind them
    discardAll: Effect.fnUntraced(function*(key, { fingerprint, persistenceId }, issue) {
      yield* transaction(Effect.flatMap(lockKnown(key), (before) => keepDiscard(key, before, issue)))
      const letters = db.selectFrom("sluice_dead_letter").select(["persistence_id", "sequence_number"]).where(isOf(key))
      const ofEntity = persistenceId === undefined ? letters : letters.where("persistence_id", "=", persistenceId)
      const meant = fingerprint === undefined
        ? ofEntity
        : ofEntity.where("queued", "=", 0).where("fingerprint", "=", fingerprint)
      let discarded = 0
      while (true) {
        const rows = yield* transaction(
          Effect.gen(function*() {
            const rows = yield* run(locked(meant.orderBy("persistence_id").orderBy("sequence_number").limit(maxRows)))
            if (rows.length === 0) return rows
            yield* run(
              db.deleteFrom("sluice_dead_letter").where(isOf(key)).where((eb) =>
                eb.or(rows.map((row) =>
                  eb.and([
                    eb("persistence_id", "=", row.persistence_id),
                    eb("sequence_number", "=", row.sequence_number)
                  ])
                ))
              )
            )
            return rows
          })
        )
        discarded += rows.length
        // as with the letter of an entity that is held
        if (rows.length === 0 && (yield* run(meant.limit(1))).length === 0) return discarded
      }
    }),
    deadLetters: (key, after, limit) =>
      run(page(key, after, limit).selectAll()).pipe(
        Effect.map((rows) => rows.map((row) => toDeadLetter(key, row)))
      ),
    listLetters: (key, after, limit) =>
      run(
        page(key, after, limit).select([
          "persistence_id",
          "sequence_number",
          "queued",
          "fingerprint",
          (eb) => eb("error", "=", deletedError).as("is_deleted")
        ])
      ).pipe(
        Effect.map((rows) =>
          rows.map((row) => ({
            persistenceId: textOf(row.persistence_id) as PersistenceId,
            sequenceNumber: row.sequence_number as SequenceNumber,
            isDeleted: Boolean(row.is_deleted),
            isQueued: row.queued === 1,
            fingerprint: row.fingerprint
          }))
        )
      ),
    discard: (key, letter, claimedAt) =>
      transaction(
        Effect.gen(function*() {
          const row = yield* lockLetter(key, letter)
          if (row === undefined || claimedAt !== undefined && row.claimed_at !== claimedAt) return undefined
          yield* run(db.deleteFrom("sluice_dead_letter").where(isOf(key)).where(eventOf(letter)))
          return toDeadLetter(key, row)
        })
      ),
    discardAsTold: (key, letter, issue) =>
      transaction(
        Effect.gen(function*() {
          const before = yield* lockKnown(key)
          const row = yield* lockLetter(key, letter)
          if (row === undefined) return undefined
          yield* run(db.deleteFrom("sluice_dead_letter").where(isOf(key)).where(eventOf(letter)))
          yield* keepDiscard(key, before, issue)
          return toDeadLetter(key, row)
        })
      ),
    discardAhead: (key) => Effect.asVoid(discardAhead(key)),
    claim: (key, letter, claimFor) =>
      transaction(
        Effect.gen(function*() {
          const row = yield* lockLetter(key, letter)
          const at = yield* now
          if (row === undefined || isClaimed(row, at)) return undefined
          const claimedAt = claimAfter(row.claimed_at, at, claimFor)
          yield* updateLetter(key, letter, { claimed_at: claimedAt })
          return { ...toDeadLetter(key, row), claimedAt, wasAbandoned: row.claimed_at !== null }
        })
      ),
    renew: (key, letter, claimedAt, claimFor) =>
      transaction(
        Effect.gen(function*() {
          const row = yield* lockLetter(key, letter)
          if (row?.claimed_at !== claimedAt) return undefined
          const renewed = claimAfter(claimedAt, yield* now, claimFor)
          yield* updateLetter(key, letter, { claimed_at: renewed })
          return renewed
        })
      ),
    release: (key, letter, claimedAt, failure) =>
      transaction(
        Effect.gen(function*() {
          const row = yield* lockLetter(key, letter)
          if (row === undefined) return
          const isFree = claimedAt === undefined ? !isClaimed(row, yield* now) : row.claimed_at === claimedAt
          if (!isFree) return
          yield* updateLetter(key, letter, {
            claimed_at: null,
            error: errorText(errorAfter(row.error, failure?.error)),
            ...failure === undefined ? {} : { queued: 0, fingerprint: fingerprintText(failure.fingerprint) }
          })
        })
      )
  })
}

const isClaimed = ({ claimed_at }: Pick<DeadLetterTable, "claimed_at">, now: number): boolean =>
  claimed_at !== null && claimed_at > now - claimTime * 1000

/** PostgreSQL has no text with a zero in it. */
const errorText = (error: string): string => error.slice(0, maxErrorLength).replaceAll("\0", "\\0")

/** The column of MySQL has room for 255 characters. */
const fingerprintText = (fingerprint: string): string => errorText(fingerprint).slice(0, 255)

const toIssued = (row: CommandTable): IssuedCommand => ({
  projection: textOf(row.projection),
  source: row.source === null ? undefined : textOf(row.source),
  command: row.command as IssuedCommand["command"],
  revision: row.revision,
  target: row.target ?? undefined,
  by: row.author,
  reason: row.reason,
  at: row.commanded_at as Timestamp.Timestamp
})

const toDeadLetter = (key: OffsetKey, row: DeadLetterTable): DeadLetter => ({
  key,
  envelope: encoded({
    persistenceId: textOf(row.persistence_id) as PersistenceId,
    sequenceNumber: row.sequence_number as SequenceNumber,
    slice: row.slice as Slice,
    position: row.position as Position | null ?? undefined,
    timestamp: row.timestamp as Timestamp.Timestamp,
    tags: decodeTags(row.tags),
    ...MetadataColumn.decode(row.metadata)
  }, row.payload === null ? undefined : { manifest: row.manifest!, bytes: row.payload }),
  isQueued: row.queued === 1,
  error: row.error,
  fingerprint: row.fingerprint,
  at: row.put_aside_at as Timestamp.Timestamp
})
