/**
 * The offset store in the tables of a SQL database.
 *
 * @since 0.1.0
 */
import { HandlerTooSlow } from "@sluice/core/Handler"
import type { Offset } from "@sluice/core/Offset"
import {
  type Ahead,
  type Basis,
  beginsAnew,
  Fenced,
  fencedAt,
  journalOf,
  type Move,
  type OffsetKey,
  OffsetsDeleted,
  OffsetStore
} from "@sluice/core/OffsetStore"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import { forgottenSince, type StoredNumber } from "@sluice/core/Rewind"
import { ofPersistenceId as sliceOf, type Slice } from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import { type Statement, Transaction } from "@sluice/core/Transaction"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { type Kysely, type Selectable, sql } from "kysely"
import type { Database } from "../Database.ts"
import { textOf } from "../internal/columns.ts"
import { isOf } from "../internal/offsetKey.ts"
import { toRewinds } from "../internal/rewindsColumn.ts"
import { shareLocked } from "../internal/shareLocked.ts"
import { toStoredNumber } from "../internal/storedNumber.ts"
import * as Succession from "../internal/Succession.ts"
import { TimedOutHandlers } from "../internal/TimedOutHandlers.ts"
import { unlessIdle } from "../internal/unlessIdle.ts"
import { upsert } from "../internal/upsert.ts"
import type { OffsetEntityTable, SluiceTables } from "../SluiceTables.ts"
import { fromSqlError, ofStorage } from "./SqlStorageError.ts"
import * as SqlTransaction from "./SqlTransaction.ts"

/**
 * What is stored of an entity.
 *
 * @category models
 * @since 0.1.0
 */
export type NumberRow = Pick<
  Selectable<OffsetEntityTable>,
  "persistence_id" | "sequence_number" | "revision" | "since"
>

/**
 * How the sequence numbers of entities are loaded and stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface Numbers {
  /** The last numbers of those entities that have one. */
  readonly load: (
    key: OffsetKey,
    persistenceIds: ReadonlyArray<PersistenceId>
  ) => Effect.Effect<ReadonlyArray<NumberRow>, SqlError>
  /**
   * Stores the last numbers of entities that were handled, in the fiber's transaction, and from where on slices have them, where that is not stored yet. Returns what
   * was stored before of those whose number was not less than the first one that was handled.
   */
  readonly store: (
    key: OffsetKey,
    revision: number,
    moves: ReadonlyArray<Move>
  ) => Effect.Effect<ReadonlyArray<NumberRow>, SqlError>
}

/**
 * The database, and how it moves offsets.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly database: Database["Service"]
  /** Builds queries over Sluice's tables. */
  readonly db: Kysely<SluiceTables>
  /**
   * Moves offsets by compare-and-set, in the order given and in the fiber's transaction. Returns whether all of them
   * had the expected positions and revision.
   */
  readonly move: (
    key: OffsetKey,
    basis: Basis,
    moves: ReadonlyArray<Move>
  ) => Effect.Effect<boolean, SqlError>
  /**
   * The statement that `move` runs, word for word and with the same parameters, of which there is one at least, for a database that begins a transaction with
   * the commit of the one before; undefined where it takes more than one statement.
   */
  readonly moveStatement?: (key: OffsetKey, basis: Basis, moves: ReadonlyArray<Move>) => Statement | undefined
  /** In the statements of all databases if undefined. */
  readonly numbers?: Numbers | undefined
  /** For how many milliseconds the server lets a transaction be idle, if it has such a limit. */
  readonly transactionTimeout?: number | undefined
}

/** How many rows a statement has at most. */
const maxRows = 500

/** A statement of the handler that takes too long more than once would do so for ever. */
const tooSlow = ({ reason: { cause } }: SqlError): StorageError =>
  new StorageError({
    operation: "run a statement of the handler, which reached its time limit or was cancelled",
    reason: "Failed",
    cause
  })

