import * as SqlError from "effect/sql/SqlError"
import type { Dialect } from "../Dialect.ts"

/** @internal What the driver's error means. */
export const classify = (dialect: Dialect, cause: unknown, operation: string): SqlError.SqlErrorReason => {
  const props = { cause, operation, message: cause instanceof Error ? cause.message : String(cause) }
  switch (dialect) {
    case "sqlite":
      return SqlError.classifySqliteError(cause, props)
    case "postgres":
      return classifyPostgres(cause, props)
    case "mysql":
      return classifyMysql(cause, props)
  }
}

interface Props {
  readonly cause: unknown
  readonly operation: string
  readonly message: string
}

const property = (cause: unknown, name: string): string => {
  const value = typeof cause === "object" && cause !== null ? (cause as Record<string, unknown>)[name] : undefined
  return typeof value === "string" ? value : ""
}

/** What Node says of a socket, which no server has a code for. */
const isConnectionLost = (code: string, message: string): boolean =>
  /^(E(CONN|PIPE|TIMEDOUT|HOST|NET|AI_AGAIN|NOTFOUND)|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE)/.test(code) ||
  /connection (terminated|ended|lost|closed|is closed|timeout)|timeout exceeded when trying to connect|client has encountered a connection error|query read timeout|socket|not queryable|in closed state/i
    .test(message)

const classifyPostgres = (cause: unknown, props: Props): SqlError.SqlErrorReason => {
  const code = property(cause, "code")
  if (code === "23505") {
    return new SqlError.UniqueViolation({ ...props, constraint: property(cause, "constraint") || "unknown" })
  }
  if (code.startsWith("23")) return new SqlError.ConstraintError(props)
  if (code === "40001") return new SqlError.SerializationError(props)
  if (code === "40P01") return new SqlError.DeadlockError(props)
  if (code === "55P03") return new SqlError.LockTimeoutError(props)
  if (code === "57014") return new SqlError.StatementTimeoutError(props)
  if (code.startsWith("28")) return new SqlError.AuthenticationError(props)
  if (code === "42501") return new SqlError.AuthorizationError(props)
  // connection exceptions, shutdown and start-up, too many connections, a session that was idle for too long
  if (/^(08|57P0|53300|25P0[34])/.test(code)) return new SqlError.ConnectionError(props)
  if (code.startsWith("42")) return new SqlError.SqlSyntaxError(props)
  return isConnectionLost(code, props.message) ? new SqlError.ConnectionError(props) : new SqlError.UnknownError(props)
}

/** Of MariaDB, which the driver has no names for: a statement that takes too long, and a connection that is killed. */
const mariadb = { statementTimeout: 1969, connectionKilled: 1927 }

const classifyMysql = (cause: unknown, props: Props): SqlError.SqlErrorReason => {
  const number = (cause as { readonly errno?: unknown } | null)?.errno
  if (number === mariadb.statementTimeout) return new SqlError.StatementTimeoutError(props)
  if (number === mariadb.connectionKilled) return new SqlError.ConnectionError(props)
  const code = property(cause, "code")
  switch (code) {
    case "ER_DUP_ENTRY": {
      // "Duplicate entry '…' for key 'table.name'", or without the table on MariaDB
      const [, constraint] = /for key '(?:[^'.]*\.)?([^']*)'/.exec(props.message) ?? []
      return new SqlError.UniqueViolation({ ...props, constraint: constraint ?? "unknown" })
    }
    case "ER_LOCK_DEADLOCK":
      return new SqlError.DeadlockError(props)
    case "ER_LOCK_WAIT_TIMEOUT":
    case "ER_LOCK_NOWAIT":
      return new SqlError.LockTimeoutError(props)
    case "ER_STATEMENT_TIMEOUT":
    case "ER_QUERY_TIMEOUT":
    case "ER_QUERY_INTERRUPTED":
      return new SqlError.StatementTimeoutError(props)
    case "ER_PARSE_ERROR":
    case "ER_NO_SUCH_TABLE":
    case "ER_BAD_FIELD_ERROR":
      return new SqlError.SqlSyntaxError(props)
    case "ER_ACCESS_DENIED_ERROR":
    case "ER_DBACCESS_DENIED_ERROR":
      return new SqlError.AuthenticationError(props)
    case "ER_TABLEACCESS_DENIED_ERROR":
      return new SqlError.AuthorizationError(props)
    case "ER_SERVER_SHUTDOWN":
    case "ER_CON_COUNT_ERROR":
    case "ER_NORMAL_SHUTDOWN":
    case "ER_SESSION_WAS_KILLED":
    case "ER_CLIENT_INTERACTION_TIMEOUT":
    case "ER_NEW_ABORTING_CONNECTION":
    // a limit of the server or of the user is reached
    case "ER_TOO_MANY_USER_CONNECTIONS":
    case "ER_USER_LIMIT_REACHED":
    // a server that does not take writes: another, to which the name may lead after a failover, does
    case "ER_OPTION_PREVENTS_STATEMENT":
    case "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION":
    case "ER_READ_ONLY_MODE":
    case "PASSWORD_UNAVAILABLE":
    case "PROTOCOL_CONNECTION_LOST":
    case "PROTOCOL_SEQUENCE_TIMEOUT":
    case "PROTOCOL_ENQUEUE_AFTER_FATAL_ERROR":
    case "POOL_CLOSED":
      return new SqlError.ConnectionError(props)
  }
  return isConnectionLost(code, props.message) ? new SqlError.ConnectionError(props) : new SqlError.UnknownError(props)
}
