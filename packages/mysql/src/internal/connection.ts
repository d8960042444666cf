import * as AnswerTimeout from "@sluice/sql/adapter/AnswerTimeout"
import * as DatabaseUrl from "@sluice/sql/adapter/DatabaseUrl"
import * as JournalIdentity from "@sluice/sql/adapter/JournalIdentity"
import * as RealTime from "@sluice/sql/adapter/RealTime"
import * as SafeInteger from "@sluice/sql/adapter/SafeInteger"
import * as ServerAddress from "@sluice/sql/adapter/ServerAddress"
import type { TransactionStatus } from "@sluice/sql/adapter/Session"
import { toConnectError, toSqlError } from "@sluice/sql/adapter/SqlStorageError"
import { mayChangeSession } from "@sluice/sql/adapter/StatementEffects"
import { isDefaultFor } from "@sluice/sql/Tls"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import * as Mysql from "mysql2"
import type { Options } from "../MysqlOptions.ts"
import { statusAfter, watchStatus } from "./serverStatus.ts"
import { databaseAfter, isChanged, type Limits, settle, unsettled } from "./session.ts"
import { format } from "./values.ts"

const text = (value: string | Redacted.Redacted): string => typeof value === "string" ? value : Redacted.value(value)

const hostOf = ({ host, url }: Options): string =>
  host ?? (url === undefined ? "localhost" : new URL(text(url)).hostname)

/** @internal Where the driver connects to, as it may be logged. The other options count more than the URL, and a socket more than both. */
export const addressOf = (options: Options): string => {
  const url = options.url === undefined ? undefined : new URL(text(options.url))
  const host = url?.searchParams.get("socketPath") || hostOf(options) || "localhost"
  return ServerAddress.format(host.replace(/^\[(.*)\]$/, "$1"), options.port ?? (Number(url?.port) || 3306))
}

/** @internal How long the end of something may take, in milliseconds. */
export const budget = 1_000

/** @internal In milliseconds. */
export const statementTimeoutOf = (options: Options): number => options.statementTimeout ?? 30_000

/** @internal In milliseconds. */
export const transactionTimeoutOf = (options: Options): number => options.transactionTimeout ?? 60_000

/** @internal In milliseconds. */
export const connectTimeoutOf = (options: Options): number => options.connectTimeout ?? 10_000

/** @internal The journal that a storage was opened with, once it is known: another may come back under the same name. */
export interface KnownJournal {
  /** A table's name as it stands in SQL. */
  readonly table: string
  readonly identity: string
}

/** @internal What a connection is for, and what it has in common with the others. */
export interface Use {
  readonly packet: Packet
  readonly journal: { known: KnownJournal | undefined }
  /** Whether a packet may have several statements, which nobody's values may be part of but as hexadecimal literals and integers. */
  readonly statements: boolean
  /**
   * Whether it only reads Sluice's tables, whose integers are all safe. So their type is not checked, which would take
   * longer than all the rest.
   */
  readonly ownTables: boolean
  /** After how many seconds the server ends a session that does nothing. */
  readonly idleTimeout: number
}

/** @internal How many bytes a packet to the server may have. A server that comes back, or another one, may have another limit. */
export interface Packet {
  /** What every connection so far has taken. */
  max: number
  /** What the largest event needs. */
  readonly needed: number
  /** What makes an event, and is said where there is too little room for it. */
  readonly maxEventBytes: number
}

/** @internal In a statement an event takes twice as many bytes as in the table. */
export const packetFor = (maxEventBytes: number): Packet => ({
  max: Number.POSITIVE_INFINITY,
  needed: 2 * maxEventBytes + 64 * 1024,
  maxEventBytes
})

/** @internal A connection, and what is known of its session. */
export interface Session {
  readonly connection: Mysql.Connection
  /** How many bytes the server takes in a packet. */
  maxPacket: number
  /** It is closed, or about to be. */
  isLost: boolean
  /** A query may have left something in the session that the next query must not find. */
  isChanged: boolean
  /** Whether a transaction is open, by the last answer that said so. */
  isInTransaction: boolean
  /**
   * What the last answer said of the transaction; undefined if it did not say. It is not kept for connections that only
   * read Sluice's tables.
   */
  status: TransactionStatus | undefined
  /** How many queries have no answer yet. */
  pending: number
}

/** @internal Closes the connection at once. Queries that wait for an answer fail. */
export const abandon = (session: Session, message: string): void => {
  session.isLost = true
  const error = Object.assign(new Error(message), { code: "PROTOCOL_CONNECTION_LOST", fatal: true })
  const { stream } = session.connection as any
  if (!stream.destroyed) stream.destroy(error)
}

