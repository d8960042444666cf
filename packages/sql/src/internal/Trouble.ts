import type { SqlError } from "effect/sql/SqlError"

/** A savepoint's name, as it stands in the statement that makes it, goes back to it or releases it. */
const statement =
  /^\s*(?:(savepoint)|(rollback)\s+(?:work\s+|transaction\s+)?to(?:\s+savepoint)?|release(?:\s+savepoint)?)\s+(["`]?)([^\s;"`]+)\3[\s;]*$/i

/**
 * @internal
 * What the storage itself has failed with in a transaction, for as long as anything can be due to it: what was undone since a savepoint is
 * as if it had not been.
 */
export class Trouble {
  /** What was the first one when each savepoint was made. */
  private savepoints: ReadonlyArray<{ readonly name: string; readonly first: SqlError | undefined }> = []
  /** The first, whoever has handled it: what fails after it may fail for it. */
  first: SqlError | undefined

  meet(error: SqlError): void {
    this.first ??= error
  }

  /** Takes into account that a statement has succeeded, and the transaction is open. */
  succeeded(sql: string): void {
    const match = statement.exec(sql)
    if (match === null) return
    const [, makes, goesBack, , written] = match
    const name = written!.toLowerCase()
    if (makes !== undefined) {
      this.savepoints = [...this.savepoints, { name, first: this.first }]
      return
    }
    const index = this.savepoints.findLastIndex((savepoint) => savepoint.name === name)
    if (index < 0) return
    if (goesBack !== undefined) this.first = this.savepoints[index]!.first
    // one that is gone back to is still there
    this.savepoints = this.savepoints.slice(0, goesBack === undefined ? index : index + 1)
  }
}
