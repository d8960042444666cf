import { type AppendRequest, maxPageBytes } from "@sluice/core/Journal"
import type { Offset } from "@sluice/core/Offset"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import type { Answer } from "@sluice/sql/adapter/AppendLane"
import type { JournalDialect } from "@sluice/sql/adapter/JournalDialect"
import { type JournalRow, sizeInSql, sizeOf, toEnvelope, toPage } from "@sluice/sql/adapter/JournalRow"
import type * as Naming from "@sluice/sql/adapter/Naming"
import { toSqlError } from "@sluice/sql/adapter/SqlStorageError"
import type { Database } from "@sluice/sql/Database"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type * as Mysql from "mysql2"
import { assign, type Heads } from "./assign.ts"
import type { Packet } from "./connection.ts"
import { whole } from "./pieces.ts"
import { firstRows, type Pool, query, withConnection } from "./pool.ts"
import { statusAfter } from "./serverStatus.ts"
import {
  entitiesOf,
  type EntityRow,
  type FloorRow,
  indexName,
  literal,
  type LogRow,
  makeStatements,
  packets,
  slicesOf
} from "./statements.ts"
import type { UnderWay } from "./UnderWay.ts"

const maxPageRows = 10_000

const selectedOf = (table: string) =>
  `${table}.slice, ${table}.position, ${table}.timestamp, CONVERT(${table}.persistence_id USING utf8mb4) AS persistence_id,
  ${table}.sequence_number, ${table}.manifest, ${table}.payload, ${table}.tags, ${table}.metadata`

/** @internal The pools of connections: for appends and for reads. */
export interface Connections {
  readonly writers: Pool
  readonly readers: Pool
  readonly database: Database["Service"]
  readonly packet: Packet
}

interface FoundRow extends Omit<LogRow, "slice"> {
  readonly id: string
  readonly sequence_number: number
}

const headsOf = (
  requests: ReadonlyArray<AppendRequest>,
  logs: ReadonlyArray<LogRow>,
  entities: ReadonlyArray<EntityRow>,
  found: ReadonlyArray<FoundRow>
): Heads => {
  const ids = entitiesOf(requests)
  return {
    logs: new Map(logs.map(({ position, slice, timestamp }) => [slice, { position, timestamp }])),
    entities: new Map(entities.map(({ n, number }) => [ids[number - 1]!, n ?? 0])),
    found: new Map(found.map((row) => [
      uuidOf(row.id),
      { sequenceNumber: row.sequence_number, position: row.position, timestamp: row.timestamp } as any
    ])),
    now: entities.find(({ number }) => number === 1)!.now!
  }
}

const uuidOf = (hex: string): string => hex.toLowerCase().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")

