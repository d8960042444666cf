import * as SafeInteger from "@sluice/sql/adapter/SafeInteger"
import type Sqlite from "better-sqlite3"
import type { SqliteDatabase } from "kysely"
import type { Connection } from "./connection.ts"
import type { OpenFile } from "./openFile.ts"
import type { SameJournal } from "./sameJournal.ts"

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

/** So many statements of at most such a length are kept compiled. */
const maxKept = 200
const maxKeptLength = 4_000

/** What may be run again without being compiled again: some pragmas do what they do while they are compiled. */
const isKept = /^\s*(SELECT|VALUES|INSERT|UPDATE|DELETE|REPLACE|WITH|BEGIN|COMMIT|SAVEPOINT|RELEASE|ROLLBACK)\b/i

/**
 * Compiles statements, which takes as long as to run them, and keeps those that were run last: SQLite itself compiles them again where the
 * schema has changed.
 */
const makeCompile = (connection: Connection): (sql: string) => Sqlite.Statement => {
  const kept = new Map<string, Sqlite.Statement>()
  return (sql) => {
    let statement = kept.get(sql)
    if (statement !== undefined) kept.delete(sql)
    else {
      statement = connection.prepare(sql).safeIntegers()
      if (sql.length > maxKeptLength || !isKept.test(sql)) return statement
      if (kept.size === maxKept) kept.delete(kept.keys().next().value!)
    }
    kept.set(sql, statement)
    return statement
  }
}

/**
 * @internal
 * A connection as Kysely's driver knows it, for queries that are not prepared statements of ours. Integers that a
 * number cannot hold are refused, and so is a commit into files that were moved, removed or replaced. Nothing is read or written
 * where the file has another journal than it had. In a transaction that cannot change any more.
 */
export const kyselyDatabase = (connection: Connection, file: OpenFile, journal: SameJournal): SqliteDatabase => {
  const compile = makeCompile(connection)
  const prepare: SqliteDatabase["prepare"] = (sql) => {
    const statement = compile(sql)
    const ends = commits.test(sql)
    const mayCommit = ends || !statement.readonly
    const execute = <A>(f: () => A): A => {
      const begins = !connection.inTransaction
      if (mayCommit && (ends || begins)) file.check()
      if (mayCommit && begins) journal.check()
      const result = f()
      // after it, as it may have seen what was committed just before; but what was written must not fail any more
      if (begins && (connection.inTransaction || !mayCommit)) journal.check()
      if (mayCommit && !connection.inTransaction) file.check()
      return result
    }
    return {
      reader: statement.reader,
      all: (parameters) => execute(() => statement.all(parameters)).map(withNumbers),
      run: (parameters) => execute(() => statement.run(parameters)),
      *iterate(parameters) {
        if (!connection.inTransaction) journal.check()
        for (const row of statement.iterate(parameters)) yield withNumbers(row)
      }
    }
  }
  return { close: () => connection.close(), prepare }
}
