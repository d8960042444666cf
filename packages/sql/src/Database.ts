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
import { isTraced } from "@sluice/core/Tracing"
import type { Statement as SqlStatement } from "@sluice/core/Transaction"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Fiber } from "effect/Fiber"
import { identity } from "effect/Function"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import { type Dialect, execute, type Query } from "./adapter/Dialect.ts"
import type { Session, Sessions } from "./adapter/Session.ts"
import { toConnectError } from "./adapter/SqlStorageError.ts"
import { Lease, type Options as LeaseOptions } from "./internal/Lease.ts"
import { retryFor } from "./internal/retryFor.ts"
import * as Succession from "./internal/Succession.ts"

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
  /** The same with SQL and its parameters. It is a span where there is a tracer. */
  readonly execute: (statement: SqlStatement) => Effect.Effect<ReadonlyArray<unknown>, SqlError>
  /**
   * Runs the effect, and every query in it, in one transaction; within another as a savepoint. It succeeds only when
   * the server says that it is committed. If the database has ended the transaction, it fails with the error that
   * caused this, even if the effect has handled that error.
   */
  readonly withTransaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  /**
   * Runs the effect once the outermost transaction has committed. It is not interrupted then. Whoever waits for the transaction waits for it as well: the next
   * event of an exactly-once projection, and a worker that is to end. So what may take long should have a deadline of its own.
   */
  readonly afterCommit: SqlClient.SqlClient["afterCommit"]
  /** Whether the fiber is in a transaction that is not over. */
  readonly inTransaction: Effect.Effect<boolean>
  /** Whether the fiber has outlived the transaction that it was started in. What it runs would be part of nothing. */
  readonly hasOutlived: Effect.Effect<boolean>
  /**
   * The first failure of the database itself in the fiber's transaction, such as of a connection, a lock or a disk,
   * even if somebody has handled it. Later failures in the transaction may be its consequences. A missing table or the
   * like is forgotten once it was undone by a rollback to a savepoint.
   */
  readonly trouble: Effect.Effect<SqlError | undefined>
  /**
   * For how many milliseconds the fiber's transaction has run no statement. It is 0 while a statement runs, and outside
   * of a transaction.
   */
  readonly idle: Effect.Effect<number>
  /** Runs an effect that talks to the driver itself, as a statement of the fiber's transaction. */
  readonly direct: <A>(operation: string, f: () => A) => Effect.Effect<A, SqlError>
}>()("@sluice/sql/Database") {}

/**
 * How to reach the database.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly dialect: Dialect
  readonly sessions: Sessions
  /** How a transaction begins; `BEGIN` by default. */
  readonly beginTransaction?: string | undefined
  /**
   * For how long, in milliseconds, a statement is tried again that finds a lock taken. For drivers that do not wait
   * themselves.
   */
  readonly busyTimeout?: number | undefined
}

/**
 * Tries again while another process has the lock, for at most `timeout` milliseconds, and does not block the event
 * loop. The effect must not have begun a transaction of its own.
 *
 * @category combinators
 * @since 0.1.0
 */
export const retryWhileBusy =
  (timeout: number) =>
  <A, E extends SqlError | StorageError, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    retryFor<E>({
      atMost: timeout,
      while: (error: SqlError | StorageError) =>
        error._tag === "SqlError" ? error.reason._tag === "LockTimeoutError" : error.reason === "Busy",
      schedule: whileBusy
    })(self)

const whileBusy = Schedule.jittered(Schedule.min([Schedule.exponential("1 millis", 1.5), Schedule.spaced("20 millis")]))

