import * as RealTime from "@sluice/sql/adapter/RealTime"
import * as SafeInteger from "@sluice/sql/adapter/SafeInteger"
import { toConnectError, toSqlError } from "@sluice/sql/adapter/SqlStorageError"
import { mayChangeSession } from "@sluice/sql/adapter/StatementEffects"
import { isDefaultFor } from "@sluice/sql/Tls"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import * as Mysql from "mysql2"
import type { Options } from "../MysqlOptions.ts"
import { statusAfter } from "./serverStatus.ts"
import { databaseAfter, isChanged, type Limits, settle, unsettled } from "./session.ts"
import { format } from "./values.ts"

const text = (value: string | Redacted.Redacted): string => typeof value === "string" ? value : Redacted.value(value)

const hostOf = ({ host, url }: Options): string =>
  host ?? (url === undefined ? "localhost" : new URL(text(url)).hostname)

/** @internal How much longer than the server a client waits, in milliseconds. */
export const grace = 5_000

/** @internal How long what is over may take to end, in milliseconds. */
export const budget = 1_000

/** How long to wait for a rollback, in milliseconds. The end of the connection rolls back as well. */
const rollbackTimeout = 3_000

/** @internal In milliseconds. */
export const statementTimeoutOf = (options: Options): number => options.statementTimeout ?? 30_000

/** @internal In milliseconds. */
export const connectTimeoutOf = (options: Options): number => options.connectTimeout ?? 10_000

/** @internal What a connection is for, and what it has in common with the others. */
export interface Use {
  readonly packet: Packet
  /** Whether a packet may have several statements, which nobody's values may be part of but as hexadecimal literals and integers. */
  readonly statements: boolean
  /** Whether it only reads Sluice's tables, in which every integer is safe: asking the driver for each would take longer than the rest. */
  readonly ownTables: boolean
  /** After how many seconds the server ends a session that does nothing. */
  readonly idleTimeout: number
}

/** @internal How many bytes a packet to the server may have; it is known once the server was asked. */
export interface Packet {
  max: number
}

/** @internal A connection, and what is known of its session. */
export interface Session {
  readonly connection: Mysql.Connection
  /** It is closed, or about to be. */
  isLost: boolean
  /** A query has set something that the next one must not have. */
  isChanged: boolean
  isInTransaction: boolean
  /** How many queries have no answer yet. */
  pending: number
}

/** @internal Closes the connection at once. Whoever waits for an answer is told. */
export const abandon = (session: Session, message: string): void => {
  session.isLost = true
  const error = Object.assign(new Error(message), { code: "PROTOCOL_CONNECTION_LOST", fatal: true })
  const { stream } = session.connection as any
  if (!stream.destroyed) stream.destroy(error)
}

/**
 * @internal
 * Closes the connection after so many milliseconds, unless that is called off: the server, which has a limit itself, does not answer any more.
 */
export const abandonAfter = (session: Session, timeout: number): () => void =>
  RealTime.after(timeout, () => abandon(session, `no answer for ${timeout} ms`))

/** Says goodbye if nothing is under way, and closes the connection in any case. */
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

/** Beyond what a double holds exactly there is nothing in Sluice's tables, and in others it is better refused than rounded. */
const typeCast: Mysql.TypeCast = (field, next) => {
  if (field.type !== "LONGLONG") return next()
  const digits = field.string()
  return digits === null ? null : SafeInteger.from(digits)
}