/** @internal */
export const makeDialect = (
  { database, packet, readers, writers }: Connections,
  naming: Naming.Naming,
  writerId: string,
  underWay: UnderWay
): JournalDialect => {
  /** Less what the protocol adds. */
  const maxBytes = () => packet.max - 1024
  const statements = makeStatements(naming, writerId, maxBytes)
  const { head, journal } = statements

  /** The first events that a query finds, up to `maxPageBytes`. After the last of its rows, if it is known which that is, the connection has nothing more to receive. */
  const page = (operation: string, sql: string, rows = Infinity) =>
    Effect.suspend(() => {
      let bytes = 0
      let left = rows
      const isEnough = (row: JournalRow) => {
        left--
        bytes += sizeOf(row)
        return bytes >= maxPageBytes && left > 0
      }
      return Effect.map(firstRows(readers, operation, sql, isEnough), toPage)
    })

  /** The events of pages that are read one after the other: the next one is not asked for more than fits, unless this one had room. */
  const pages = (operation: string) => {
    let pageRows = maxPageRows
    return (limit: number, sqlOf: (rows: number) => string) =>
      Effect.suspend(() => {
        const rows = Math.min(limit, pageRows)
        return Effect.map(page(operation, sqlOf(rows), rows), ({ events, isFull }) => {
          pageRows = isFull ? events.length : Math.max(pageRows, Math.min(2 * rows, maxPageRows))
          return events
        })
      })
  }
  const windows = pages("byTime")
  const entities = pages("entity")

  /**
   * Two round trips: locks and heads, then what follows from them. The isolation level is set with each transaction, whatever became of
   * the session behind a proxy.
   */
  const append = (requests: ReadonlyArray<AppendRequest>, how: "" | "SKIP LOCKED") => {
    const { entityType } = requests[0]!
    const found = statements.found(requests)
    return withConnection(writers, "append", (run) =>
      Effect.gen(function*() {
        const results = yield* run<Array<any>>([
          "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
          "START TRANSACTION",
          statements.lock(entityType, requests, how),
          statements.floors(entityType, requests),
          statements.entities(requests),
          ...(found === undefined ? [] : [found])
        ].join(";"))
        const [, , heads, floors, entities, before = []] = results
        if (isDamaged(heads, floors, how === "" ? slicesOf(requests).length : 0)) return yield* headDamaged
        const assigned = assign(requests, headsOf(requests, heads, entities, before))
        if (assigned.rows.length === 0) {
          yield* run("ROLLBACK")
          return assigned.answers
        }
        const rest = [...statements.inserts(entityType, assigned), [statements.move(entityType, assigned)], ["COMMIT"]]
        const headers: Array<Mysql.ResultSetHeader> = []
        for (const packet of packets(rest, maxBytes())) {
          headers.push(...[yield* run<Mysql.ResultSetHeader | Array<Mysql.ResultSetHeader>>(packet)].flat())
        }
        const [moved, committed] = headers.slice(-2)
        // only what was written in the transaction that has the locks, and is committed, is acknowledged
        return statusAfter(moved!) === "open" && statusAfter(committed!) === "none"
          ? assigned.answers
          : yield* Effect.fail(transactionLost)
      }))
  }

  /** Makes heads that are missing, and moves those on that lag behind their logs: rows of tables may be deleted, or set back, by hand. */
  const mend = (
    entityType: string,
    slices: ReadonlyArray<number>,
    heads: ReadonlyArray<LogRow>,
    run: (sql: string) => Effect.Effect<ReadonlyArray<any>, SqlError>
  ): Effect.Effect<void, SqlError> =>
    Effect.flatMap(run(statements.lasts(entityType, slices)), (lasts: ReadonlyArray<LogRow>) => {
      const known = new Map(heads.map((head) => [head.slice, head.position]))
      const wrong = [...slices.map((slice) => ({ slice, position: 0, timestamp: 0 })), ...lasts]
        .filter(({ position, slice }) => position > (known.get(slice) ?? -1))
      if (wrong.length === 0) return Effect.void
      return run(statements.raise(entityType, wrong.toSorted((a, b) => a.slice - b.slice)))
    })

  /** In no transaction of anybody's. */
  const alone = (sql: string): Effect.Effect<ReadonlyArray<any>, SqlError> => query(writers, "append", sql)

  /** Once more, where a head is missing, or lags behind its log or its floor, after that is mended. */
  const mending = <A>(
    requests: ReadonlyArray<AppendRequest>,
    run: (sql: string) => Effect.Effect<ReadonlyArray<any>, SqlError>,
    append: Effect.Effect<A, SqlError>
  ): Effect.Effect<A, SqlError> =>
    Effect.catchIf(
      append,
      isWrongHead,
      () => Effect.andThen(mend(requests[0]!.entityType, slicesOf(requests), [], run), append)
    )

  const { sql } = database
  const appendWithin = Effect.fnUntraced(function*(request: AppendRequest): Effect.fn.Return<Answer, SqlError> {
    const { entityType } = request
    const logs = yield* sql.unsafe<LogRow>(statements.lock(entityType, [request], ""))
    // if the snapshot shows another head than the lock does, the snapshot is older
    const [seen] = yield* sql.unsafe<FloorRow & { readonly floor: number | null }>(statements.seen(entityType, request))
    if (seen?.position !== logs[0]?.position) return yield* staleSnapshot
    if (isDamaged(logs, seen === undefined ? [] : [{ slice: seen.slice, position: seen.floor ?? 0 }], 1)) {
      return yield* headDamaged
    }
    const entities = yield* sql.unsafe<EntityRow>(statements.entities([request]))
    const found = statements.found([request])
    const assigned = assign(
      [request],
      headsOf([request], logs, entities, found === undefined ? [] : yield* sql.unsafe<FoundRow>(found))
    )
    if (assigned.rows.length > 0) {
      for (const insert of statements.inserts(entityType, assigned)) yield* sql.unsafe(whole(insert))
      yield* sql.unsafe(statements.move(entityType, assigned))
    }
    return assigned.answers[0]!
  })

  return {
    register: (entityType) =>
      Effect.flatMap(
        query<Array<LogRow>>(
          writers,
          "register",
          `SELECT slice, position, timestamp FROM ${head} WHERE entity_type = ${literal(entityType)}`
        ),
        (heads) => mend(entityType, allSlices, heads, (sql) => query(writers, "register", sql))
      ),
    tryAppend: (requests) => underWay.during(requests, mending(requests, alone, append(requests, "SKIP LOCKED"))),
    waitAppend: (requests) =>
      underWay.during(
        requests,
        mending(requests, alone, append(requests, "") as Effect.Effect<ReadonlyArray<Answer>, SqlError>)
      ),
    // in a savepoint: an append that fails or is interrupted must leave no events beyond the head of their log
    appendWithin: (request) =>
      mending([request], (statement) => sql.unsafe(statement), database.withTransaction(appendWithin(request))),
    joins: () => true,
    now: Effect.map(
      query<Array<{ now: number }>>(
        readers,
        "now",
        "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) AS now"
      ),
      ([row]) => Timestamp.make(row!.now)
    ),
    heads: (entityType, range) =>
      Effect.map(
        query<Array<{ slice: Slice.Slice } & Offset>>(
          readers,
          "heads",
          `SELECT slice, position, timestamp FROM ${head}
            WHERE entity_type = ${literal(entityType)} AND slice BETWEEN ${range.min} AND ${range.max} AND position > 0`
        ),
        (rows) => new Map(rows.map(({ position, slice, timestamp }) => [slice, { position, timestamp }]))
      ),
    timestamps: (entityType, positions) =>
      Effect.map(
        query<Array<{ slice: Slice.Slice; timestamp: Timestamp.Timestamp }>>(
          readers,
          "timestamps",
          statements.timestamps(entityType, positions)
        ),
        (rows) => new Map(rows.map(({ slice, timestamp }) => [slice, timestamp]))
      ),
    byTime: (entityType, range, { slice, timestamp }, limit) =>
      windows(limit, (rows) =>
        `SELECT ${selectedOf("j")} FROM ${journal} j FORCE INDEX (PRIMARY)
          WHERE entity_type = ${literal(entityType)} AND slice BETWEEN ${range.min} AND ${range.max}
            AND timestamp >= ${timestamp} AND (timestamp > ${timestamp} OR slice > ${slice})
          ORDER BY timestamp, slice LIMIT ${rows}`),
    bySlices: (entityType, after, limit) =>
      Effect.map(
        page(
          "bySlices",
          after.map(([slice, position]) =>
            `(SELECT ${selectedOf("j")} FROM ${journal} j FORCE INDEX (${indexName(naming, "log")})
              WHERE entity_type = ${literal(entityType)} AND slice = ${slice} AND position > ${position}
              ORDER BY position LIMIT ${limit})`
          ).join(" UNION ALL ")
        ),
        ({ events, isFull }) => ({
          events: events.toSorted((a, b) => a.timestamp - b.timestamp || a.slice - b.slice),
          isFull
        })
      ),
    // without the hint, the optimizer reads the whole entity type, and so waits for transactions on other logs
    remove: (entityType, slice, positions) =>
      sql.unsafe(
        `DELETE j FROM ${journal} j FORCE INDEX (${indexName(naming, "log")})
          WHERE j.entity_type = ${literal(entityType)} AND j.slice = ${slice} AND j.position IN (${
          positions.join(",")
        })`
      ),
    entity: (persistenceId: PersistenceId, from, to, limit) =>
      Effect.flatMap(database.inTransaction, (inTransaction) => {
        const id = literal(persistenceId)
        const chosen = (table: string) =>
          `${table}.persistence_id = ${id} AND ${table}.sequence_number BETWEEN ${from} AND ${to}`
        if (!inTransaction) {
          return entities(
            limit,
            (rows) =>
              `SELECT ${selectedOf("j")} FROM ${journal} j FORCE INDEX (${indexName(naming, "entity")})
              WHERE ${chosen("j")} ORDER BY j.sequence_number LIMIT ${rows}`
          )
        }
        // the connection cannot be closed when enough is read, so the server finds out how much that is
        const text = `SELECT ${selectedOf("j")} FROM ${journal} j JOIN (
            SELECT s.sequence_number, SUM(s.bytes) OVER (ORDER BY s.sequence_number) - s.bytes AS before_it FROM (
              SELECT e.sequence_number, ${sizeInSql("e")} AS bytes FROM ${journal} e
              WHERE ${chosen("e")} ORDER BY e.sequence_number LIMIT ${limit}
            ) s
          ) s ON s.sequence_number = j.sequence_number
          WHERE j.persistence_id = ${id} AND s.before_it < ${maxPageBytes} ORDER BY j.sequence_number`
        return Effect.map(sql.unsafe<JournalRow>(text), (rows) => rows.map(toEnvelope))
      })
  }
}