/**
 * Connects for as long as the scope is open.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Database["Service"], SqlError, Scope.Scope> {
  const { beginTransaction = "BEGIN", busyTimeout = 0, dialect, sessions } = options
  const leaseOptions: LeaseOptions = {
    dialect,
    retry: busyTimeout === 0 ? identity : retryWhileBusy(busyTimeout),
    level: (lease) => Effect.map(level, (level) => level?.[0] === lease ? level[1] : 0)
  }
  const open = async (signal: AbortSignal): Promise<Lease> => {
    const session: Session = await sessions.acquire(signal)
    try {
      await session.connection.collectSessionInfo?.()
    } catch (error) {
      session.release(false)
      throw error
    }
    return new Lease(leaseOptions, session)
  }
  /**
   * A fiber that is interrupted while it waits leaves the queue. A connection that comes at that very moment is given
   * back.
   */
  const acquire = Effect.callback<Lease, SqlError>((resume, signal) => {
    const promise = open(signal)
    promise.then(
      (lease) => resume(Effect.succeed(lease)),
      (cause) => resume(Effect.fail(toConnectError(dialect)("acquire")(cause)))
    )
    return Effect.sync(() => void promise.then((lease) => Effect.runFork(lease.release()), () => {}))
  })
  const lease = Effect.acquireRelease(acquire, giveBack, { interruptible: true })

  // one connection is lent to one after the other
  const semaphore = Semaphore.makeUnsafe(1)
  const acquirer: Effect.Effect<Lease, SqlError, Scope.Scope> = sessions.isSingle
    ? Effect.andThen(semaphore.takeScoped(1), lease)
    : lease

  const spanAttributes = [["db.system.name", dialect]] as const
  const client = yield* SqlClient.make({
    acquirer,
    compiler: statementCompilers[dialect](),
    driver: `kysely-${dialect}`,
    spanAttributes
  }).pipe(Effect.provide(Reactivity.layer))

  const levelOf = ({ context }: Fiber<unknown, unknown>) =>
    Context.getOrUndefined(context, client.transactionService) as readonly [Lease, number] | undefined
  const level = Effect.withFiber((fiber) => Effect.succeed(levelOf(fiber)))
  const ambient = Effect.withFiber((fiber) => Effect.succeed(levelOf(fiber)?.[0]))
  const check = Effect.flatMap(ambient, (lease) => lease === undefined ? Effect.void : lease.check)
  const transaction = SqlClient.makeWithTransaction<SqlClient.TransactionConnection, Connection>({
    transactionService: client.transactionService,
    spanAttributes,
    acquireConnection: (restore) =>
      Effect.withFiber((fiber) => {
        const succession = fiber.getRef(Succession.Current)
        if (succession === undefined) return restore(acquirer)
        const begun = succession.take()
        const acquired = begun === undefined
          ? restore(acquirer)
          : Effect.as(Effect.addFinalizer((exit) => giveBack(begun, exit)), begun)
        return Effect.map(acquired, (lease) => {
          lease.joins(succession)
          return lease
        })
      }),
    begin: (lease, statement) => (lease as Lease).begin(statement ?? beginTransaction),
    savepoint: (lease, id) => (lease as Lease).savepoint(id),
    releaseSavepoint: (lease, id) => (lease as Lease).releaseSavepoint(id),
    commit: (lease) => (lease as Lease).commit(),
    onCommitFailure: (lease) => (lease as Lease).rollback(),
    rollback: (lease) => (lease as Lease).rollback(),
    rollbackSavepoint: (lease, id) => (lease as Lease).rollbackSavepoint(id)
  })
  const withTransaction: Database["Service"]["withTransaction"] = (effect) =>
    Effect.flatMap(level, (level) => {
      const own = transaction(Effect.tap(effect, () => check))
      // before it is committed, and after a savepoint is released, where there is a transaction around it
      return level === undefined ? own : Effect.tap(level[0].within(level[1], own), () => check)
    })
  const sql: SqlClient.SqlClient = Object.assign(client, { withTransaction })
  /** In the fiber's transaction, or on a connection of its own. */
  const executeOnAny = ({ parameters, sql }: SqlStatement): Effect.Effect<ReadonlyArray<unknown>, SqlError> => {
    const use = (connection: Connection) => connection.execute(sql, parameters, undefined)
    return Effect.withFiber((fiber) => {
      const current = levelOf(fiber)?.[0]
      return current === undefined ? Effect.scoped(Effect.flatMap(acquirer, use)) : use(current)
    })
  }

  return Database.of({
    dialect,
    sql,
    run: (query) => execute(dialect, query, executeOnAny),
    execute: (statement) =>
      Effect.withFiber((fiber) =>
        isTraced(fiber) ? sql.unsafe(statement.sql, statement.parameters) : executeOnAny(statement)
      ),
    withTransaction,
    afterCommit: sql.afterCommit,
    // asked for by each append
    inTransaction: Effect.withFiber((fiber) => Effect.succeed(levelOf(fiber)?.[0].isOver === false)),
    hasOutlived: Effect.withFiber((fiber) => Effect.succeed(levelOf(fiber)?.[0].isOver === true)),
    idle: Effect.flatMap(ambient, (lease) => lease === undefined ? Effect.succeed(0) : lease.idle),
    trouble: Effect.map(ambient, (lease) => lease?.trouble),
    direct: (operation, f) =>
      Effect.flatMap(
        ambient,
        (lease) =>
          lease === undefined ? Effect.die(new Error(`${operation}: not in a transaction`)) : lease.direct(operation, f)
      )
  })
})

const giveBack = (lease: Lease, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.flatMap(
    lease.release(),
    (isClean) => isClean || Exit.isFailure(exit) ? Effect.void : Effect.die(transactionLeftOpen())
  )

const transactionLeftOpen = () =>
  new Error("A transaction was begun by hand, and not ended. It is rolled back: use withTransaction")

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
