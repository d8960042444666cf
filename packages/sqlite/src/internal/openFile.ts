import Sqlite from "better-sqlite3"
import * as Fs from "node:fs"
import * as Path from "node:path"

/** Which file a path leads to; undefined where there is none, or none that can be reached. */
const identityOf = (path: string): string | undefined => {
  try {
    const stat = Fs.statSync(path, { throwIfNoEntry: false })
    return stat && `${stat.dev} ${stat.ino}`
  } catch {
    // such as a folder that may not be entered any more
    return undefined
  }
}

/**
 * @internal
 * A database's file and its log, as a connection has them open. The connection would write on into files that were moved, removed or
 * replaced, where nobody finds what it writes once it is closed.
 */
export class OpenFile {
  readonly #filename: string
  readonly #file: string | undefined
  #log: string | undefined
  #isLost = false

  /** Of a connection that has just been opened. */
  constructor(filename: string) {
    this.#filename = filename
    this.#file = identityOf(filename)
  }

  /** Whether the paths lead to other files, or none. */
  isLost(): boolean {
    const log = identityOf(`${this.#filename}-wal`)
    // it exists once the connection has been used, and as long as that is open
    this.#log ??= log
    return this.#isLost = log !== this.#log || identityOf(this.#filename) !== this.#file
  }

  /** To be called before something is written. Throws where the files are lost, if that was noticed before. */
  beforeWrite(): void {
    if (this.#isLost) this.check()
  }

  /** To be called after a commit, before anybody is told of it. Throws where the files are lost. */
  check(): void {
    if (this.isLost()) {
      throw new Sqlite.SqliteError(
        `'${Path.resolve(this.#filename)}' was moved, removed or replaced while it was open: ` +
          "put it back, or start the service again",
        "SQLITE_READONLY_DBMOVED"
      )
    }
  }
}
