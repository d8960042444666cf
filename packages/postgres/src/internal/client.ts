import * as AnswerTimeout from "@sluice/sql/adapter/AnswerTimeout"
import * as DatabaseUrl from "@sluice/sql/adapter/DatabaseUrl"
import * as JournalIdentity from "@sluice/sql/adapter/JournalIdentity"
import * as RealTime from "@sluice/sql/adapter/RealTime"
import * as SafeInteger from "@sluice/sql/adapter/SafeInteger"
import * as ServerAddress from "@sluice/sql/adapter/ServerAddress"
import { mayChangeSession } from "@sluice/sql/adapter/StatementEffects"
import { isDefaultFor } from "@sluice/sql/Tls"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import Pg from "pg"
import type { Options } from "../PostgresOptions.ts"
import { Begun, CommittedAndBegun, plain, type Query, Statement } from "./Begun.ts"
import { isCursor, limit } from "./cursor.ts"
import { budget, destroy, leave } from "./leave.ts"
import { keepsSessions } from "./pooler.ts"
import { Prepared, Sharing } from "./Prepared.ts"
import { settingsOf, settle } from "./session.ts"

/** @internal For how long a transaction may be idle, in milliseconds. */
export const transactionTimeoutOf = (options: Options): number => options.transactionTimeout ?? 60_000

/** The type of 64-bit integers. */
const int8 = 20

const types: Pg.CustomTypesConfig = {
  getTypeParser: (oid: any, format?: any) =>
    oid === int8 && format !== "binary" ? SafeInteger.from : Pg.types.getTypeParser(oid, format)
}

const text = (value: string | Redacted.Redacted): string => typeof value === "string" ? value : Redacted.value(value)

const notSupported = "0A000"

/** An error as the server would say it. */
const serverError = (code: string, message: string, options?: ErrorOptions): Error =>
  Object.assign(new Error(message, options), { severity: "FATAL", code })

/**
 * A pooler refuses parameters that it does not know with the code of a broken connection, although trying again does
 * not help.
 */
const explained = (error: Error): Error => {
  const { message } = error
  if (message.startsWith("unsupported startup parameter")) {
    return serverError(notSupported, `${message} (of the URL, or of PGOPTIONS: leave it out)`, { cause: error })
  }
  // the driver's own errors have no code
  if ("severity" in error || message === "") return error
  if (message.startsWith("received invalid response")) return coded("NO_POSTGRES", error)
  return message === "Connection terminated unexpectedly" ? coded("CONNECTION_ENDED", error) : error
}

const coded = (code: string, cause: Error): Error => Object.assign(new Error(cause.message, { cause }), { code })

/** The password may have changed since the last connection. */
const passwordOf = (password: NonNullable<Options["password"]>): string | (() => Promise<string>) =>
  !Effect.isEffect(password) ? text(password) : async () => {
    const exit = await Effect.runPromiseExit(password)
    if (Exit.isSuccess(exit)) return text(exit.value)
    throw serverError("08001", "the password was not to be had", { cause: Cause.squash(exit.cause) })
  }

/** What a client is made with. */
interface Config extends Pg.ClientConfig {
  readonly connectionTimeoutMillis: number
  /** For how long to wait for an answer, in milliseconds, in case the server does not answer any more. */
  readonly queryTimeout: number
  /** What its session is set to. */
  readonly settings: Readonly<Record<string, string>>
  readonly journal: KnownJournal
  readonly sharing: Sharing
}

/** @internal Which journal the storage has opened, once that is known: each new connection has to find the same one. */
export interface KnownJournal {
  known: { readonly table: string; readonly identity: string } | undefined
}