const numbersOf = (database: Database["Service"], db: Kysely<SluiceTables>): Numbers => {
  const load: Numbers["load"] = (key, persistenceIds) =>
    Effect.map(
      Effect.forEach(Arr.chunksOf(persistenceIds, maxRows), (ids) =>
        database.run(
          db.selectFrom("sluice_offset_entity").select(["persistence_id", "sequence_number", "revision", "since"])
            .where(isOf(key)).where("persistence_id", "in", ids)
        )),
      Arr.flatten
    )
  return {
    load,
    store: Effect.fnUntraced(function*(key, revision, moves) {
      const caseOf = (value: (move: Move) => number) =>
        sql<number>`CASE slice ${
          sql.join(moves.map((move) => sql`WHEN ${sql.lit(move.slice)} THEN ${sql.lit(value(move))}`), sql` `)
        } END`
      yield* database.run(
        db.updateTable("sluice_offset").set({
          complete_up_to: caseOf(({ from }) => from?.position ?? 0),
          complete_up_to_time: caseOf(({ from }) => from?.timestamp ?? 0)
        })
          .where(isOf(key)).where("slice", "in", moves.map((move) => move.slice)).where("complete_up_to", "is", null)
      )
      const handled = new Map(moves.flatMap(({ entities }) => [...entities!]))
      const before = yield* load(key, [...handled.keys()])
      for (const some of Arr.chunksOf([...handled], maxRows)) {
        const insert = db.insertInto("sluice_offset_entity").values(
          some.map(([persistence_id, { last }]) => ({ ...key, persistence_id, sequence_number: last, revision }))
        )
        yield* database.run(
          upsert(database.dialect, insert, ["projection", "source", "persistence_id"], [
            "sequence_number",
            "revision",
            // to null
            "since"
          ])
        )
      }
      return before.filter((row) =>
        row.sequence_number >= handled.get(textOf(row.persistence_id) as PersistenceId)!.first
      )
    })
  }
}