/**
 * @internal
 * Closes the connection after so many milliseconds, and returns a function that cancels this. The server has a shorter
 * limit itself, so then it does not answer any more.
 */
export const abandonAfter = (session: Session, timeout: number): () => void =>
  RealTime.after(timeout, () => abandon(session, `no answer for ${timeout} ms`))

/** Ends the session if no query is under way, and closes the connection in any case. */
const close = (session: Session): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const { connection } = session
    const { stream } = connection as any
    if (stream.destroyed) return resume(Effect.void)
    const calledOff = RealTime.after(budget, () => abandon(session, "the connection does not close"))
    stream.once("close", () => {
      calledOff()
      resume(Effect.void)
    })
    if (session.isLost || session.pending > 0) return abandon(session, "the connection is closed")
    session.isLost = true
    connection.end()
  })

/** An integer that a double cannot hold exactly is refused, rather than rounded. Sluice's tables have none. */
const typeCast: Mysql.TypeCast = (field, next) => {
  if (field.type !== "LONGLONG") return next()
  const digits = field.string()
  return digits === null ? null : SafeInteger.from(digits)
}

/** The parameters of the URL must not change how queries are sent and answers are read. */
const urlOf = (url: string | Redacted.Redacted): string => {
  DatabaseUrl.checkScheme(text(url), ["mysql", "mariadb"])
  const parsed = new URL(text(url))
  const parameters = [...parsed.searchParams].filter(([name]) => allowedInUrl.has(name))
  parsed.search = String(new URLSearchParams(parameters))
  return parsed.href
}
const allowedInUrl = new Set([
  "compress",
  "connectAttributes",
  "enableCleartextPlugin",
  "enableKeepAlive",
  "keepAliveInitialDelay",
  "localAddress",
  "socketPath",
  "ssl"
])

/**
 * A packet that is too large is refused here: the server would close the connection in the middle of it, which looks as if the server
 * were gone.
 */
const formatWithin = (max: () => number) => (sql: string, values: ReadonlyArray<unknown>): string => {
  const query = format(sql, values)
  if (query.length * 3 < max() || Buffer.byteLength(query) < max()) return query
  throw Object.assign(
    new Error(
      `the server takes packets of up to ${max()} bytes, and this query has ${Buffer.byteLength(query)}: ` +
        "raise its max_allowed_packet, or send less at a time"
    ),
    { code: "ER_NET_PACKET_TOO_LARGE", errno: 1153 }
  )
}

const configOf = (
  options: Options,
  { ownTables, statements }: Use,
  password: string | undefined,
  maxPacket: () => number
) => {
  // first, as it says what is wrong with the URL
  const address = options.url === undefined ? {} : { uri: urlOf(options.url) }
  const tls = options.tls ?? isDefaultFor(hostOf(options))
  return {
    ...address,
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(options.port === undefined ? {} : { port: options.port }),
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(password === undefined ? {} : { password }),
    ...(options.database === undefined ? {} : { database: options.database }),
    ...(tls === false ? {} : {
      ssl: {
        verifyIdentity: true,
        ...(tls === true ? {} : { ca: tls.authority, cert: tls.certificate, key: tls.key && text(tls.key) })
      }
    }),
    connectTimeout: connectTimeoutOf(options),
    enableKeepAlive: true,
    keepAliveInitialDelay: 30_000,
    multipleStatements: statements,
    supportBigNumbers: true,
    timezone: "Z",
    queryFormat: formatWithin(maxPacket),
    ...(ownTables ? {} : { typeCast })
  } as Mysql.ConnectionOptions
}

/**
 * The driver does not tell a query without a callback that its connection is lost. Whoever reads its rows would wait
 * for ever.
 */
const toldOfLoss = (connection: Mysql.Connection, command: any): any => {
  const lost = (error: unknown) => command.emit("error", error)
  connection.on("error", lost)
  command.on("end", () => connection.removeListener("error", lost))
  return command
}

/**
 * Watches each query: gives up those that take too long, and keeps what the answer says of the session. A stream may
 * take as long as its reader.
 */
