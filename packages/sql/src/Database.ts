/**
 * A database that runs Kysely queries as Effects.
 *
 * Kysely builds and compiles the SQL, and its dialect's driver talks to the database. Everything with a lifetime, that is
 * connections, transactions, streams and cancellation, is Effect's: the database is an `effect/sql` `SqlClient` over
 * the Kysely driver, so a transaction is carried by the fiber, nests as savepoints, and is shared with whatever else uses
 * that `SqlClient`.
 *
 * @since 0.1.0
 */
import type { StorageError } from "@sluice/core/StorageError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type { Acquirer, Connection } from "effect/sql/SqlConnection"
import { SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import type { DatabaseConnection, Dialect as KyselyDialect } from "kysely"
import { CompiledQuery, SelectQueryNode } from "kysely"
import { type Dialect, execute, type Query } from "./Dialect.ts"
import { classify } from "./internal/classify.ts"

/**
 * The storage's own database, for queries beside the journal: in the fiber's transaction if there is one.
 *
 * **Example** (Appending an event and writing a table in one transaction)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal } from "@sluice/core"
 * import { Database, Tables } from "@sluice/sql"
 * import { SqliteStorage } from "@sluice/sqlite"
 * import { Effect } from "effect"
 * import { sql } from "kysely"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const tables = Tables.make<{ note: { id: string; text: string } }>()
 *
 * const program = Effect.gen(function*() {
 *   const database = yield* Database.Database
 *   yield* database.run(sql`CREATE TABLE note (id TEXT PRIMARY KEY, text TEXT NOT NULL)`)
 *   yield* database.withTransaction(Effect.gen(function*() {
 *     yield* Journal.append(Note, { id: "n-1", events: ["written"] })
 *     yield* database.run(tables.insertInto("note").values({ id: "n-1", text: "written" }))
 *   }))
 *   return yield* database.run(tables.selectFrom("note").selectAll())
 * })
 * await Effect.runPromise(Effect.provide(program, SqliteStorage.layer({ filename: ":memory:" })))
 * // => [{ id: "n-1", text: "written" }]
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Database extends Context.Service<Database, {
  readonly dialect: Dialect
  /** The same connections and transactions as an `effect/sql` client. */
  readonly sql: SqlClient.SqlClient
  /** Runs a query and returns its rows; none for a statement that returns none. */
  readonly run: <A>(query: Query<A>) => Effect.Effect<ReadonlyArray<A>, SqlError>
  /** Runs the effect, and every query in it, in one transaction; within another as a savepoint. */
  readonly withTransaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  /** Runs the effect once the outermost transaction has committed. */
  readonly afterCommit: SqlClient.SqlClient["afterCommit"]
  /** Whether the fiber is in a transaction. */
  readonly inTransaction: Effect.Effect<boolean>
}>()("@sluice/sql/Database") {}

/**
 * How to reach the database.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly dialect: Dialect
  readonly driver: KyselyDialect
  /** How a transaction begins; `BEGIN` by default. */
  readonly beginTransaction?: string | undefined
  /** For how long, in milliseconds, a statement that finds a lock taken is tried again, where the driver does not wait itself. */
  readonly busyTimeout?: number | undefined
}

const chunkSize = 500

class KyselyConnection implements Connection {
  readonly dialect: Dialect
  readonly connection: DatabaseConnection
  readonly control: (f: (connection: DatabaseConnection) => Promise<void>) => Promise<void>
  readonly busyTimeout: number
  /** The fibers of a transaction share its connection, and a driver runs one query after the other. */
  private readonly turn = Semaphore.makeUnsafe(1)
  private isOver = false

  constructor(
    { busyTimeout, dialect }: Options,
    connection: DatabaseConnection,
    control: KyselyConnection["control"]
  ) {
    this.dialect = dialect
    this.connection = connection
    this.control = control
    this.busyTimeout = busyTimeout ?? 0
  }

  /** To be called before others get the connection: a fiber that outlives its transaction would write in theirs. */
  end(): void {
    this.isOver = true
  }

