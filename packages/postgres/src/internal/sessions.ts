import type { Session, Sessions, TransactionStatus } from "@sluice/sql/adapter/Session"
import { type DatabaseConnection, PostgresDriver } from "kysely"
import type Pg from "pg"
import Cursor from "pg-cursor"
import type { Client } from "./client.ts"
import { ControlClient } from "./pool.ts"

const statuses: Readonly<Record<string, TransactionStatus>> = { I: "none", T: "open", E: "failed" }

/** Whether there is a connection for whoever comes next, such as for what a transaction runs after its commit. */
const hasSpare = ({ ending, idleCount, options, totalCount, waitingCount }: Pg.Pool): boolean =>
  !ending && waitingCount === 0 && (idleCount > 0 || totalCount < options.max)

/** @internal The connections of a pool, as `Database` uses them. */
export const makeSessions = (pool: Pg.Pool): Sessions => {
  const known = new WeakMap<Pg.PoolClient, Promise<DatabaseConnection>>()

  /** Kysely's connection over one client of this pool. */
  const connectionOf = (client: Pg.PoolClient): Promise<DatabaseConnection> => {
    const found = known.get(client)
    if (found !== undefined) return found
    const { options } = pool
    const only = { options, connect: async () => client, end: async () => {} }
    const driver = new PostgresDriver({ cursor: Cursor, pool: only, controlClient: ControlClient as any })
    const connection = driver.init().then(() => driver.acquireConnection())
    known.set(client, connection)
    return connection
  }

  return {
    isSingle: false,
    acquire: async (signal): Promise<Session> => {
      const client = await pool.connect() as Pg.PoolClient & Client
      // the driver has no way to leave its queue
      if (signal.aborted) {
        client.release()
        throw signal.reason
      }
      const status = () => statuses[client.getTransactionStatus() ?? ""]
      const connection = await connectionOf(client)
      return {
        connection,
        status,
        begin: async (sql, first) => {
          client.beginsWith = sql
          try {
            return await connection.executeQuery(first)
          } finally {
            // where the driver has not come to the query
            client.beginsWith = undefined
          }
        },
        commitAndBegin: async (sql, first) => {
          client.beginsWith = sql
          client.commitsBefore = true
          client.endedAs = undefined
          try {
            const begun = await connection.executeQuery(first)
            return { command: client.endedAs!, begun }
          } catch (error) {
            if (client.endedAs === undefined) throw error
            return { command: client.endedAs, begun: undefined }
          } finally {
            client.beginsWith = undefined
            client.commitsBefore = false
          }
        },
        isDue: () => client.isChanged || client.isMisled || !hasSpare(pool),
        isLost: () => client.isLost,
        // the error of a statement arrives before the server's word on the transaction
        ask: async () => {
          await client.query("")
          return status() ?? "failed"
        },
        release: (isClean) => {
          if (!isClean || !client.isChanged) return client.release(!isClean)
          void client.reset().then(() => client.release(), () => client.release(true))
        }
      }
    }
  }
}