/**
 * The offset store of a database. Its transactions are those of the database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  { database, db, move, moveStatement, numbers = numbersOf(database, db), transactionTimeout }: Options
): OffsetStore["Service"] => {
  const transaction = SqlTransaction.service(database)
  const timedOut = new TimedOutHandlers()

  /** Why not all of the moves could be made. */
  const refused = Effect.fnUntraced(function*(
    key: OffsetKey,
    revision: number,
    moves: ReadonlyArray<Move>
  ): Effect.fn.Return<Fenced | OffsetsDeleted, SqlError> {
    const [known] = yield* database.run(db.selectFrom("sluice_projection_source").select("revision").where(isOf(key)))
    if (known?.revision !== revision) return new Fenced({ ...key, slice: undefined, by: "command" })
    const rows = yield* database.run(
      db.selectFrom("sluice_offset").select(["slice", "position", "timestamp"]).where(isOf(key))
    )
    const stored = new Map(rows.map((row) => [row.slice, row]))
    const deleted = moves.find(({ slice }) => !stored.has(slice))
    if (deleted !== undefined) return new OffsetsDeleted({ ...key, slice: deleted.slice })
    const elsewhere = moves.find(({ slice, to }) => {
      const { position, timestamp } = stored.get(slice)!
      return position !== to.position || timestamp !== to.timestamp
    })
    // another worker may have moved it to the same position
    const { from, slice } = elsewhere ?? moves[0]!
    return fencedAt(key, slice, from, stored.get(slice))
  })

  /** Locks the row of the projection against a rewind, and checks whether there has been one. */
  const isCurrent = (key: OffsetKey, revision: number): Effect.Effect<boolean, SqlError> => {
    const select = db.selectFrom("sluice_projection_source").select("revision").where(isOf(key))
    return Effect.map(database.run(shareLocked(database.dialect, select)), ([row]) => row?.revision === revision)
  }

  const storeMoves = (
    key: OffsetKey,
    basis: Basis,
    moves: ReadonlyArray<Move>
  ): Effect.Effect<void, Fenced | OffsetsDeleted | SqlError> =>
    Effect.flatMap(
      moves.length === 0 ? isCurrent(key, basis.revision) : move(key, basis, moves),
      (isMoved) => isMoved ? Effect.void : Effect.flatMap(refused(key, basis.revision, moves), Effect.fail)
    )

  const sequenceNumbers = (
    key: OffsetKey,
    persistenceIds: ReadonlyArray<PersistenceId>
  ): Effect.Effect<ReadonlyMap<PersistenceId, StoredNumber>, SqlError> =>
    Effect.map(
      numbers.load(key, persistenceIds),
      (rows) => new Map(rows.map((row) => [textOf(row.persistence_id) as PersistenceId, toStoredNumber(row)]))
    )

  /** A slice of which another worker has handled entities since it was last rewound, as what was stored of them shows. */
  const handledTwice = Effect.fnUntraced(function*(
    key: OffsetKey,
    moves: ReadonlyArray<Move>,
    twice: ReadonlyArray<NumberRow>
  ): Effect.fn.Return<Slice | undefined, SqlError> {
    if (twice.length === 0) return undefined
    const stored = twice.map((row) => {
      const persistenceId = textOf(row.persistence_id) as PersistenceId
      return { slice: moves.find(({ entities }) => entities!.has(persistenceId))!.slice, number: toStoredNumber(row) }
    })
    const slices = new Set(stored.map(({ slice }) => slice))
    const rows = yield* database.run(
      db.selectFrom("sluice_offset").select(["slice", "rewinds"]).where(isOf(key)).where("slice", "in", [...slices])
    )
    const rewinds = new Map(rows.map((row) => [row.slice, toRewinds(row.rewinds)]))
    return stored.find(({ number, slice }) => forgottenSince(rewinds.get(slice), number) === undefined)?.slice
  })

  /** The rows of their slices are locked. A replay moves no offset: what it has handled is compared by these numbers. */
  const storeEntities = (
    key: OffsetKey,
    revision: number,
    moves: ReadonlyArray<Move>
  ): Effect.Effect<void, Fenced | SqlError> =>
    numbers.store(key, revision, moves).pipe(
      Effect.flatMap((twice) => handledTwice(key, moves, twice)),
      Effect.flatMap((slice) =>
        slice === undefined ? Effect.void : Effect.fail(new Fenced({ ...key, slice, by: "worker" }))
      )
    )

  /**
   * Deletes what is known of slices that begin anew: what was passed over, given up and to be skipped in them, and the sequence numbers of their entities. It
   * looks at all entities, page by page, which is rare.
   */
  const forget = Effect.fnUntraced(function*(
    key: OffsetKey,
    slices: ReadonlySet<Slice>
  ): Effect.fn.Return<void, SqlError> {
    for (const table of ["sluice_passed_over", "sluice_given_up", "sluice_skip"] as const) {
      yield* database.run(db.deleteFrom(table).where(isOf(key)).where("slice", "in", [...slices]))
    }
    const known = yield* database.run(
      db.selectFrom("sluice_offset").select("slice").where(isOf(key)).where("slice", "in", [...slices])
        .where((eb) => eb.or([eb("complete_up_to", "is not", null), eb("rewinds", "is not", null)]))
    )
    if (known.length === 0) return
    yield* database.run(
      db.updateTable("sluice_offset").set({ complete_up_to: null, rewinds: null }).where(isOf(key))
        .where("slice", "in", [...slices])
    )
    const entities = db.selectFrom("sluice_offset_entity").select("persistence_id").where(isOf(key))
      .orderBy("persistence_id").limit(maxRows)
    let page = yield* database.run(entities)
    while (page.length > 0) {
      const begunAnew = page.map((row) => row.persistence_id).filter((id) =>
        slices.has(sliceOf(textOf(id) as PersistenceId))
      )
      if (begunAnew.length > 0) {
        yield* database.run(
          db.deleteFrom("sluice_offset_entity").where(isOf(key)).where("persistence_id", "in", begunAnew)
        )
      }
      page = yield* database.run(entities.where("persistence_id", ">", page.at(-1)!.persistence_id))
    }
  })

  /** What a transaction begins with, where it moves anything. */
  const beginningOf = (key: OffsetKey, basis: Basis, moves: ReadonlyArray<Move>): Statement | undefined =>
    moves.length === 0 ? undefined : moveStatement?.(key, basis, moves)

  const successions = new WeakMap<Ahead, Succession.Succession>()

  /** The transactions of a worker, each of which may begin with the commit of the one before; undefined where none does. */
  const successionOf = (ahead: Ahead | undefined, key: OffsetKey, basis: Basis): Succession.Succession | undefined => {
    if (ahead === undefined || moveStatement === undefined) return undefined
    const known = successions.get(ahead)
    if (known !== undefined) return known
    const made = new Succession.Succession(() => {
      const moves = ahead.next()
      return moves === undefined ? undefined : beginningOf(key, basis, moves)
    })
    successions.set(ahead, made)
    ahead.abandon = made.abandon
    return made
  }

  const unlessHandlerIdle = <A, E, R>(
    { projection }: OffsetKey,
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | HandlerTooSlow, R> =>
    transactionTimeout === undefined
      ? effect
      : unlessIdle(database, transactionTimeout, effect, (limit) => new HandlerTooSlow({ projection, limit }))

  /**
   * If the storage has failed in the transaction, that is why the effect failed, whatever error the effect has made of
   * it.
   */
  const blamingStorage = <A, E, R>(
    key: OffsetKey,
    moves: ReadonlyArray<Move>,
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | StorageError, R> =>
    Effect.catchCause(
      Effect.tap(effect, () => Effect.sync(() => timedOut.done(key, moves))),
      (cause) =>
        Effect.flatMap(
          database.trouble,
          (trouble): Effect.Effect<never, E | StorageError> =>
            trouble === undefined || Cause.hasInterruptsOnly(cause)
              ? Effect.failCause(cause)
              : Effect.fail(
                trouble.reason._tag === "StatementTimeoutError" && timedOut.isAgain(key, moves)
                  ? tooSlow(trouble)
                  : fromSqlError("run a handler")(trouble)
              )
        )
    )

  const transact = <A, E, R>(
    key: OffsetKey,
    basis: Basis,
    moves: ReadonlyArray<Move>,
    effect: Effect.Effect<A, E, R>
  ) => {
    const leavingOut = moves.filter((move) => move.entities !== undefined)
    const begunAnew = new Set(moves.filter(beginsAnew).map(({ slice }) => slice))
    return SqlTransaction.run(
      database,
      "commit",
      Effect.catchTag(
        storeMoves(key, basis, moves),
        "SqlError",
        (error) => Effect.fail(ofStorage("move offsets")(error))
      ).pipe(
        Effect.andThen(
          leavingOut.length === 0
            ? Effect.void
            : Effect.catchTag(
              storeEntities(key, basis.revision, leavingOut),
              "SqlError",
              (error) => Effect.fail(ofStorage("store sequence numbers")(error))
            )
        ),
        Effect.andThen(
          begunAnew.size === 0
            ? Effect.void
            : Effect.mapError(forget(key, begunAnew), ofStorage("forget what was read of slices"))
        ),
        Effect.flatMap(() =>
          blamingStorage(key, moves, unlessHandlerIdle(key, Effect.provideService(effect, Transaction, transaction)))
        )
      )
    )
  }

  return OffsetStore.of({
    load: (key, range) =>
      database.run(
        // in one statement: with two, a rewind between them would mix offsets from before with offsets from after it
        db.selectFrom("sluice_projection_source as s").leftJoin("sluice_offset as o", (join) =>
          join.onRef("o.projection", "=", "s.projection").onRef("o.source", "=", "s.source")
            .on("o.slice", ">=", range.min).on("o.slice", "<=", range.max))
          .select([
            "s.revision",
            "o.slice",
            "o.position",
            "o.timestamp",
            "o.journal",
            "o.complete_up_to",
            "o.complete_up_to_time",
            "o.rewinds"
          ])
          .where("s.projection", "=", key.projection).where("s.source", "=", key.source).orderBy("o.slice")
      ).pipe(
        Effect.mapError(fromSqlError("load offsets")),
        Effect.flatMap((found) => {
          const revision = found[0]?.revision
          const rows = found.flatMap((row) =>
            row.slice === null ? [] : [{
              slice: row.slice as Slice,
              offset: { position: row.position as Position, timestamp: row.timestamp as Timestamp },
              journal: row.journal!,
              rewinds: toRewinds(row.rewinds),
              completeUpTo: row.complete_up_to === null ? undefined : {
                position: row.complete_up_to as Position,
                timestamp: (row.complete_up_to_time ?? 0) as Timestamp
              }
            }]
          )
          const at = rows.findIndex(({ slice }, i) =>
            slice !== range.min + i
          )
          const present = at < 0 ? rows.length : at
          const missing = revision === undefined || present === SliceRange.size(range)
            ? undefined
            : (range.min + present) as Slice
          if (missing !== undefined) return Effect.fail(new OffsetsDeleted({ ...key, slice: missing }))
          const begun = rows.filter(({ offset }) => offset.position > 0 || offset.timestamp > 0)
          // before the first event, the journal's identity does not matter, unless something is known of entities
          const read = rows.filter((row) => row.completeUpTo !== undefined || begun.includes(row))
          return Effect.succeed({
            revision,
            journal: journalOf(read.map((row) => row.journal)),
            offsets: new Map(begun.map(({ offset, slice }): [Slice, Offset] => [slice, offset])),
            completeUpTo: new Map(rows.flatMap(({ completeUpTo, slice }) =>
              completeUpTo === undefined ? [] : [[slice, completeUpTo] as const]
            )),
            rewinds: new Map(rows.flatMap(({ rewinds, slice }) =>
              rewinds.length === 0 ? [] : [[slice, rewinds] as const]
            ))
          })
        })
      ),
    sequenceNumbers: (key, persistenceIds) =>
      Effect.mapError(sequenceNumbers(key, persistenceIds), fromSqlError("load sequence numbers")),
    transact: (key, basis, moves, effect, ahead) => {
      const succession = successionOf(ahead, key, basis)
      if (succession === undefined) return transact(key, basis, moves, effect)
      // what the effect runs after its transaction is none of the succession
      const own = transact(key, basis, moves, Effect.provideService(effect, Succession.Current, undefined))
      return Effect.andThen(
        succession.comeTo(() => beginningOf(key, basis, moves)),
        Effect.provideService(own, Succession.Current, succession)
      )
    }
  })
}
