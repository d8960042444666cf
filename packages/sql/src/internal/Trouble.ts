import type { DatabaseError } from "./DatabaseError.ts"

/** A savepoint's name, as it stands in the statement that makes it, goes back to it or releases it. */
const statement =
  /^\s*(?:(savepoint)|(rollback)\s+(?:work\s+|transaction\s+)?to(?:\s+savepoint)?|release(?:\s+savepoint)?)\s+(["`]?)([^\s;"`]+)\3[\s;]*$/i

/**
 * @internal
 * What the storage itself has failed with in a transaction, whoever has handled it: what fails after it may fail for it. A program may do
 * without what is missing, such as a table that is optional: where that was undone since a savepoint, it is as if it had not been. The
 * rest, such as a deadlock or a full disk, passes, and what fails without it later is judged then.
 */
export class Trouble {
  /** In the order in which they came; of a reason only the first, which is forgotten last. */
  private met: ReadonlyArray<DatabaseError> = []
  /** What had been met when each savepoint was made. */
  private savepoints: ReadonlyArray<{ readonly name: string; readonly met: ReadonlyArray<DatabaseError> }> = []

  get first(): DatabaseError | undefined {
    return this.met[0]
  }

  meet(error: DatabaseError): void {
    if (error.isOfStorage && this.met.every(({ storage }) => storage !== error.storage)) this.met = [...this.met, error]
  }

  /** Takes into account that a statement has succeeded, and the transaction is open. */
  succeeded(sql: string): void {
    const match = statement.exec(sql)
    if (match === null) return
    const [, makes, goesBack, , written] = match
    const name = written!.toLowerCase()
    if (makes !== undefined) {
      this.savepoints = [...this.savepoints, { name, met: this.met }]
      return
    }
    const index = this.savepoints.findLastIndex((savepoint) => savepoint.name === name)
    if (index < 0) return
    if (goesBack !== undefined) {
      const { met } = this.savepoints[index]!
      this.met = this.met.filter((error) => error.storage !== "Misconfigured" || met.includes(error))
    }
    // one that is gone back to is still there
    this.savepoints = this.savepoints.slice(0, goesBack === undefined ? index : index + 1)
  }
}
