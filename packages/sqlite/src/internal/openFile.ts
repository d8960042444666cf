import Sqlite from "better-sqlite3"
import type * as Clock from "effect/Clock"
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

/** In nanoseconds. */
const moment = 1_000_000n

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
  readonly #clock: Clock.Clock
  /** When they were all found at their places last, by the monotonic clock. */
  #foundAt: bigint | undefined

  /** Of a connection that has just been opened, and has read something: it has all three then, and keeps them. */
  constructor(absolutePath: string, clock: Clock.Clock) {
    this.#clock = clock
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
    this.#foundAt = this.#clock.monotonicTimeNanosUnsafe()
    return undefined
  }

  /** Whether others may have written what this process does not know of, as files are there in place of those that were lost. */
  get isReplaced(): boolean {
    return this.#files.some((known) => fileAt(known.path) !== undefined && !isThere(known))
  }

  /**
   * To be called before something is written or committed, and throws where a file is lost. A file can also be lost right after any look,
   * so one that was a moment ago will do: one transaction follows the other, and each look takes three calls of the system.
   */
  checkBefore(): void {
    const now = this.#clock.monotonicTimeNanosUnsafe()
    if (this.#foundAt === undefined || now - this.#foundAt >= moment) this.checkAfter()
  }

  /** To be called after a commit, before anybody is told of it. Throws where a file is lost. */
  checkAfter(): void {
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