const observe = (session: Session, timeout: number, { ownTables }: Use): void => {
  const { connection } = session
  const send = connection.query.bind(connection) as (...args: Array<any>) => any
  const query = (...args: Array<any>): any => {
    session.status = undefined
    const command = send(...args)
    if (!ownTables) watchStatus(command, (status) => void (session.status = status))
    return command
  }
  connection.query = (...args: Array<any>) => {
    // before it is sent, as the caller may not wait for its answer
    const sql: string = typeof args[0] === "string" ? args[0] : args[0].sql
    if (!ownTables && mayChangeSession("mysql", sql)) session.isChanged = true
    const answered = args.at(-1)
    if (typeof answered !== "function") return toldOfLoss(connection, query(...args))
    const answeredInTime = abandonAfter(
      session,
      Math.min(AnswerTimeout.ofEnd(sql) ?? timeout, timeout)
    )
    const end = (): void => {
      session.pending--
      answeredInTime()
    }
    session.pending++
    try {
      const command = query(
        ...args.slice(0, -1),
        (error: ServerError | null, ...results: ReadonlyArray<unknown>) => {
          const answer = () => {
            end()
            if (error?.fatal || readOnly.has(error?.errno)) session.isLost = true
            answered(error, ...results)
          }
          if (error?.errno !== optionPrevents) return answer()
          query("SELECT @@global.read_only AS isReadOnly", (failed: unknown, rows: any) => {
            if (failed === null && rows[0].isReadOnly === 1) Object.assign(error, { errno: serverReadOnly })
            answer()
          })
        }
      )
      // of a statement without rows
      command.on("result", (answer: unknown) => {
        if (isChanged(answer)) session.isChanged = true
        session.isInTransaction = statusAfter(answer as Mysql.ResultSetHeader) === "open"
      })
      return command
    } catch (error) {
      end()
      throw error
    }
  }
}

interface ServerError {
  readonly fatal?: boolean
  readonly errno?: number
}

/** That an option of the server prevents a statement, which does not say which: `read_only` is one, and `secure_file_priv` another. */
const optionPrevents = 1290

/** What stands for it where it is `read_only`. */
const serverReadOnly = 1836

/**
 * That the server does not take writes: a transaction that may only read, and a mode. After a failover the connection is to the wrong
 * server, and the next may be to the right one.
 */
const readOnly: ReadonlySet<unknown> = new Set([1792, serverReadOnly])

/** @internal Sends a query. When it is interrupted, the server has a moment to answer; then the connection is closed. */
export const send = <A>(
  session: Session,
  operation: string,
  sql: string,
  moment: number = budget
): Effect.Effect<A, SqlError> =>
  Effect.callback((resume) => {
    let settled: (() => void) | undefined
    let isSettled = false
    const answered = (error: unknown, results?: unknown) => {
      isSettled = true
      resume(error ? Effect.fail(toSqlError("mysql")(operation)(error)) : Effect.succeed(results as A))
      settled?.()
    }
    try {
      session.connection.query(sql, answered)
    } catch (error) {
      answered(error)
    }
    return Effect.callback<void>((done) => {
      if (isSettled) return done(Effect.void)
      const answeredInTime = abandonAfter(session, moment)
      settled = () => {
        answeredInTime()
        done(Effect.void)
      }
    })
  })

const unconnected = toConnectError("mysql")("connect")

/** @internal */
export const timedOut = (options: Options, what: string, code = "ETIMEDOUT"): SqlError =>
  unconnected(Object.assign(new Error(`${what} within ${connectTimeoutOf(options)} ms`), { code }))

/** The password may have changed since the last connection. */
const passwordOf = ({ password }: Options): Effect.Effect<string | undefined, SqlError> =>
  password === undefined
    ? Effect.undefined
    : Effect.isEffect(password)
    ? Effect.matchCauseEffect(password, {
      onFailure: (cause) =>
        Effect.fail(unconnected(
          Object.assign(new Error("the password was not to be had", { cause }), { code: "PASSWORD_UNAVAILABLE" })
        )),
      onSuccess: (value) => Effect.succeed(text(value))
    })
    : Effect.succeed(text(password))

const limitsOf = (options: Options, { idleTimeout }: Use): Limits => ({
  statementTimeout: statementTimeoutOf(options),
  lockTimeout: options.lockTimeout ?? 5_000,
  idleTimeout
})

const unsent = Effect.mapError(({ reason }: SqlError) => unconnected(reason.cause))

const notSet = (problem: string): Effect.Effect<never, SqlError> =>
  Effect.fail(unconnected(Object.assign(new Error(problem), { code: "SESSION_NOT_SET" })))