const headDamaged = toSqlError("mysql")("append")(
  Object.assign(new Error("a log has no head, or one below its floor: the table of heads was changed by hand"), {
    code: "HEAD_DAMAGED"
  })
)

/** Whether heads are not there, or would have events written where nobody reads any more. */
const isDamaged = (heads: ReadonlyArray<LogRow>, floors: ReadonlyArray<FloorRow>, count: number): boolean => {
  if (heads.length < count) return true
  if (floors.length === 0) return false
  const positions = new Map(heads.map(({ position, slice }) => [slice, position]))
  return floors.some(({ position, slice }) => (positions.get(slice) ?? position) < position)
}

/** Whether the head of a log is known to be wrong, or what it says is free is taken. */
const isWrongHead = (error: SqlError): boolean =>
  error === headDamaged ||
  error.reason._tag === "UniqueViolation" && /^PRIMARY$|journal_log$/.test(error.reason.constraint)

const allSlices = Array.from({ length: Slice.count }, (_, slice) => slice)

const transactionLost = toSqlError("mysql")("append")(
  Object.assign(new Error("the transaction of an append was lost"), { code: "ECONNABORTED" })
)

const staleSnapshot = toSqlError("mysql")("append")(
  new Error("events are appended in READ COMMITTED transactions, and this one sees an older state of the log")
)
