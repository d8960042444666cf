import Sqlite from "better-sqlite3"
import * as Fs from "node:fs"

const quietly = { throwIfNoEntry: false } as const

/** Which file a path leads to; undefined where there is none, or none that can be reached. */
const fileAt = (path: string): Pick<Fs.Stats, "dev" | "ino"> | undefined => {
  try {
    return Fs.statSync(path, quietly)
  } catch {
    // such as a folder that may not be entered any more
    return undefined
  }
}

/** A path, and the file that it led to. */
interface Known {
  readonly path: string
  readonly dev: number | undefined
  readonly ino: number | undefined
}

/** Whether the path leads to the file that it led to. */
const isThere = ({ dev, ino, path }: Known): boolean => {
  const found = fileAt(path)
  return found !== undefined && found.ino === ino && found.dev === dev
}

/**
 * @internal
 * A database's file, its log and the index of its log, as a connection has them open. The connection would write on into files that were
 * moved, removed or replaced, where nobody finds what it writes. The locks are in the index: a program that finds none makes another,
 * and both write at once.
 */
export class OpenFile {
  /** What the path leads to by now, wherever links in it lead later. */
  readonly real: string
  readonly #files: ReadonlyArray<Known>

  /** Of a connection that has just been opened, and has read something: it has all three then, and keeps them. */
  constructor(absolutePath: string) {
    // SQLite puts what belongs to a file beside it, and not beside a link to it
    this.real = Fs.realpathSync(absolutePath)
    this.#files = [absolutePath, `${this.real}-wal`, `${this.real}-shm`]
      .map((path) => {
        const found = fileAt(path)
        return { path, dev: found?.dev, ino: found?.ino }
      })
  }

  /** A path that leads to another file, or to none. */
  lost(): string | undefined {
    for (const known of this.#files) if (!isThere(known)) return known.path
    return undefined
  }

  /** Whether others may have written what this process does not know of, as files are there in place of those that were lost. */
  get isReplaced(): boolean {
    return this.#files.some((known) => fileAt(known.path) !== undefined && !isThere(known))
  }

  /** To be called before something is written or committed, and after a commit, before anybody is told of it. Throws where a file is lost. */
  check(): void {
    const lost = this.lost()
    if (lost !== undefined) {
      throw new Sqlite.SqliteError(
        `'${lost}' was moved, removed or replaced while it was open: ` +
          "put it back, or start the service again",
        "SQLITE_READONLY_DBMOVED"
      )
    }
  }
}
