import * as RealTime from "@sluice/sql/adapter/RealTime"
import { statementName } from "./statementName.ts"

/** So many statements, of at most such a length, are known of a connection, and prepared on it. */
const maxKnown = 200
const maxPrepared = 50
const maxLength = 4_000

/** How often a statement has succeeded on a connection before it is prepared there: most texts come once. */
const often = 3

/** So many statements may have failed after they were prepared. Where there are more, preparing them is of no use for now. */
const maxDoubtful = 200

/**
 * The class of errors in what a statement names, those of values that are of no such type or too large for it, and those of a session that has not what was
 * prepared, or has it twice, or with other columns.
 */
const mayBeOutdated = /^(42...|22003|22007|22008|22P02|26000|0A000)$/
const otherSession = /^(42P05|26000)$/

/** What is known to do the same when it is tried again after it has failed: a procedure may have committed a part of what it does. */
const isTriedAgain = /^\s*(select|insert|update|delete|merge|with|values)\b/i

/** For how long nothing is prepared once that was of no use, in milliseconds: twice as long each time, and never longer than the second. */
const firstRest = 60_000
const longestRest = 3_600_000

/**
 * @internal
 * What is common to the connections of a pool. Whether its sessions keep what was prepared shows only when it is used: a user may have removed it once, or a
 * pooler may give each transaction another session, where each attempt has a statement fail.
 */
export class Sharing {
  /** The statements that have failed after they were prepared. */
  readonly doubtful = new Set<string>()
  readonly #now: () => number
  #rest = firstRest
  #restsUntil: number | undefined

  constructor(now: () => number = RealTime.now) {
    this.#now = now
  }

  /** Whether anything is prepared now. */
  get isKept(): boolean {
    if (this.#restsUntil !== undefined && this.#now() >= this.#restsUntil) this.#restsUntil = undefined
    return this.#restsUntil === undefined
  }

  /** Nothing is prepared for a while. */
  rest(): void {
    // several statements that are under way fail at once
    if (!this.isKept) return
    this.#restsUntil = this.#now() + this.#rest
    this.#rest = Math.min(2 * this.#rest, longestRest)
    this.doubtful.clear()
  }
}

/**
 * @internal
 * The statements that were run on a connection, and those that are prepared, so that the server parses and plans them once. Each that is prepared
 * has succeeded there before: where it does not any more, somebody may have changed a table or the session. Whether that is so, or a value is at fault,
 * shows when it is tried again: it is not prepared any more then, on no connection.
 */
export class Prepared {
  readonly #sharing: Sharing
  readonly #times = new Map<string, number>()
  /** Those that are prepared; undefined for one that is to stay as it is. */
  readonly #names = new Map<string, string | undefined>()

  constructor(sharing: Sharing) {
    this.#sharing = sharing
  }

  /** The name that a statement is to be prepared by; undefined if it is not to be. */
  nameOf(sql: string, values: ReadonlyArray<unknown>): string | undefined {
    const { doubtful, isKept } = this.#sharing
    if (!isKept || doubtful.has(sql)) return undefined
    if (this.#names.has(sql)) return this.#names.get(sql)
    if (this.#names.size === maxPrepared || sql.length > maxLength) return undefined
    if (this.#times.get(sql) !== often || !isTriedAgain.test(sql) || !isPlannedOnce(sql, values)) return undefined
    const name = statementName("run", sql)
    this.#times.delete(sql)
    this.#names.set(sql, name)
    return name
  }

  /** A statement that has no name has succeeded. */
  succeeded(sql: string): void {
    const times = this.#times.get(sql) ?? 0
    if (times === often || sql.length > maxLength) return
    if (times === 0 && this.#times.size === maxKnown) this.#times.clear()
    this.#times.set(sql, times + 1)
  }

  /** The session has nothing prepared any more. */
  forget(): void {
    this.#times.clear()
    this.#names.clear()
  }

  /** The error of a statement that was prepared, or one that says that the session is to be left and the statement tried again in another one. */
  errorOf(sql: string, error: unknown): unknown {
    const { code, severity } = error as { readonly code?: unknown; readonly severity?: unknown }
    // the driver could not send the values: it has closed what was prepared, and still believes to have it
    if (severity === undefined) this.#names.set(sql, undefined)
    if (typeof code !== "string" || !mayBeOutdated.test(code)) return error
    // that is the fault of the session, and not of the statement
    if (otherSession.test(code)) this.#sharing.rest()
    else this.#sharing.doubtful.add(sql)
    if (this.#sharing.doubtful.size > maxDoubtful) this.#sharing.rest()
    return Object.assign(
      new Error(`what was prepared in the session does not fit any more: ${(error as Error).message}`, {
        cause: error
      }),
      { code: "ECONNABORTED" }
    )
  }
}

/**
 * Whether a statement is planned as well without its values. A plan that is kept is one for arrays of ten elements, which is a bad one where a
 * table is joined with longer ones.
 */
const isPlannedOnce = (sql: string, values: ReadonlyArray<unknown>): boolean =>
  !/\bunnest\b/i.test(sql) || !values.some(Array.isArray) ||
  /^\s*insert\b/i.test(sql) && !/\bjoin\b/i.test(sql) && sql.match(/\bfrom\b/gi)?.length === 1