/** @internal How to reach the server. The session is set later, as poolers refuse settings here. */
export const configOf = (
  options: Options,
  name: string,
  journal: KnownJournal,
  settings: Readonly<Record<string, string>> = {}
): Config => {
  const { tls } = options
  const statementTimeout = options.statementTimeout ?? 30_000
  if (options.url !== undefined && !/^(\/|socket:)/.test(text(options.url))) {
    DatabaseUrl.checkScheme(text(options.url), ["postgres", "postgresql"])
  }
  const address: Pg.ClientConfig = {
    ...(options.url === undefined ? {} : { connectionString: text(options.url) }),
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(options.port === undefined ? {} : { port: options.port }),
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(options.password === undefined ? {} : { password: passwordOf(options.password) }),
    ...(options.database === undefined ? {} : { database: options.database })
  }
  return {
    ...address,
    ...(tls === undefined
      // what the URL says counts more
      ? isDefaultFor(new Pg.Client(address).host) ? { ssl: true } : {}
      : {
        ssl: tls && (tls === true ? true : {
          ca: tls.authority,
          cert: tls.certificate,
          key: tls.key && text(tls.key)
        })
      }),
    application_name: `${options.applicationName ?? "sluice"} ${name}`,
    connectionTimeoutMillis: options.connectTimeout ?? 10_000,
    queryTimeout: statementTimeout + AnswerTimeout.grace,
    keepAlive: true,
    types,
    journal,
    sharing: new Sharing(),
    settings: {
      ...settingsOf({
        statementTimeout,
        lockTimeout: options.lockTimeout ?? 5_000,
        transactionTimeout: transactionTimeoutOf(options)
      }),
      ...settings
    }
  }
}

/** @internal Where the driver connects to, as it may be logged. Throws for options that are nothing to connect to. */
export const addressOf = (options: Options): string => {
  const { host, port } = new Pg.Client(configOf(options, "service", { known: undefined }))
  return ServerAddress.format(host, port)
}

/** @internal A session of the server. The number of a process alone may belong to another session by now. */
export interface SessionId {
  readonly process: number
  /** When it began, in microseconds. */
  readonly began: string
}

/**
 * @internal
 * A connection. It counts as connected once its session is set, and proven to be on a server that takes writes and in a
 * session that a pooler keeps. It is closed when a query gets no answer. Its end does not wait long for an answer
 * either.
 */
export class Client extends Pg.Client {
  readonly config: Config
  session: SessionId | undefined
  /** It must not be used again although it is not lost, as it may lead to the wrong server. */
  isMisled = false
  /** A query may have left something in the session that the next query must not find. */
  isChanged = false
  /** Begins a transaction with the next query that has parameters. */
  beginsWith: string | undefined
  /** Ends a transaction before it. */
  commitsBefore = false
  /** How the transaction before has ended. */
  endedAs: string | undefined
  private readonly prepared: Prepared
  private ended: Promise<void> | undefined

  constructor(config: Config) {
    super(config)
    this.config = config
    this.prepared = new Prepared(config.sharing)
    // without a listener, an error that the server sends between two queries would end the process
    this.on("error", () => {})
  }

  override connect(): Promise<Pg.Client>
  override connect(callback: (error: Error) => void): void
  override connect(callback?: (error: Error) => void): Promise<Pg.Client> | void {
    const connected = super.connect().then(() => this.settle()).then(() => this, (error) => {
      destroy(this)
      throw explained(error)
    })
    if (callback === undefined) return connected
    connected.then(() => callback(undefined as never), callback)
  }

  private async settle(): Promise<void> {
    const known = (this as any).processID as number | null
    const first = await settle(this, known)
    const { began, encoding, isStandby, process } = first.isSet ? first : await this.settleBehindPooler()
    if (isStandby) {
      throw serverError("25006", "the server is a standby, which cannot be written to: the address leads to a reader")
    }
    if (encoding !== "UTF8") {
      throw serverError(
        notSupported,
        `the database is encoded in ${encoding}, which has no place for every text: make one with ENCODING 'UTF8'`
      )
    }
    await this.findJournal()
    this.session = { process, began }
    // to cancel a query takes the number of the server's process, and a pooler tells numbers of its own
    Object.assign(this, { processID: process })
  }

  /** A database may have been put in the place of another, under its name. */
  private async findJournal(): Promise<void> {
    const { connectionTimeoutMillis, journal: { known } } = this.config
    if (known === undefined) return
    const { rows: [row] } = await this.query({
      text: `SELECT value FROM ${known.table} WHERE key = 'journal'`,
      query_timeout: connectionTimeoutMillis
    })
    const problem = JournalIdentity.problem(known.identity, row?.value)
    if (problem !== undefined) throw problem
  }

  private async settleBehindPooler() {
    const isKept = await keepsSessions(this, this.config)
    if (!isKept) {
      throw serverError(
        notSupported,
        "the address leads to a pooler that gives each transaction another session, and Sluice needs sessions of its own: " +
          "connect to the server itself, or to a pooler that keeps sessions (PgBouncer: pool_mode = session)"
      )
    }
    return settle(this, null)
  }