  /**
   * Interruption cancels the query in the database and waits for it to end, so that the connection is never given back
   * while still busy.
   */
  private cancellable<A>(operation: string, f: () => Promise<A>): Effect.Effect<A, SqlError> {
    const once = this.isOver ? Effect.die(queryAfterTransaction()) : Effect.callback<A, SqlError>((resume) => {
      const promise = f()
      promise.then(
        (value) => resume(Effect.succeed(value)),
        (cause) => resume(Effect.fail(new SqlError({ reason: classify(this.dialect, cause, operation) })))
      )
      return Effect.promise(async () => {
        await this.connection.cancelQuery?.(this.control).catch(() => {})
        await promise.catch(() => {})
      })
    })
    return this.turn.withPermit(
      this.busyTimeout === 0 ? once : retryWhileBusy(this.busyTimeout)(once)
    )
  }

  /** Ends a stream that may have more rows, so that the connection is free for the next query. */
  private async close(iterator: AsyncIterableIterator<unknown>): Promise<void> {
    if (this.dialect === "mysql") {
      // the driver leaves the connection waiting for the rest of the rows, which there are fewer of once the query is cancelled
      await this.connection.cancelQuery?.(this.control).catch(() => {})
      while (!(await iterator.next()).done);
    }
    await iterator.return?.()
  }

  private query(sql: string, params: ReadonlyArray<unknown>) {
    const query = this.cancellable(
      "execute",
      () => this.connection.executeQuery<any>(CompiledQuery.raw(sql, params as Array<unknown>))
    )
    // what was done on a connection that is lost is rolled back by the database, and what the effect failed with says more
    return sql.startsWith("ROLLBACK")
      ? Effect.catchIf(query, isConnectionLost, () => Effect.succeed({ rows: [] }))
      : query
  }

  execute(sql: string, params: ReadonlyArray<unknown>, transformRows: any) {
    const rows = Effect.map(this.query(sql, params), (_) => _.rows)
    return transformRows === undefined ? rows : Effect.map(rows, (_): Array<any> => transformRows(_))
  }
  executeRaw(sql: string, params: ReadonlyArray<unknown>) {
    return this.query(sql, params)
  }
  executeValues(sql: string, params: ReadonlyArray<unknown>) {
    return Effect.map(this.query(sql, params), (_) => _.rows.map((row) => Object.values(row)))
  }
  executeValuesUnprepared(sql: string, params: ReadonlyArray<unknown>) {
    return this.executeValues(sql, params)
  }
  executeUnprepared(sql: string, params: ReadonlyArray<unknown>, transformRows: any) {
    return this.execute(sql, params, transformRows)
  }
  executeStream(sql: string, params: ReadonlyArray<unknown>, transformRows: any) {
    const rows = Stream.unwrap(Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          if (this.isOver) throw queryAfterTransaction()
          const query = CompiledQuery.raw(sql, params as Array<unknown>)
          return this.connection.streamQuery<any>(
            // SQLite's driver only streams what it is told is a SELECT
            this.dialect === "sqlite" ? { ...query, query: SelectQueryNode.create() } : query,
            chunkSize
          )
        }),
        (iterator) => Effect.promise(() => this.close(iterator).catch(() => {}))
      ),
      (iterator) =>
        Stream.paginate(iterator, (iterator) =>
          Effect.map(
            this.cancellable("stream", () => gather(iterator)),
            (rows) => [rows, rows.length < chunkSize ? Option.none() : Option.some(iterator)] as const
          ))
    ))
    return transformRows === undefined ? rows : Stream.mapArray(rows, transformRows)
  }
}

const isConnectionLost = ({ reason }: SqlError): boolean => reason._tag === "ConnectionError"

const queryAfterTransaction = () =>
  new Error(
    "A fiber runs a query in a transaction that is over: it has outlived the effect that the transaction was for"
  )

/** PostgreSQL reads a chunk at a time; the others yield single rows. */
const gather = async <A>(iterator: AsyncIterator<{ readonly rows: Array<A> }>): Promise<Array<A>> => {
  const rows: Array<A> = []
  while (rows.length < chunkSize) {
    const result = await iterator.next()
    if (result.done) break
    for (const row of result.value.rows) rows.push(row)
  }
  return rows
}

/**
 * Tries again, without blocking the event loop, while somebody else has the lock, for at most `timeout` milliseconds. The
 * effect must not have begun a transaction of its own.
 *
 * @category combinators
 * @since 0.1.0
 */
export const retryWhileBusy =
  (timeout: number) =>
  <A, E extends SqlError | StorageError, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.retry(self, {
      while: (error: SqlError | StorageError) =>
        error._tag === "SqlError" ? error.reason._tag === "LockTimeoutError" : error.reason === "Busy",
      schedule: Schedule.min([Schedule.exponential("1 millis", 1.5), Schedule.spaced("20 millis")]).pipe(
        Schedule.jittered,
        Schedule.upTo({ duration: timeout })
      )
    })

