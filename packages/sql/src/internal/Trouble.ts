import type { DatabaseError } from "./DatabaseError.ts"

/**
 * @internal
 * What the storage itself has failed with in a transaction, whoever has handled it: what fails after it may fail for it. A program may do
 * without what is missing, such as a table that is optional: where that was undone since a savepoint, it is as if it had not been. The
 * rest, such as a deadlock or a full disk, passes, and what fails without it later is judged then.
 */
export class Trouble {
  /** In the order in which they came; of a reason only the first, which is forgotten last. */
  private met: ReadonlyArray<DatabaseError> = []
  /** What had been met when each savepoint was made, by the savepoint. */
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
