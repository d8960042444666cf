import { isOfStorage, type Reason } from "@sluice/core/StorageError"
import * as SqlError from "effect/sql/SqlError"
import type { Dialect } from "../adapter/Dialect.ts"
import { adviceOf } from "./adviceOf.ts"

/** @internal A SQL error with its meaning to a store, which tells whether an event can be to blame for it. */
export class DatabaseError extends SqlError.SqlError {
  declare readonly storage: Reason
  /** Whether there was a connection, so that a statement may have been sent. */
  declare readonly isSent: boolean
  /** What to do, where the code says more than the meaning. */
  declare readonly advice: string | undefined
  static of(reason: SqlError.SqlErrorReason, storage: Reason, isSent = true, advice?: string): DatabaseError {
    return Object.assign(new DatabaseError({ reason }), { storage, isSent, advice })
  }
  get isOfStorage(): boolean {
    return isOfStorage(this.storage)
  }
}

/** The tag of an `effect/sql` error, and the reason of a storage error. */
type Kind = readonly [tag: Exclude<SqlError.SqlErrorReason["_tag"], "UniqueViolation">, storage: Reason]

const deadlock: Kind = ["DeadlockError", "Busy"]
const serialization: Kind = ["SerializationError", "Busy"]
const lockTimeout: Kind = ["LockTimeoutError", "Busy"]
const statementTimeout: Kind = ["StatementTimeoutError", "Busy"]
const lost: Kind = ["ConnectionError", "Unavailable"]
/** This process has closed its connections. */
const closed: Kind = ["ConnectionError", "Closed"]
const failing: Kind = ["UnknownError", "Unavailable"]
const full: Kind = ["UnknownError", "Full"]
const readOnly: Kind = ["UnknownError", "ReadOnly"]
/**
 * The server takes no writes. After a failover this connection leads to the old server, and the next may lead to the
 * new one.
 */
const wrongServer: Kind = ["ConnectionError", "ReadOnly"]
const damaged: Kind = ["UnknownError", "Damaged"]
/** The two ends do not agree on how to connect. Trying again does not help. */
const disagreement: Kind = ["ConnectionError", "Misconfigured"]
/** As `JournalIdentity` says. */
const replaced: Kind = ["ConnectionError", "Replaced"]
const notLetIn: Kind = ["AuthenticationError", "Misconfigured"]
const notAllowed: Kind = ["AuthorizationError", "Misconfigured"]
const missing: Kind = ["SqlSyntaxError", "Misconfigured"]
const syntax: Kind = ["SqlSyntaxError", "Failed"]
const constraint: Kind = ["ConstraintError", "Failed"]
const unknown: Kind = ["UnknownError", "Failed"]

/** By the beginning of the code, which is a class of codes or a single code. The longest match counts. */
const postgres: Readonly<Record<string, Kind>> = {
  "08": lost,
  "22": unknown,
  "23": constraint,
  "25006": wrongServer,
  "25P03": lost,
  "25P04": lost,
  "28": notLetIn,
  "3D000": missing,
  "3F000": missing,
  "40001": serialization,
  "40003": lost,
  "40P01": deadlock,
  "42": syntax,
  "42501": notAllowed,
  "42703": missing,
  "42704": missing,
  "42809": missing,
  "42883": missing,
  "42P01": missing,
  "42P10": missing,
  "53": failing,
  "53100": full,
  "53300": lost,
  "55P03": lockTimeout,
  "57014": statementTimeout,
  "57P": lost,
  "57P04": missing,
  "58": failing,
  "XX001": damaged,
  "XX002": damaged
}

