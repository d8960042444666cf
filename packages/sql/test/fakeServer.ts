/** A server that answers as it is told, and the connections to it. */
import type { Dialect } from "@sluice/sql/adapter/Dialect"
import type { CommitAnswer, Session, Sessions, TransactionStatus } from "@sluice/sql/adapter/Session"
import * as Database from "@sluice/sql/Database"
import type { CompiledQuery, DatabaseConnection } from "kysely"

/** What a server or a driver answers with, by its code. */
export const errorOf = (
  dialect: Dialect,
  kind: keyof typeof codes["postgres"],
  message = `${kind} happened`
): Error => {
  const error = new Error(message)
  return Object.assign(error, codes[dialect][kind])
}

const lost = { code: "ECONNRESET" }
const codes = {
  postgres: {
    lost,
    deadlock: { code: "40P01", severity: "ERROR" },
    lockTimeout: { code: "55P03", severity: "ERROR" },
    cancelled: { code: "57014", severity: "ERROR" },
    full: { code: "53100", severity: "ERROR" },
    readOnly: { code: "25006", severity: "ERROR" },
    missing: { code: "42P01", severity: "ERROR" },
    constraint: { code: "23503", severity: "ERROR" },
    unknown: { code: "P0001", severity: "ERROR" },
    internal: { code: "XX000", severity: "ERROR" }
  },
  mysql: {
    lost,
    deadlock: { code: "ER_LOCK_DEADLOCK", errno: 1213 },
    lockTimeout: { code: "ER_LOCK_WAIT_TIMEOUT", errno: 1205 },
    cancelled: { code: "ER_QUERY_INTERRUPTED", errno: 1317 },
    full: { code: "ER_RECORD_FILE_FULL", errno: 1114 },
    readOnly: { code: "ER_READ_ONLY_MODE", errno: 1836 },
    missing: { code: "ER_NO_SUCH_TABLE", errno: 1146 },
    constraint: { code: "ER_NO_REFERENCED_ROW_2", errno: 1452 },
    unknown: { code: "ER_SIGNAL_EXCEPTION", errno: 1644 },
    internal: { code: "ER_INTERNAL_ERROR", errno: 1815 }
  },
  sqlite: {
    lost: { code: "SQLITE_IOERR_WRITE" },
    deadlock: { code: "SQLITE_BUSY_SNAPSHOT" },
    lockTimeout: { code: "SQLITE_BUSY" },
    cancelled: { code: "SQLITE_INTERRUPT" },
    full: { code: "SQLITE_FULL" },
    readOnly: { code: "SQLITE_READONLY_DBMOVED" },
    missing: { code: "SQLITE_ERROR" },
    constraint: { code: "SQLITE_CONSTRAINT_FOREIGNKEY" },
    unknown: { code: "SQLITE_CONSTRAINT_TRIGGER" },
    internal: { code: "SQLITE_ERROR" }
  }
} as const

/** What is told of a statement: its rows, its failure, and how the transaction is afterwards. */
export interface Told {
  readonly rows?: ReadonlyArray<unknown>
  readonly error?: Error
  readonly status?: TransactionStatus
  /** The answer does not say how the transaction is. */
  readonly isSilent?: boolean
  /** It is the last that comes over the connection, and does not say how the transaction is. */
  readonly isLost?: boolean
  /** The connection is lost with the answer, which only shows when the server is asked. */
  readonly isLast?: boolean
  /** The answer comes when this does. */
  readonly after?: Promise<unknown>
}

export class FakeServer {
  readonly dialect: Dialect
  /** The statements that were sent. */
  readonly sent: Array<string> = []
  /** How connections were given back. */
  readonly released: Array<"clean" | "closed"> = []
  status: TransactionStatus = "none"
  private isAnswering = false
  /** Why there is no connection. */
  unreachable: unknown
  /** Whether connections are to be given back between transactions. */
  isDue = false
  /** Whether all connections are lent to others. */
  isBusy = false
  /** How many wait for a connection. */
  waiting = 0
  /** Whether the driver goes on saying what the server has said last once the connection is lost, as that of PostgreSQL does. */
  keepsStatus = false
  /** Whether the driver says that a connection is lost. */
  tellsOfLoss = false
  private isSilent = false
  private isLost = false
  private readonly told = new Map<string, Told>()

