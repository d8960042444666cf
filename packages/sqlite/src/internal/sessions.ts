import type { Session, Sessions } from "@sluice/sql/adapter/Session"
import { SqliteDriver } from "kysely"
import type { Connection } from "./connection.ts"
import { kyselyDatabase } from "./kyselyDatabase.ts"
import type { OpenFile } from "./openFile.ts"
import type { SameJournal } from "./sameJournal.ts"

/** @internal */
export interface FileSessions extends Sessions {
  /** Whether nobody has the connection: what is done with it before anything else happens in the process disturbs nobody. */
  readonly isFree: () => boolean
}

/**
 * @internal
 * The one connection that writes, as `Database` uses it. It cannot be closed, so it is rolled back, if need be, before
 * anybody gets it.
 */
export const makeSessions = (connection: Connection, file: OpenFile, journal: SameJournal): FileSessions => {
  const driver = new SqliteDriver({ database: kyselyDatabase(connection, file, journal) })
  const made = driver.init().then(() => driver.acquireConnection())
  const clean = () => {
    if (connection.inTransaction) connection.exec("ROLLBACK")
  }
  const status = () => connection.inTransaction ? "open" : "none"
  let lent = 0
  return {
    isSingle: true,
    isFree: () => lent === 0 && connection.open && !connection.inTransaction,
    acquire: async (): Promise<Session> => {
      // before files are looked for that were removed as they were closed
      if (!connection.open) throw Object.assign(new Error("the storage was closed"), { code: "POOL_CLOSED" })
      clean()
      lent++
      return {
        connection: await made,
        status,
        ask: async () => status(),
        release: () => {
          lent--
          try {
            clean()
          } catch {
            // whoever gets it next tries to roll back again, and fails if that is not possible
          }
        }
      }
    }
  }
}