/** By number, as the driver has no names for some of them. */
const mysql: Readonly<Record<number, Kind>> = {
  1015: failing,
  1016: failing,
  1020: serialization,
  1021: full,
  1022: constraint,
  1023: failing,
  1024: failing,
  1026: failing,
  1030: failing,
  1033: damaged,
  1034: damaged,
  1035: damaged,
  1036: readOnly,
  1037: failing,
  1038: failing,
  1040: lost,
  1041: failing,
  1042: lost,
  1043: lost,
  1044: notLetIn,
  1045: notLetIn,
  1046: missing,
  1047: lost,
  1048: constraint,
  1049: missing,
  1053: lost,
  1054: missing,
  1064: syntax,
  1077: lost,
  1105: failing,
  1114: full,
  1129: lost,
  1130: notLetIn,
  1135: failing,
  1142: notAllowed,
  1143: notAllowed,
  1146: missing,
  1152: lost,
  // its SQLSTATE is that of a lost connection, but the same packet would be refused again
  1153: unknown,
  1158: lost,
  1159: lost,
  1160: lost,
  1161: lost,
  1180: failing,
  1184: lost,
  1189: lost,
  1190: lost,
  1194: damaged,
  1195: damaged,
  1203: lost,
  1205: lockTimeout,
  1206: lockTimeout,
  1213: deadlock,
  1216: constraint,
  1217: constraint,
  1218: lost,
  1223: lockTimeout,
  1226: lost,
  1227: notAllowed,
  1296: failing,
  1305: missing,
  1317: statementTimeout,
  1364: constraint,
  1370: notAllowed,
  1412: serialization,
  1429: failing,
  1451: constraint,
  1452: constraint,
  1613: deadlock,
  1614: deadlock,
  1630: missing,
  // binlog_format=STATEMENT
  1665: ["UnknownError", "Misconfigured"],
  1698: notLetIn,
  1712: damaged,
  1792: wrongServer,
  1836: wrongServer,
  1877: damaged,
  1927: lost,
  1932: damaged,
  1969: statementTimeout,
  3024: statementTimeout,
  3032: failing,
  3572: lockTimeout,
  3819: constraint,
  4025: constraint,
  4031: lost
}

/** By the beginning of the code, as extended codes have more after it. The longest match counts. */
const sqlite: Readonly<Record<string, Kind>> = {
  SQLITE_AUTH: notAllowed,
  SQLITE_BUSY: lockTimeout,
  SQLITE_CANTOPEN: ["ConnectionError", "Misconfigured"],
  SQLITE_CONSTRAINT: constraint,
  SQLITE_CORRUPT: damaged,
  SQLITE_FULL: full,
  SQLITE_INTERRUPT: statementTimeout,
  SQLITE_IOERR: failing,
  SQLITE_LOCKED: lockTimeout,
  SQLITE_NOMEM: failing,
  SQLITE_NOTADB: damaged,
  SQLITE_PERM: notAllowed,
  SQLITE_PROTOCOL: lockTimeout,
  SQLITE_READONLY: readOnly,
  // as it is found after a commit
  SQLITE_READONLY_DBMOVED: lost
}

const byPrefix = (kinds: Readonly<Record<string, Kind>>, code: string): Kind | undefined => {
  for (let length = code.length; length > 1; length--) {
    const kind = kinds[code.slice(0, length)]
    if (kind !== undefined) return kind
  }
  return undefined
}

/** Node's errors of sockets, of names that are not found, and of a system without room for another socket. */
const socketCodes = new Set([
  "CONNECTION_ENDED",
  "EADDRNOTAVAIL",
  "EAI_AGAIN",
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "EMFILE",
  "ENETDOWN",
  "ENETRESET",
  "ENETUNREACH",
  "ENFILE",
  "ENOBUFS",
  "ENOENT",
  "ENOMEM",
  "ENOTCONN",
  "ENOTFOUND",
  "EPIPE",
  "ETIMEDOUT",
  "ERR_STREAM_DESTROYED",
  "ERR_STREAM_PREMATURE_CLOSE",
  "ERR_STREAM_WRITE_AFTER_END",
  "PASSWORD_UNAVAILABLE",
  "POOL_EXHAUSTED",
  "PROTOCOL_CONNECTION_LOST",
  "PROTOCOL_ENQUEUE_AFTER_FATAL_ERROR",
  "PROTOCOL_ENQUEUE_AFTER_QUIT",
  "PROTOCOL_ERROR",
  "PROTOCOL_PACKETS_OUT_OF_ORDER",
  "PROTOCOL_SEQUENCE_TIMEOUT",
  "PROTOCOL_UNEXPECTED_PACKET"
])

/** Messages of the drivers for a lost connection, word for word: these errors have no code. */
const lostMessages = new Set([
  "Can't add new command when connection is in closed state",
  "Can't write in closed state",
  "Client network socket disconnected before secure TLS connection was established",
  "Client has encountered a connection error and is not queryable",
  "Client was closed and is not queryable",
  "Connection lost: The server closed the connection.",
  "Connection terminated",
  "Connection terminated due to connection timeout",
  "Connection terminated unexpectedly",
  "Postgres connection has been discarded",
  "Query read timeout",
  "connect ETIMEDOUT",
  "query read timeout",
  "timeout exceeded when trying to connect",
  "timeout expired"
])

