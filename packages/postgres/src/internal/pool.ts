import * as RealTime from "@sluice/sql/adapter/RealTime"
import { toConnectError, toSqlError } from "@sluice/sql/adapter/SqlStorageError"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import Pg from "pg"
import type { Options } from "../PostgresOptions.ts"
import { Client, configOf, type KnownJournal } from "./client.ts"
import { budget, destroy, leave } from "./leave.ts"

/** @internal A pool, whose connections are closed with the scope, whether or not the server answers. */
export const makePool = (
  options: Options,
  name: string,
  max: number,
  journal: KnownJournal,
  settings?: Readonly<Record<string, string>>,
  /**
   * Called for each connection after the first, before anybody uses it: it may lead to another server than earlier
   * ones.
   */
  onAnother: () => void = () => {}
): Effect.Effect<Pg.Pool, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const clients = new Set<Client>()
      class Member extends Client {
        constructor(config: ConstructorParameters<typeof Client>[0]) {
          super(config)
          clients.add(this)
          this.once("end", () => clients.delete(this))
        }
      }
      const config = configOf(options, name, journal, settings)
      const pool = new Pg.Pool(
        { ...config, clients, Client: Member as any, max, idleTimeoutMillis: 60_000 } as Pg.PoolConfig
      )
      // without a listener, a connection that the server ends between two queries would end the process
      pool.on("error", () => {})
      pool.on("release", (_error, client) => {
        const { isBusy, isMisled } = client as unknown as Client
        if (isBusy || isMisled) void client.end()
      })
      pool.once("connect", () => pool.on("connect", onAnother))
      closeInTime(pool, clients)
      return pool
    }),
    (pool) => Effect.promise(() => pool.end())
  )

/** Connections that are still in use are closed soon after the pool. Several calls close the pool once. */
const closeInTime = (pool: Pg.Pool, clients: ReadonlySet<Client>): void => {
  const end: () => Promise<void> = pool.end.bind(pool)
  let ended: Promise<void> | undefined
  pool.end = () => {
    if (ended === undefined) {
      ended = end().finally(RealTime.after(budget, () => clients.forEach(destroy)))
    }
    return ended
  }
}

/** The part of a pool's options that Kysely's driver hands over. */
interface Target {
  readonly clients: ReadonlySet<Client>
}

/**
 * @internal
 * Cancels a query of another connection, as Kysely's driver asks for it. An interruption does not wait for long: if the
 * server does not cancel in time, the connection is closed.
 */
export class ControlClient {
  private readonly options: Pg.ClientConfig & Target

  constructor(options: object) {
    this.options = options as Pg.ClientConfig & Target
  }

  async connect(): Promise<void> {}

  async query(cancel: string): Promise<Pg.QueryResult> {
    const process = Number(/^select pg_\w+_backend\((\d+)\)$/.exec(cancel)?.[1])
    const target = [...this.options.clients].find(({ session }) => session?.process === process)
    const giveUp = () => target?.isBusy && destroy(target)
    const cancelledInTime = RealTime.after(3 * budget, giveUp)
    const answered = (): void => {
      cancelledInTime()
      target?.removeListener("drain", answered).removeListener("end", answered)
    }
    target?.once("drain", answered).once("end", answered)
    const client = new Pg.Client({ ...this.options, connectionTimeoutMillis: 2 * budget })
    client.on("error", () => {})
    try {
      await client.connect()
      return await client.query({ text: cancel, query_timeout: budget } as Pg.QueryConfig)
    } catch (error) {
      giveUp()
      throw error
    } finally {
      void leave(client)
    }
  }

  async end(): Promise<void> {}
}

/**
 * What the server says of a prepared statement that the session has not, or has already, or that has other columns by now. Nothing was
 * executed. A pooler may have begun to give each transaction another session: the next connection finds out.
 */
const otherSession = new Set(["26000", "42P05", "0A000"])

/**
 * @internal
 * Runs queries on one of the pool's connections. A connection that has failed is closed, as its state is unknown.
 * Nothing is sent if the caller was interrupted while it waited for a connection.
 */
export const withClient = <A>(
  pool: Pg.Pool,
  operation: string,
  f: (client: Client) => Promise<A>,
  onLost: (client: Client) => void = () => {}
): Effect.Effect<A, SqlError> => {
  const toError = toSqlError("postgres")(operation)
  return Effect.tryPromise({
    try: async (signal) => {
      const client = await pool.connect().catch((cause) => {
        throw toConnectError("postgres")(operation)(cause)
      }) as Pg.PoolClient & Client
      if (signal.aborted) return client.release() as never
      try {
        const result = await f(client)
        // only what is committed is written, and nobody would end a transaction that is open here
        if (client.getTransactionStatus() !== "I") {
          throw Object.assign(new Error("a transaction is open on the connection"), { code: "ECONNABORTED" })
        }
        client.release()
        return result
      } catch (cause) {
        if (otherSession.has((cause as { readonly code?: string }).code ?? "")) {
          client.release(true)
          const lost = Object.assign(new Error("the session is not the one that was prepared", { cause }), {
            code: "ECONNABORTED"
          })
          throw toConnectError("postgres")(operation)(lost)
        }
        const error = toError(cause)
        const isLost = error.reason._tag === "ConnectionError"
        if (isLost) onLost(client)
        client.release(isLost)
        throw error
      }
    },
    catch: (error) => error as SqlError
  })
}