/** A part of the URL must not change how queries are sent and answers are read. */
const urlOf = (url: string | Redacted.Redacted): string => {
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
const formatWithin = (packet: Packet) => (sql: string, values: ReadonlyArray<unknown>): string => {
  const query = format(sql, values)
  if (query.length * 3 < packet.max || Buffer.byteLength(query) < packet.max) return query
  throw Object.assign(
    new Error(
      `the server takes packets of up to ${packet.max} bytes, and this query has ${Buffer.byteLength(query)}: ` +
        "raise its max_allowed_packet, or send less at a time"
    ),
    { code: "ER_NET_PACKET_TOO_LARGE", errno: 1153 }
  )
}

const configOf = (options: Options, { ownTables, packet, statements }: Use, password: string | undefined) => {
  const tls = options.tls ?? isDefaultFor(hostOf(options))
  return {
    ...(options.url === undefined ? {} : { uri: urlOf(options.url) }),
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
    queryFormat: formatWithin(packet),
    ...(ownTables ? {} : { typeCast })
  } as Mysql.ConnectionOptions
}

/** The driver does not tell a query without a callback that its connection is lost, and whoever reads its rows would wait for ever. */
const toldOfLoss = (connection: Mysql.Connection, command: any): any => {
  const lost = (error: unknown) => command.emit("error", error)
  connection.on("error", lost)
  command.on("end", () => connection.removeListener("error", lost))
  return command
}

/** Sees what becomes of each query: gives up those that take too long, and notices what the session is after it. A stream takes as long as
 * its reader. */
const observe = (session: Session, timeout: number, { ownTables }: Use): void => {
  const { connection } = session
  const query = connection.query.bind(connection) as (...args: Array<any>) => any
  connection.query = (...args: Array<any>) => {
    // before it is sent: nobody may wait for its answer
    const sql: string = typeof args[0] === "string" ? args[0] : args[0].sql
    if (!ownTables && mayChangeSession("mysql", sql)) session.isChanged = true
    const answered = args.at(-1)
    if (typeof answered !== "function") return toldOfLoss(connection, query(...args))
    const answeredInTime = abandonAfter(session, sql === "ROLLBACK" ? Math.min(rollbackTimeout, timeout) : timeout)
    const end = (): void => {
      session.pending--
      answeredInTime()
    }
    session.pending++
    try {
      const command = query(
        ...args.slice(0, -1),
        (error: { readonly fatal?: boolean; readonly errno?: number } | null, ...results: ReadonlyArray<unknown>) => {
          end()
          if (error?.fatal || readOnly.has(error?.errno)) session.isLost = true
          answered(error, ...results)
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

/**
 * That the server does not take writes: an option that prevents them, a transaction that may only read, and a mode. After a failover the
 * connection is to the wrong server, and the next may be to the right one.
 */
const readOnly: ReadonlySet<unknown> = new Set([1290, 1792, 1836])

/** @internal Sends a query; an interruption gives the server a moment to answer it, or else gives up the connection. */
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
export const timedOut = (options: Options, what: string): SqlError =>
  unconnected(Object.assign(new Error(`${what} within ${connectTimeoutOf(options)} ms`), { code: "ETIMEDOUT" }))

/** A password may be another by now than it was for the last connection. */
const passwordOf = ({ password }: Options): Effect.Effect<string | undefined, SqlError> =>
  password === undefined
    ? Effect.undefined
    : Effect.isEffect(password)
    ? Effect.matchCauseEffect(password, {
      onFailure: (cause) =>
        Effect.fail(unconnected(
          Object.assign(new Error("the password was not to be had", { cause }), { code: "PASSWORD_UNAVAILABLE" })
        )),
      onSuccess: (value) => Effect.succeed(Redacted.value(value))
    })
    : Effect.succeed(Redacted.value(password))

const limitsOf = (options: Options, { idleTimeout }: Use): Limits => ({
  statementTimeout: statementTimeoutOf(options),
  lockTimeout: options.lockTimeout ?? 5_000,
  idleTimeout
})

const unsent = Effect.mapError(({ reason }: SqlError) => unconnected(reason.cause))

const notSet = (problem: string): Effect.Effect<never, SqlError> =>
  Effect.fail(unconnected(Object.assign(new Error(problem), { code: "SESSION_NOT_SET" })))

/** Sets the session, and proves that it is set, and in the database that it has to be in: a reset leaves it where it is. */
const settleSession = Effect.fnUntraced(function*(session: Session, limits: Limits): Effect.fn.Return<void, SqlError> {
  const problem = unsettled(limits, yield* unsent(send<unknown>(session, "connect", settle(limits), 0)))
  if (problem !== undefined) return yield* notSet(problem)
  const { database } = session.connection.config
  if (database !== undefined) {
    const use = `USE \`${database.replaceAll("`", "``")}\``
    const actual = databaseAfter(yield* unsent(send<unknown>(session, "connect", use, 0)))
    // a server may know names in lower case alone
    if (actual?.toLowerCase() !== database.toLowerCase()) {
      return yield* notSet(`the session is in the database '${actual}', not in '${database}'`)
    }
  }
  session.isChanged = false
  session.isInTransaction = false
})

/**
 * @internal
 * Makes a connection whose session is as it has to be, within the time to connect, or none at all.
 */
export const open = (options: Options, use: Use): Effect.Effect<Session, SqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const password = yield* passwordOf(options)
    const session = yield* Effect.acquireRelease(
      Effect.try({
        try: () => {
          const connection = Mysql.createConnection(configOf(options, use, password))
          const session: Session = { connection, isLost: false, isChanged: false, isInTransaction: false, pending: 0 }
          // a connection that the server ends between two queries says so here, and ends the process if nobody listens
          connection.on("error", () => {
            session.isLost = true
          })
          connection.on("end", () => {
            session.isLost = true
          })
          observe(session, statementTimeoutOf(options) + grace, use)
          return session
        },
        catch: unconnected
      }),
      close
    )
    yield* Effect.callback<void, SqlError>((resume) => {
      session.connection.connect((error) => resume(error === null ? Effect.void : Effect.fail(unconnected(error))))
    })
    yield* settleSession(session, limitsOf(options, use))
    return session
  }).pipe(
    Effect.timeoutOrElse({
      duration: connectTimeoutOf(options),
      orElse: () => Effect.fail(timedOut(options, "the server does not answer"))
    }),
    RealTime.provide
  )

/** @internal Makes the session what it was when it was opened, with nothing in it that others have left, or gives up the connection. */
export const reset = (session: Session, options: Options, use: Use): Effect.Effect<void> =>
  Effect.callback<void, SqlError>((resume) => {
    ;(session.connection as any).reset((error: unknown) =>
      resume(error ? Effect.fail(toSqlError("mysql")("reset")(error)) : Effect.void)
    )
  }).pipe(
    Effect.andThen(settleSession(session, limitsOf(options, use))),
    Effect.interruptible,
    Effect.timeoutOrElse({ duration: budget, orElse: () => Effect.fail("takes too long") }),
    Effect.catch(() => Effect.sync(() => abandon(session, "the session could not be reset"))),
    RealTime.provide
  )