/** Sets the session, and proves that it is set, and in the database that it has to be in: a reset leaves it where it is. */
const settleSession = Effect.fnUntraced(function*(
  session: Session,
  limits: Limits,
  use: Use
): Effect.fn.Return<void, SqlError> {
  const problem = unsettled(limits, yield* unsent(send<unknown>(session, "connect", settle(limits), 0)))
  if (problem !== undefined) return yield* notSet(problem)
  const { database } = session.connection.config
  if (database !== undefined) {
    const use = `USE \`${database.replaceAll("`", "``")}\``
    const actual = databaseAfter(yield* unsent(send<unknown>(session, "connect", use, 0)))
    // some servers keep names in lower case
    if (actual?.toLowerCase() !== database.toLowerCase()) {
      return yield* notSet(`the session is in the database '${actual}', not in '${database}'`)
    }
  }
  yield* checkServer(session, use)
  session.isChanged = false
  session.isInTransaction = false
})

/** What is the server's, and no setting of a session. */
const checkServer = Effect.fnUntraced(function*(
  session: Session,
  { journal: { known }, packet }: Use
): Effect.fn.Return<void, SqlError> {
  const identity = known === undefined ? "NULL" : `(SELECT value FROM ${known.table} WHERE \`key\` = 'journal')`
  const [{ bytes, format, isLogged, journal }] = yield* unsent(
    send<[ServerSettings]>(session, "connect", `${serverSettings}, ${identity} AS journal`, 0)
  )
  const problem = known && JournalIdentity.problem(known.identity, journal)
  if (problem !== undefined) return yield* Effect.fail(unconnected(problem))
  if (isLogged === 1 && format === "STATEMENT") {
    return yield* notSet(
      "the server's binlog_format is STATEMENT, with which it takes no writes in READ COMMITTED: set it to ROW, or to MIXED"
    )
  }
  if (bytes < packet.needed) {
    return yield* notSet(
      `the server's max_allowed_packet is ${bytes}, and events of up to ${packet.maxEventBytes} bytes take ${packet.needed}: ` +
        `raise it, or set maxEventBytes to ${Math.max(1024, Math.floor((bytes - 64 * 1024) / 2))}`
    )
  }
  session.maxPacket = bytes
  packet.max = Math.min(packet.max, bytes)
})

interface ServerSettings {
  readonly bytes: number
  readonly isLogged: number
  readonly format: string
  readonly journal: string | null
}

const serverSettings = "SELECT @@max_allowed_packet AS bytes, @@log_bin AS isLogged, @@binlog_format AS format"

/**
 * @internal
 * Makes a connection and sets its session, within the time to connect, or fails.
 */
export const open = (options: Options, use: Use): Effect.Effect<Session, SqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const password = yield* passwordOf(options)
    const session = yield* Effect.acquireRelease(
      Effect.try({
        try: () => {
          const connection = Mysql.createConnection(configOf(options, use, password, () => session.maxPacket))
          const session: Session = {
            connection,
            maxPacket: Number.POSITIVE_INFINITY,
            isLost: false,
            isChanged: false,
            isInTransaction: false,
            status: undefined,
            pending: 0
          }
          // a connection that the server ends between two queries says so here, and ends the process if nobody listens
          connection.on("error", () => {
            session.isLost = true
          })
          connection.on("end", () => {
            session.isLost = true
          })
          observe(session, statementTimeoutOf(options) + AnswerTimeout.grace, use)
          return session
        },
        catch: unconnected
      }),
      close
    )
    yield* Effect.callback<void, SqlError>((resume) => {
      session.connection.connect((error) => resume(error === null ? Effect.void : Effect.fail(unconnected(error))))
    })
    // the driver reads names in the server's default character set, but they come in UTF-8
    Object.assign(session.connection, { serverEncoding: "utf8" })
    yield* settleSession(session, limitsOf(options, use), use)
    return session
  }).pipe(
    Effect.timeoutOrElse({
      duration: connectTimeoutOf(options),
      orElse: () => Effect.fail(timedOut(options, "the server does not answer"))
    }),
    RealTime.provide
  )

/**
 * @internal
 * Sets the session back to what it was when it was opened, without anything that others have left, or closes the
 * connection.
 */
export const reset = (session: Session, options: Options, use: Use): Effect.Effect<void> =>
  Effect.callback<void, SqlError>((resume) => {
    ;(session.connection as any).reset((error: unknown) =>
      resume(error ? Effect.fail(toSqlError("mysql")("reset")(error)) : Effect.void)
    )
  }).pipe(
    Effect.andThen(settleSession(session, limitsOf(options, use), use)),
    Effect.interruptible,
    Effect.timeoutOrElse({ duration: budget, orElse: () => Effect.fail("takes too long") }),
    Effect.catch(() => Effect.sync(() => abandon(session, "the session could not be reset"))),
    RealTime.provide
  )
