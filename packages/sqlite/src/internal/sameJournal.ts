import Sqlite from "better-sqlite3"
import { type Connection, type Db, prepare } from "./connection.ts"

/**
 * @internal
 * Looks whether the file still has the journal that it was opened with, where somebody else has committed since it was looked last: a
 * backup of another may have been restored into it. Throws where it has another.
 */
export const makeSameJournal = (connection: Connection, db: Db, identity: string): () => void => {
  const dataVersion = connection.prepare<[], number>("PRAGMA data_version").pluck()
  const select = prepare(connection, db.selectFrom("sluice_meta").select("value").where("key", "=", "")).pluck()
  let version: number | undefined
  return () => {
    const current = dataVersion.get()
    if (current === version) return
    const found = select.get("journal")
    if (found !== identity) {
      throw new Sqlite.SqliteError(
        `the file has the journal '${found}', and had '${identity}' when it was opened: restore that one, or start the service again`,
        "SQLITE_CANTOPEN"
      )
    }
    version = current
  }
}
