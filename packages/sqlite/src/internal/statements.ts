import * as SafeInteger from "@sluice/sql/adapter/SafeInteger"
import type Sqlite from "better-sqlite3"
import type { QueryResult } from "kysely"
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

const begin = /^\s*BEGIN\b/i
const commits = /^\s*(COMMIT|END|RELEASE)\b/i

/** So many statements of at most such a length are kept compiled. */
const maxKept = 200
const maxKeptLength = 4_000

/** What may be run again without being compiled again: some pragmas do what they do while they are compiled. */
const isKept = /^\s*(SELECT|VALUES|INSERT|UPDATE|DELETE|REPLACE|WITH|BEGIN|COMMIT|SAVEPOINT|RELEASE|ROLLBACK)\b/i

interface Compiled {
  readonly statement: Sqlite.Statement
  readonly isBegin: boolean
  /** Whether it ends a transaction, or may. */
  readonly ends: boolean
}

/**
 * Compiles statements, which takes as long as to run them, and keeps those that were run last: SQLite itself compiles them again where the
 * schema has changed.
 */
const makeCompile = (connection: Connection): (sql: string) => Compiled => {
  const kept = new Map<string, Compiled>()
  return (sql) => {
    let compiled = kept.get(sql)
    if (compiled !== undefined) kept.delete(sql)
    else {
      compiled = {
        statement: connection.prepare(sql).safeIntegers(),
        isBegin: begin.test(sql),
        ends: commits.test(sql)
      }
      if (sql.length > maxKeptLength || !isKept.test(sql)) return compiled
      if (kept.size === maxKept) kept.delete(kept.keys().next().value!)
    }
    kept.set(sql, compiled)
    return compiled
  }
}

/** @internal */
export interface Statements {
  readonly run: (sql: string, parameters: ReadonlyArray<unknown>) => QueryResult<any>
  /** The rows one by one, as they are asked for. */
  readonly iterate: (sql: string, parameters: ReadonlyArray<unknown>) => IterableIterator<unknown>
}

const noRows: Array<unknown> = []

/**
 * @internal
 * Runs the statements that are not prepared ones of ours. Integers that a
 * number cannot hold are refused, and so is a commit into files that were moved, removed or replaced. Nothing is read or written
 * where the file has another journal than it had. In a transaction that cannot change any more.
 */
export const makeStatements = (connection: Connection, file: OpenFile, journal: SameJournal): Statements => {
  const compile = makeCompile(connection)
  return {
    run: (sql, parameters) => {
      const { ends, isBegin, statement } = compile(sql)
      const mayCommit = ends || !statement.readonly
      const begins = !connection.inTransaction
      const commitsItself = begins && mayCommit && !isBegin
      if (mayCommit && (ends || begins)) file.checkBefore()
      if (commitsItself) journal.check()
      const result = statement.reader
        ? { rows: statement.all(parameters).map(withNumbers) }
        : counted(statement.run(parameters))
      if (begins || ends) {
        const isOpen = connection.inTransaction
        // after it, as it may have seen what was committed just before; but what was written must not fail any more
        if (begins && (isOpen || !mayCommit)) journal.check()
        if (mayCommit && !isOpen) file.checkAfter()
      }
      return result
    },
    *iterate(sql, parameters) {
      if (!connection.inTransaction) journal.check()
      for (const row of compile(sql).statement.iterate(parameters)) yield withNumbers(row)
    }
  }
}

const counted = ({ changes, lastInsertRowid }: Sqlite.RunResult): QueryResult<any> => ({
  insertId: BigInt(lastInsertRowid),
  numAffectedRows: BigInt(changes),
  rows: noRows
})
