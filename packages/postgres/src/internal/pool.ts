import { toSqlError } from "@sluice/sql/SqlStorageError"
import { isDefaultFor } from "@sluice/sql/Tls"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import Pg from "pg"
import type { Options } from "../PostgresStorage.ts"

/** The type of 64-bit integers. */
const int8 = 20

/** Beyond what a double holds exactly there is nothing in Sluice's tables, and in others it is better refused than rounded. */
const safeInteger = (text: string): number => {
  const number = Number(text)
  if (!Number.isSafeInteger(number)) throw new RangeError(`${text} is no safe integer: select it as text`)
  return number
}

const types: Pg.CustomTypesConfig = {
  getTypeParser: (oid: any, format?: any) =>
    oid === int8 && format !== "binary" ? safeInteger : Pg.types.getTypeParser(oid, format)
}

const text = (value: string | Redacted.Redacted): string => typeof value === "string" ? value : Redacted.value(value)

/** @internal */
export const clientConfig = (options: Options, name: string): Pg.ClientConfig => {
  const { tls } = options
  const statementTimeout = options.statementTimeout ?? 30_000
  const address: Pg.ClientConfig = {
    ...(options.url === undefined ? {} : { connectionString: text(options.url) }),
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(options.port === undefined ? {} : { port: options.port }),
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(options.password === undefined ? {} : { password: text(options.password) }),
    ...(options.database === undefined ? {} : { database: options.database })
  }
  return {
    ...address,
    ...(tls === undefined
      // what the URL says counts more
      ? isDefaultFor(new Pg.Client(address).host) ? { ssl: true } : {}
      : {
        ssl: tls && (tls === true ? true : {
          ca: tls.authority,
          cert: tls.certificate,
          key: tls.key && text(tls.key)
        })
      }),
    application_name: `${options.applicationName ?? "sluice"} ${name}`,
    connectionTimeoutMillis: options.connectTimeout ?? 10_000,
    statement_timeout: statementTimeout,
    // where the server itself does not answer any more
    query_timeout: statementTimeout + 5_000,
    lock_timeout: options.lockTimeout ?? 5_000,
    idle_in_transaction_session_timeout: transactionTimeoutOf(options),
    // whatever is the default of the server, the database or the role: an append would see too little of its log
    options: "-c default_transaction_isolation=read\\ committed",
    keepAlive: true,
    types
  }
}

/** @internal In milliseconds. */
export const transactionTimeoutOf = (options: Options): number => options.transactionTimeout ?? 60_000

/** @internal Cancels the queries of others. When the server closes its connection, that ends the process if nobody listens. */
export class ControlClient extends Pg.Client {
  constructor(config?: Pg.ClientConfig) {
    super(config)
    this.on("error", () => {})
  }
}

/**
 * @internal
 * For a connection that only reads the journal. Every read follows an index in its order, and the planner cannot know: it has seen the
 * table empty at best, would sort all newer events for each page, and then keeps the plan.
 */
export const alongIndexes = "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off -c jit=off"

/** Closes a connection on which the server does not answer any more: the pool would give it to the next, and so on. */
const closeWhenSilent = (client: Pg.PoolClient): void => {
  const query: (...args: ReadonlyArray<any>) => any = client.query.bind(client)
  client.query = (...args: ReadonlyArray<any>) => {
    const result = query(...args)
    if (result instanceof Promise) {
      result.catch((error) => {
        if (error?.message === "Query read timeout") (client as any).connection.stream.destroy()
      })
    }
    return result
  }
}

/** @internal A pool, whose connections are closed with the scope, and begin with settings. */
export const makePool = (
  options: Options,
  name: string,
  max: number,
  settings = ""
): Effect.Effect<Pg.Pool, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const config = clientConfig(options, name)
      const pool = new Pg.Pool({
        ...config,
        options: `${config.options} ${settings}`,
        max,
        idleTimeoutMillis: 60_000
      })
      // a connection that the server ends between two queries says so here, and ends the process if nobody listens
      pool.on("error", () => {})
      pool.on("connect", (client) => {
        client.on("error", () => {})
        closeWhenSilent(client)
      })
      return pool
    }),
    (pool) => Effect.promise(() => pool.end().catch(() => {}))
  )

/**
 * @internal
 * Runs queries on one of the pool's connections. A connection that has failed is not given back, as nobody knows in which state it
 * is.
 */
export const withClient = <A>(
  pool: Pg.Pool,
  operation: string,
  f: (client: Pg.PoolClient) => Promise<A>
): Effect.Effect<A, SqlError> => {
  const toError = toSqlError("postgres")(operation)
  return Effect.tryPromise({
    try: async () => {
      const client = await pool.connect()
      try {
        const result = await f(client)
        // written is what is committed: whoever has begun a transaction on the connection, nobody ends it
        if (client.getTransactionStatus() !== "I") {
          throw Object.assign(new Error("a transaction is open on the connection"), { code: "ECONNABORTED" })
        }
        client.release()
        return result
      } catch (error) {
        client.release(toError(error).reason._tag === "ConnectionError")
        throw error
      }
    },
    catch: toError
  })
}
