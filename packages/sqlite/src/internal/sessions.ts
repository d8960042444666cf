import type { Session, SingleSession } from "@sluice/sql/adapter/Session"
import type { DatabaseConnection } from "kysely"
import type { Connection } from "./connection.ts"
import type { OpenFile } from "./openFile.ts"
import type { SameJournal } from "./sameJournal.ts"
import { makeStatements } from "./statements.ts"

/** @internal */
export interface FileSessions extends SingleSession {
  /** Whether nobody has the connection: what is done with it before anything else happens in the process disturbs nobody. */
  readonly isFree: () => boolean
}

/**
 * @internal
 * The one connection that writes, as `Database` uses it. It cannot be closed, so it is rolled back, if need be, before
 * anybody gets it.
 */
export const makeSessions = (connection: Connection, file: OpenFile, journal: SameJournal): FileSessions => {
  const statements = makeStatements(connection, file, journal)
  const executeNow: Session["executeNow"] & {} = ({ parameters, sql }) => statements.run(sql, parameters)
  const asKysely: DatabaseConnection = {
    executeQuery: async (query) => executeNow(query),
    async *streamQuery({ parameters, sql }) {
      for (const row of statements.iterate(sql, parameters)) yield { rows: [row as any] }
    }
  }
  const clean = () => {
    if (connection.inTransaction) connection.exec("ROLLBACK")
  }
  const status = () => connection.inTransaction ? "open" : "none"
  let lent = 0
  return {
    isSingle: true,
    isFree: () => lent === 0 && connection.open && !connection.inTransaction,
    acquire: (): Session => {
      // before files are looked for that were removed as they were closed
      if (!connection.open) throw Object.assign(new Error("the storage was closed"), { code: "POOL_CLOSED" })
      clean()
      lent++
      return {
        connection: asKysely,
        executeNow,
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