/**
 * Connects for as long as the scope is open.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Database["Service"], SqlError, Scope.Scope> {
  const { dialect } = options
  const attempt = <A>(operation: string, f: () => Promise<A>) =>
    Effect.tryPromise({
      try: f,
      catch: (cause) => new SqlError({ reason: classify(dialect, cause, operation) })
    })

  const driver = options.driver.createDriver()
  yield* Effect.acquireRelease(
    attempt("connect", () => driver.init()),
    () => Effect.promise(() => driver.destroy().catch(() => {}))
  )

  const control: KyselyConnection["control"] = async (f) => {
    const connection = await driver.acquireConnection()
    try {
      await f(connection)
    } finally {
      await driver.releaseConnection(connection)
    }
  }
  /** Who does not wait for it any more does not keep it. */
  const acquire = Effect.callback<DatabaseConnection, SqlError>((resume) => {
    const promise = driver.acquireConnection()
    promise.then(
      (connection) => resume(Effect.succeed(connection)),
      (cause) => resume(Effect.fail(new SqlError({ reason: classify(dialect, cause, "acquire") })))
    )
    return Effect.sync(() => void promise.then((connection) => driver.releaseConnection(connection)).catch(() => {}))
  })
  const lease: Acquirer = Effect.acquireRelease(
    Effect.map(acquire, (connection) => new KyselyConnection(options, connection, control)),
    (leased) => {
      leased.end()
      return Effect.promise(() => driver.releaseConnection(leased.connection).catch(() => {}))
    },
    { interruptible: true }
  ).pipe(
    Effect.tap(({ connection }) =>
      connection.collectSessionInfo === undefined
        ? Effect.void
        : attempt("acquire", () => connection.collectSessionInfo!())
    )
  )

  // a driver with one connection lends it to one after the other
  const semaphore = Semaphore.makeUnsafe(1)
  const acquirer: Acquirer = options.driver.createAdapter().supportsMultipleConnections === false
    ? Effect.andThen(
      Effect.acquireRelease(semaphore.take(1), () => semaphore.release(1), { interruptible: true }),
      lease
    )
    : lease

  const sql = yield* SqlClient.make({
    acquirer,
    compiler: statementCompilers[dialect](),
    driver: `kysely-${dialect}`,
    spanAttributes: [["db.system.name", dialect]],
    beginTransaction: options.beginTransaction ?? "BEGIN",
    releaseSavepoint: (savepoint) => `RELEASE SAVEPOINT ${savepoint}`
  }).pipe(Effect.provide(Reactivity.layer))

  const ambient = Effect.serviceOption(sql.transactionService)
  return Database.of({
    dialect,
    sql,
    run: (query) =>
      execute(dialect, query, ({ parameters, sql }) => {
        const use = (connection: Connection) => connection.execute(sql, parameters, undefined)
        return Effect.flatMap(
          ambient,
          (current) => current._tag === "Some" ? use(current.value[0]) : Effect.scoped(Effect.flatMap(acquirer, use))
        )
      }),
    withTransaction: sql.withTransaction,
    afterCommit: sql.afterCommit,
    inTransaction: Effect.map(ambient, Option.isSome)
  })
})

const statementCompilers: Record<Dialect, () => Statement.Compiler> = {
  sqlite: () => Statement.makeCompilerSqlite(),
  postgres: () =>
    Statement.makeCompiler({
      dialect: "pg",
      placeholder: (index) => `$${index}`,
      onIdentifier: Statement.defaultEscape("\""),
      onCustom: (_type, placeholder) => [placeholder(undefined), []],
      onRecordUpdate: (placeholders, valueAlias, valueColumns, values, returning) => [
        `(values ${placeholders}) AS ${valueAlias}${valueColumns}${returning ? ` RETURNING ${returning[0]}` : ""}`,
        returning ? values.flat().concat(returning[1]) : values.flat()
      ]
    }),
  mysql: () =>
    Statement.makeCompiler({
      dialect: "mysql",
      placeholder: () => "?",
      onIdentifier: Statement.defaultEscape("`"),
      onCustom: (_type, placeholder) => [placeholder(undefined), []],
      onRecordUpdate: () => ["", []]
    })
}
