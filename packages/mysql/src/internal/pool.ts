import { toSqlError } from "@sluice/sql/SqlStorageError"
import { isDefaultFor } from "@sluice/sql/Tls"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import * as Mysql from "mysql2"
import type { Options } from "../MysqlStorage.ts"

const text = (value: string | Redacted.Redacted): string => typeof value === "string" ? value : Redacted.value(value)

const hostOf = ({ host, url }: Options): string =>
  host ?? (url === undefined ? "localhost" : new URL(text(url)).hostname)

/** Beyond what a double holds exactly there is nothing in Sluice's tables, and in others it is better refused than rounded. */
const typeCast: Mysql.TypeCast = (field, next) => {
  if (field.type !== "LONGLONG") return next()
  const digits = field.string()
  if (digits === null) return null
  const number = Number(digits)
  if (!Number.isSafeInteger(number)) throw new RangeError(`${digits} is no safe integer: select it as text`)
  return number
}

/**
 * @internal
 * A pool, whose connections are closed with the scope. `statements` allows several statements in a packet, which nobody's values
 * may be part of but as hexadecimal literals and integers. `ownTables` is for connections that only read Sluice's tables, in which
 * every integer is safe: asking the driver for each would take longer than reading the rest.
 */
export const makePool = (
  options: Options,
  max: number,
  { idleTimeout, ownTables, statements }: {
    readonly statements: boolean
    readonly ownTables: boolean
    readonly idleTimeout: number
  }
): Effect.Effect<Mysql.Pool, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const tls = options.tls ?? isDefaultFor(hostOf(options))
      const pool = Mysql.createPool({
        ...(options.url === undefined ? {} : { uri: text(options.url) }),
        ...(options.host === undefined ? {} : { host: options.host }),
        ...(options.port === undefined ? {} : { port: options.port }),
        ...(options.user === undefined ? {} : { user: options.user }),
        ...(options.password === undefined ? {} : { password: text(options.password) }),
        ...(options.database === undefined ? {} : { database: options.database }),
        ...(tls === false ? {} : {
          ssl: {
            verifyIdentity: true,
            ...(tls === true ? {} : { ca: tls.authority, cert: tls.certificate, key: tls.key && text(tls.key) })
          }
        }),
        connectionLimit: max,
        maxIdle: max,
        connectTimeout: options.connectTimeout ?? 10_000,
        enableKeepAlive: true,
        multipleStatements: statements,
        supportBigNumbers: true,
        ...(ownTables ? {} : { typeCast })
      } as Mysql.PoolOptions)
      pool.on("connection", (connection) => {
        // a connection that the server ends between two queries says so here, and ends the process if nobody listens
        connection.on("error", () => {})
        giveUp(connection, statementTimeoutOf(options) + grace)
        // every event is appended in READ COMMITTED: else a transaction would not see what was committed when it got its lock
        connection.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.query(sessionSettings(options, idleTimeout))
      })
      return pool
    }),
    (pool) => Effect.promise(() => new Promise<void>((resolve) => pool.end(() => resolve())))
  )

/** @internal Cancels the queries of others. When the server closes it, that ends the process if nobody listens. */
export const controlConnection = (options: Mysql.ConnectionOptions): Mysql.Connection =>
  Mysql.createConnection(options).on("error", () => {})

/** @internal How much longer than the server a client waits, in milliseconds. */
export const grace = 5_000

/** @internal In milliseconds. */
export const statementTimeoutOf = (options: Options): number => options.statementTimeout ?? 30_000

/** Closes the connection after so many milliseconds: the server, which has a limit itself, does not answer any more. */
const closeAfter = (connection: Mysql.PoolConnection, timeout: number): NodeJS.Timeout =>
  setTimeout(() => (connection as any).stream.destroy(new Error("query read timeout")), timeout).unref()