/** Word for word, as these errors have no code: of a pool that is closed, and of a connection of SQLite. */
const closedMessages = new Set([
  "Cannot use a pool after calling end on the pool",
  "Pool is closed.",
  "The database connection is not open"
])

/** Node's errors of TLS: of the protocol, of keys that cannot be read, and of certificates that are not trusted. */
const tlsCode =
  /^(ERR_(SSL|TLS|OSSL)_.*|EPROTO|CERT_.*|CRL_.*|(DEPTH_ZERO_)?SELF_SIGNED_CERT(_IN_CHAIN)?|UNABLE_TO_.*|INVALID_(CA|PURPOSE)|ERROR_IN_(CERT|CRL)_.*|HOSTNAME_MISMATCH|PATH_LENGTH_EXCEEDED)$/

/**
 * Errors that occur only while connecting, and would occur again. Others of the server's answers are in the tables
 * above.
 */
const disagreements = {
  codes: new Set<string | number>([
    // a socket that the process may not open, and options that make no address
    "EACCES",
    "EPERM",
    "ERR_INVALID_ARG_TYPE",
    "ERR_INVALID_ARG_VALUE",
    "ERR_INVALID_URL",
    "ERR_SOCKET_BAD_PORT",
    "AUTH_SWITCH_PLUGIN_ERROR",
    "HANDSHAKE_NO_SSL_SUPPORT",
    "HANDSHAKE_SSL_ERROR",
    "HANDSHAKE_UNKNOWN_ERROR",
    "NO_POSTGRES",
    "SESSION_NOT_SET",
    // PostgreSQL has no such feature, such as a pooler; or the database takes no connections
    "0A000",
    "55000",
    // MySQL: the way to log in, an expired password or account, and settings that it does not know
    1115,
    1193,
    1231,
    1251,
    1524,
    1820,
    1862,
    3118,
    3159,
    4151
  ]),
  /** Without a code, word for word. */
  messages: new Set([
    "SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a non-empty string",
    "SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string",
    "The server does not support SSL connections",
    "There was an error establishing an SSL connection"
  ])
}

/** SQLite's messages for something that is missing, which has no code of its own. */
const sqliteMissing =
  /^(no such (table|view|column|function|module|collation sequence|index): |table \S+ has no column named )/

interface Fields {
  readonly code: string
  readonly errno: number
  /** The SQLSTATE of the standard, if the server sends it besides its own number. */
  readonly state: string
  readonly constraint: string
  readonly message: string
  /** Whether it is the server's answer. */
  readonly isAnswer: boolean
  /** Whether the server ends the connection with it. */
  readonly endsConnection: boolean
}

const fieldsOf = (cause: unknown): Fields => {
  const fields = (typeof cause === "object" && cause !== null ? cause : {}) as Record<string, unknown>
  const text = (name: string): string => typeof fields[name] === "string" ? fields[name] : ""
  return {
    code: text("code"),
    errno: typeof fields["errno"] === "number" ? fields["errno"] : 0,
    state: text("sqlState"),
    constraint: text("constraint"),
    message: cause instanceof Error ? cause.message : String(cause),
    // the system's own numbers are negative
    isAnswer: text("severity") !== "" || (fields["errno"] as number) > 0 || text("code").startsWith("SQLITE_"),
    endsConnection: text("severity") === "FATAL" || text("severity") === "PANIC"
  }
}

const kindOf = (dialect: Dialect, { code, errno, isAnswer, message, state }: Fields): Kind => {
  if (code === "JOURNAL_REPLACED") return replaced
  if (code === "JOURNAL_MISSING") return disagreement
  if (!isAnswer) {
    if (code === "POOL_CLOSED" || code === "" && closedMessages.has(message)) return closed
    return socketCodes.has(code) || tlsCode.test(code) || code === "" && lostMessages.has(message) ? lost : unknown
  }
  switch (dialect) {
    case "sqlite":
      return byPrefix(sqlite, code) ?? (code === "SQLITE_ERROR" && sqliteMissing.test(message) ? missing : unknown)
    case "postgres":
      return byPrefix(postgres, code) ?? unknown
    case "mysql":
      // "Got error 28 from storage engine", which is the system's number for a disk that is full
      return errno === 1030 && message.startsWith("Got error 28 ") ?
        full
        : mysql[errno] ?? (state.startsWith("08") ? lost : unknown)
  }
}