  /**
   * Sets the session back to what it was when it was connected, without anything that others have left, or fails soon.
   */
  async reset(): Promise<void> {
    const resetInTime = RealTime.after(budget, () => destroy(this))
    try {
      await this.query({ text: "DISCARD ALL" })
      // which the driver believes to be prepared
      const { connection } = this as any
      connection.parsedStatements = {}
      connection.submittedNamedStatements = {}
      this.prepared.forget()
      await settle(this, null)
      this.isChanged = false
    } finally {
      resetInTime()
    }
  }

  override query(...args: Array<any>): any {
    const [query, values, callback] = args
    const { queryTimeout } = this.config
    const sql = typeof query === "string"
      ? query
      : isCursor(query)
      ? (query as { readonly text?: string }).text
      : undefined
    if (sql !== undefined && mayChangeSession("postgres", sql)) this.isChanged = true
    if (typeof query === "string") {
      return values?.length > 0
        ? this.run(query, values)
        : this.submit(plain(query), AnswerTimeout.ofEnd(query) ?? queryTimeout)
    }
    if (isCursor(query)) limit(query, this, queryTimeout)
    const result = (super.query as (...args: Array<any>) => any)(
      typeof query?.submit === "function" ? query : { query_timeout: queryTimeout, ...query },
      values,
      callback
    )
    if (result instanceof Promise) result.catch((error) => this.observe(error))
    return result
  }

  /** A statement with parameters, which is prepared when it has run a few times. Begins a transaction if it is told to. */
  private async run(text: string, values: Array<unknown>): Promise<Pg.QueryResult> {
    const { beginsWith, commitsBefore, prepared } = this
    this.beginsWith = undefined
    this.commitsBefore = false
    const name = prepared.nameOf(text, values)
    const query = beginsWith === undefined
      ? new Statement({ text, name }, values)
      : new (commitsBefore ? CommittedAndBegun : Begun)(beginsWith, { text, name }, values)
    try {
      // nobody can be interrupted before a commit is answered
      const result = await this.submit(query, commitsBefore ? AnswerTimeout.ofEnd("COMMIT") : undefined)
      if (name === undefined) prepared.succeeded(text)
      return result
    } catch (error) {
      if (query instanceof CommittedAndBegun && query.ended === undefined) throw error
      const reason = name === undefined ? error : prepared.errorOf(text, error)
      const isInTransaction = beginsWith === undefined && this.getTransactionStatus() !== "I"
      if (reason === error) throw error
      // before others get the session, what is prepared there goes
      this.isChanged = true
      if (isInTransaction || commitsBefore) throw reason
      // nothing of it was executed, nor anything else in the transaction that it was the first of
      if (beginsWith === undefined) return await this.submit(new Statement({ text }, values))
      await this.submit(plain("ROLLBACK"), AnswerTimeout.ofEnd("ROLLBACK"))
      return await this.submit(new Begun(beginsWith, { text }, values))
    } finally {
      if (query instanceof CommittedAndBegun) this.endedAs = query.ended
    }
  }

  private submit(query: Query, timeout = this.config.queryTimeout): Promise<Pg.QueryResult> {
    const result = new Promise<Pg.QueryResult>((resolve, reject) => {
      query.query_timeout = timeout
      query.callback = (error, result) => error ? reject(error) : resolve(result)
      super.query(query as never)
    })
    result.catch((error) => this.observe(error))
    return result
  }

  private observe(error: { readonly message?: unknown; readonly code?: unknown } | undefined): void {
    // all later queries would wait behind it
    if (error?.message === "Query read timeout") destroy(this)
    if (error?.code === "25006") this.isMisled = true
  }

  /** Whether it takes no query any more, as the server has ended it, or the network has. */
  get isLost(): boolean {
    const { _ended, _ending, _queryable } = this as any
    return !_queryable || _ending || _ended
  }

  /** Whether a query is under way. */
  get isBusy(): boolean {
    return (this as any)._getActiveQuery() != null
  }

  override end(): Promise<void>
  override end(callback: (error: Error) => void): void
  override end(callback?: (error: Error) => void): Promise<void> | void {
    this.ended ??= leave(this, () => super.end())
    if (callback === undefined) return this.ended
    this.ended.then(() => callback(undefined as never), callback)
  }
}
