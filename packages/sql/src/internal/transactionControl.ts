import type { Dialect } from "../Dialect.ts"

/**
 * What ends a transaction: the statements that say so, and on MySQL those that commit without being asked. The server's own word counts
 * in the end; this only spares what is obvious, so that nothing of it is committed.
 */
const ending: Readonly<Record<Dialect, RegExp>> = {
  sqlite: /^\s*(begin|commit|end|rollback(?!\s+(transaction\s+)?to\b))\b/i,
  postgres:
    /^\s*(begin|start\s+transaction|commit|end|abort|rollback(?!\s+(work\s+|transaction\s+)?to\b)|prepare\s+transaction)\b/i,
  mysql:
    /^\s*(begin(?!\s+not\b)|start|commit|rollback(?!\s+(work\s+)?to\b)|set\s+(session\s+|@@(session\.)?)?autocommit|xa|(create(?!\s+(or\s+replace\s+)?temporary\b)|drop(?!\s+(temporary|prepare)\b)|alter|rename|truncate|grant|revoke|lock|flush|reset|install|uninstall|analyze|optimize|repair|cache)\b)/i
}

/** @internal Whether a statement would end the transaction that it runs in. */
export const wouldEnd = (dialect: Dialect, sql: string): boolean => ending[dialect].test(sql)

const harmless = {
  mysql:
    /^[\s(]*(select|insert|update|delete|replace|with|values|table|do|show|explain|describe|savepoint|release\s+savepoint|rollback\s+(work\s+)?to)\b/i,
  postgres:
    /^[\s(]*(select|insert|update|delete|merge|with|values|table|create|alter|drop|truncate|comment|grant|revoke|copy|call|do|set|show|explain|lock|declare|fetch|close|listen|notify|refresh|analyze|savepoint|release|rollback\s+(work\s+|transaction\s+)?to)\b/i
}

/**
 * @internal
 * Whether a statement may end the transaction and begin another, which the status does not show: several statements in one, or a procedure
 * of MySQL's. What is not known to be harmless may. SQLite has no such statements.
 */
export const mayHideEnd = (dialect: Dialect, sql: string, isPlain: boolean): boolean => {
  switch (dialect) {
    case "mysql":
      return !harmless.mysql.test(sql)
    case "postgres":
      return !harmless.postgres.test(sql) || isPlain && /;\s*\S/.test(sql)
    case "sqlite":
      return false
  }
}