/** What an error means while connecting, when only the storage can be to blame. */
const kindOfConnecting = (dialect: Dialect, fields: Fields): Kind => {
  const { code, errno, isAnswer, message } = fields
  // the driver has replaced the system's code with its own
  if (code === "HANDSHAKE_SSL_ERROR" && (errno < 0 || lostMessages.has(message))) return lost
  if (
    disagreements.codes.has(isAnswer && errno > 0 ? errno : code) || !isAnswer && tlsCode.test(code) ||
    code === "" && disagreements.messages.has(message)
  ) {
    return disagreement
  }
  const kind = kindOf(dialect, fields)
  return kind[1] === "Failed" ? ["ConnectionError", "Broken"] : kind
}

/** The constraint that a row violates, if it is one of uniqueness. */
const violated = (dialect: Dialect, { code, constraint, errno, message }: Fields): string | undefined => {
  switch (dialect) {
    case "sqlite":
      return /^SQLITE_CONSTRAINT_(UNIQUE|PRIMARYKEY|ROWID)$/.test(code)
        ? /^UNIQUE constraint failed: (.*)$/.exec(message)?.[1] ?? "unknown"
        : undefined
    case "postgres":
      return code === "23505" ? constraint || "unknown" : undefined
    case "mysql":
      // "Duplicate entry '…' for key 'table.name'", or without the table on MariaDB
      return errno === 1062 || errno === 1586
        ? /for key '(?:[^'.]*\.)?([^']*)'$/.exec(message)?.[1] ?? "unknown"
        : undefined
  }
}

/** @internal What the driver's error means. */
export const classify = (dialect: Dialect, operation: string, cause: unknown): DatabaseError => {
  const fields = fieldsOf(cause)
  const props = { cause, operation, message: fields.message }
  const unique = violated(dialect, fields)
  if (unique !== undefined) {
    return DatabaseError.of(new SqlError.UniqueViolation({ ...props, constraint: unique }), "Failed")
  }
  const [tag, storage] = kindOf(dialect, fields)
  const error = DatabaseError.of(new SqlError[tag](props), storage, true, adviceOf(dialect, fields))
  return fields.endsConnection ? withConnection(error) : error
}

/**
 * @internal
 * What an error means that came with the loss of the connection: the storage is at fault, whatever the error says of
 * the statement.
 */
export const withConnection = (error: DatabaseError): DatabaseError =>
  error.isOfStorage
    ? error
    : DatabaseError.of(
      new SqlError.ConnectionError({
        cause: error.reason.cause,
        operation: error.reason.operation,
        message: error.reason.message
      }),
      "Unavailable",
      error.isSent
    )

/** @internal What an error means when no connection could be made: nothing was sent. */
export const classifyConnecting = (dialect: Dialect, operation: string, cause: unknown): DatabaseError => {
  const fields = fieldsOf(cause)
  const [tag, storage] = kindOfConnecting(dialect, fields)
  const { code, message } = fields
  // that of Node has the URL, and so the password
  const shown = code === "ERR_INVALID_URL" ? Object.assign(new TypeError(message), { code }) : cause
  const reason = new SqlError[tag]({ cause: shown, operation, message })
  return DatabaseError.of(reason, storage, false, adviceOf(dialect, fields))
}

/** @internal The same error, for a transaction that it has broken. */
export const withStorage = (error: SqlError.SqlError, storage: Reason, message?: string): DatabaseError => {
  const { reason } = error
  const props = { cause: reason.cause, operation: reason.operation, message: message ?? reason.message }
  return DatabaseError.of(
    reason._tag === "UniqueViolation"
      ? new SqlError.UniqueViolation({ ...props, constraint: reason.constraint })
      : new SqlError[reason._tag](props),
    storage,
    !(error instanceof DatabaseError) || error.isSent,
    error instanceof DatabaseError && error.storage === storage ? error.advice : undefined
  )
}

/** @internal What it means to a store. */
export const storageOf = (error: SqlError.SqlError): Reason => {
  if (error instanceof DatabaseError) return error.storage
  if (error.reason._tag === "ConnectionError") return "Unavailable"
  return error.reason.isRetryable ? "Busy" : "Failed"
}

/**
 * @internal
 * Whether a statement that failed so may have been executed: the connection was lost before the server's answer.
 */
export const mayBeDone = (error: SqlError.SqlError): boolean =>
  error.reason._tag === "ConnectionError" &&
  (!(error instanceof DatabaseError) || error.isSent && error.storage !== "ReadOnly" && error.storage !== "Closed")