/** Gives up queries that take longer. A stream takes as long as its reader. */
const giveUp = (connection: Mysql.PoolConnection, timeout: number): void => {
  const query = connection.query.bind(connection) as (...args: Array<any>) => any
  connection.query = (...args: Array<any>) => {
    const command = query(...args)
    const { onResult } = command
    if (onResult) {
      const timer = closeAfter(connection, timeout)
      command.onResult = (...result: ReadonlyArray<unknown>) => {
        clearTimeout(timer)
        onResult(...result)
      }
    }
    return command
  }
}

/** What only one of MariaDB and MySQL knows stands in comments that only that one reads. */
const sessionSettings = (options: Options, idleTimeout: number): string => {
  const lockTimeout = Math.max(1, Math.ceil((options.lockTimeout ?? 5_000) / 1000))
  const statementTimeout = statementTimeoutOf(options)
  return `SET SESSION innodb_lock_wait_timeout = ${lockTimeout}, lock_wait_timeout = ${lockTimeout}, wait_timeout = ${idleTimeout}, time_zone = '+00:00'
    /*M!100101 , max_statement_time = ${
    statementTimeout / 1000
  } */ /*!80000 , max_execution_time = ${statementTimeout} */`
}

/** @internal Runs a query on any of the pool's connections. */
export const query = <A>(pool: Mysql.Pool, operation: string, sql: string): Effect.Effect<A, SqlError> =>
  Effect.callback((resume) => {
    pool.query(sql, (error, results) =>
      resume(
        error === null
          ? Effect.succeed(results as A)
          : Effect.fail(toSqlError("mysql")(operation)(error))
      ))
  })

/**
 * @internal
 * The first rows of what a query finds, up to one after which it is enough. The connection is closed then, as it would have to take the
 * others, too.
 */
export const firstRows = <Row>(
  pool: Mysql.Pool,
  operation: string,
  sql: string,
  timeout: number,
  isEnough: (row: Row) => boolean
): Effect.Effect<Array<Row>, SqlError> =>
  Effect.callback((resume) => {
    const fail = (error: unknown) => resume(Effect.fail(toSqlError("mysql")(operation)(error)))
    pool.getConnection((error, connection) => {
      if (error !== null) return fail(error)
      const rows: Array<Row> = []
      let isOver = false
      const timer = closeAfter(connection, timeout)
      const end = (close: boolean, then: () => void): void => {
        if (isOver) return
        isOver = true
        clearTimeout(timer)
        connection.removeListener("error", lost)
        if (close) connection.destroy()
        else connection.release()
        then()
      }
      // a query without a callback is not told itself that its connection is lost
      const lost = (error: unknown) => end(true, () => fail(error))
      connection.on("error", lost)
      connection.query(sql)
        .on("error", lost)
        .on("result", (row) => {
          if (isOver) return
          rows.push(row as Row)
          if (isEnough(row as Row)) end(true, () => resume(Effect.succeed(rows)))
        })
        .on("end", () => end(false, () => resume(Effect.succeed(rows))))
    })
  })

const queryOn = <A>(connection: Mysql.PoolConnection, sql: string): Promise<A> =>
  new Promise((resolve, reject) => {
    connection.query(sql, (error, results) => error === null ? resolve(results as A) : reject(error))
  })

/**
 * @internal
 * Runs statements on one connection. After a failure nobody knows what is open on it, so it is rolled back before others get it,
 * or closed.
 */
export const withConnection = <A>(
  pool: Mysql.Pool,
  operation: string,
  f: (run: <B>(sql: string) => Promise<B>) => Promise<A>
): Effect.Effect<A, SqlError> =>
  Effect.tryPromise({
    try: async () => {
      const connection = await new Promise<Mysql.PoolConnection>((resolve, reject) => {
        pool.getConnection((error, connection) => error === null ? resolve(connection) : reject(error))
      })
      try {
        const result = await f((sql) => queryOn(connection, sql))
        connection.release()
        return result
      } catch (error) {
        await queryOn(connection, "ROLLBACK").then(() => connection.release(), () => connection.destroy())
        throw error
      }
    },
    catch: toSqlError("mysql")(operation)
  })
