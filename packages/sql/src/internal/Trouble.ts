import type { DatabaseError } from "./DatabaseError.ts"

/**
 * @internal
 * The failures of the storage itself in a transaction, even if somebody has handled them: later failures may be their
 * consequences. A missing table or column is forgotten once the program has rolled back to a savepoint before it, as
 * the program may be able to do without. Other failures, such as a deadlock or a full disk, are kept until the end of
 * the transaction.
 */
export class Trouble {
  /** In the order in which they came, and only the first of each reason. */
  private met: ReadonlyArray<DatabaseError> = []
  /** The failures that were known when each savepoint was made, by the savepoint's id. */
  private readonly before = new Map<number, ReadonlyArray<DatabaseError>>()

  get first(): DatabaseError | undefined {
    return this.met[0]
  }

  meet(error: DatabaseError): void {
    if (error.isOfStorage && this.met.every(({ storage }) => storage !== error.storage)) this.met = [...this.met, error]
  }

  savepoint(id: number): void {
    this.before.set(id, this.met)
  }

  /** Goes back to a savepoint. */
  undo(id: number): void {
    const before = this.before.get(id) ?? []
    this.met = this.met.filter((error) => error.storage !== "Misconfigured" || before.includes(error))
  }
}