  constructor(dialect: Dialect) {
    this.dialect = dialect
  }

  /** Tells what to answer to a statement that begins so, each time. The longest beginning counts. */
  when(sql: string, told: Told): void {
    this.told.set(sql, told)
  }

  /** The connection is lost while no statement runs. */
  lose(): void {
    this.isLost = true
  }

  private async answer(sql: string): Promise<{ rows: Array<any> }> {
    // a driver runs one query after the other, and so must whoever shares its connection
    if (this.isAnswering) throw new Error(`'${sql}' is sent while another query runs`)
    this.isAnswering = true
    this.sent.push(sql)
    const starts = [...this.told.keys()].filter((start) => sql.startsWith(start))
    const told = this.told.get(starts.toSorted((a, b) => b.length - a.length)[0] ?? "")
    await told?.after
    this.isAnswering = false
    const wasLost = this.isLost
    this.isLost ||= told?.isLost === true || told?.isLast === true
    this.isSilent = wasLost || told?.isLost === true || told?.isSilent === true
    this.status = told?.status ?? this.statusAfter(sql, told?.error !== undefined)
    if (told?.error !== undefined) throw told.error
    return { rows: [...told?.rows ?? []] }
  }

  /** A driver of PostgreSQL's sends both at once. */
  private async begin(begin: string, { sql }: CompiledQuery): Promise<{ rows: Array<any> }> {
    await this.answer(begin).catch((cause) => {
      throw Object.assign(new Error("no transaction", { cause }), { code: "ECONNABORTED" })
    })
    return this.answer(sql)
  }

  /** So does it with what follows a commit. */
  private async commitAndBegin(begin: string, first: CompiledQuery): Promise<CommitAnswer> {
    const { rows: [row] } = await this.answer("COMMIT")
    const begun = await this.begin(begin, first).catch(() => undefined)
    return { command: row?.command ?? "COMMIT", begun }
  }

  private statusAfter(sql: string, failed: boolean): TransactionStatus {
    if (failed) return this.dialect === "postgres" && this.status === "open" ? "failed" : this.status
    if (sql === "BEGIN") return "open"
    if (sql === "COMMIT" || sql === "ROLLBACK") return "none"
    return sql.startsWith("ROLLBACK TO") ? "open" : this.status
  }

  get sessions(): Sessions {
    return {
      isSingle: false,
      acquire: async (signal): Promise<Session> => {
        if (this.isBusy) {
          this.waiting++
          return new Promise((_, reject) =>
            signal.addEventListener("abort", () => {
              this.waiting--
              reject(new Error("nobody waits"))
            })
          )
        }
        if (this.unreachable !== undefined) throw this.unreachable
        this.status = "none"
        this.isLost = false
        this.isSilent = false
        return {
          connection: {
            executeQuery: ({ sql }: CompiledQuery) => this.answer(sql),
            streamQuery: async function*(this: FakeServer, { sql }: CompiledQuery) {
              for (const row of (await this.answer(sql)).rows) yield { rows: [row] }
            }.bind(this)
          } as unknown as DatabaseConnection,
          ...(this.dialect === "postgres"
            ? {
              begin: this.begin.bind(this),
              commitAndBegin: this.commitAndBegin.bind(this),
              isDue: () => this.isDue,
              isLost: () => this.isLost && this.tellsOfLoss
            }
            : {}),
          status: () => this.isSilent && !(this.isLost && this.keepsStatus) ? undefined : this.status,
          ask: async () => {
            if (this.isLost) throw errorOf(this.dialect, "lost")
            return this.status
          },
          release: (isClean) => void this.released.push(isClean ? "clean" : "closed")
        }
      }
    }
  }

  get database() {
    return Database.make({ dialect: this.dialect, sessions: this.sessions })
  }
}
