import * as SafeInteger from "@sluice/sql/adapter/SafeInteger"
import type { SqliteDatabase } from "kysely"
import type { Connection } from "./connection.ts"
import type { OpenFile } from "./openFile.ts"

/** The driver hands out integers as bigints, as it would round large ones otherwise. */
const withNumbers = <Row>(row: Row): Row => {
  const columns = row as Record<string, unknown>
  for (const name in columns) {
    const value = columns[name]
    if (typeof value === "bigint") columns[name] = SafeInteger.from(value)
  }
  return row
}

const commits = /^\s*(COMMIT|END|RELEASE)\b/i

/**
 * @internal
 * A connection as Kysely's driver knows it, for queries that are not prepared statements of ours. Integers that a
 * number cannot hold are refused, and so is a commit into files that were moved, removed or replaced.
 */
export const kyselyDatabase = (connection: Connection, file: OpenFile): SqliteDatabase => ({
  close: () => connection.close(),
  prepare: (sql) => {
    const statement = connection.prepare(sql).safeIntegers()
    const ends = commits.test(sql)
    const mayCommit = ends || !statement.readonly
    const execute = <A>(f: () => A): A => {
      if (mayCommit && (ends || !connection.inTransaction)) file.check()
      const result = f()
      if (mayCommit && !connection.inTransaction) file.check()
      return result
    }
    return {
      reader: statement.reader,
      all: (parameters) => execute(() => statement.all(parameters)).map(withNumbers),
      run: (parameters) => execute(() => statement.run(parameters)),
      *iterate(parameters) {
        for (const row of statement.iterate(parameters)) yield withNumbers(row)
      }
    }
  }
})
