import * as JournalIdentity from "@sluice/sql/adapter/JournalIdentity"
import { type Connection, type Db, prepare } from "./connection.ts"

/**
 * @internal
 * Looks whether the file still has the journal that it was opened with, where somebody else has committed since it was looked last: a
 * backup of another may have been restored into it. Throws where it has another. Until it is told which journal that is, any will do.
 */
export class SameJournal {
  readonly connection: Connection
  readonly #dataVersion
  #expected: { readonly identity: string; readonly select: () => string | undefined } | undefined
  #version: number | undefined

  constructor(connection: Connection) {
    this.connection = connection
    this.#dataVersion = connection.prepare<[], number>("PRAGMA data_version").pluck()
  }

  /** From now on. The tables have to be there. */
  expect(db: Db, identity: string): void {
    const select = prepare(
      this.connection,
      db.selectFrom("sluice_meta").select("value").where("key", "=", "")
    ).pluck()
    this.#expected = { identity, select: () => select.get("journal") }
  }

  /** Returns the number that changes when somebody else has committed. */
  check(): number | undefined {
    const version = this.#dataVersion.get()
    if (this.#expected === undefined || version === this.#version) return version
    const { identity, select } = this.#expected
    const problem = JournalIdentity.problem(identity, select())
    if (problem !== undefined) throw problem
    return this.#version = version
  }
}
