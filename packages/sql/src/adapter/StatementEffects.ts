/**
 * What the text of a statement says of its effects: on the transaction that it runs in, and on the session, which others have next.
 *
 * @since 0.1.0
 */
import type { Dialect } from "./Dialect.ts"

/** Of so many statements, of at most such a length, what was found is remembered: most come again and again. */
const maxRemembered = 500
const maxLength = 4_000

const remembered = <D extends Dialect, A>(find: (dialect: D, sql: string) => A): (dialect: D, sql: string) => A => {
  const known = new Map<D, Map<string, A>>()
  return (dialect, sql) => {
    if (sql.length > maxLength) return find(dialect, sql)
    let found = known.get(dialect)
    if (found === undefined) known.set(dialect, found = new Map())
    if (found.has(sql)) return found.get(sql) as A
    if (found.size === maxRemembered) found.clear()
    const value = find(dialect, sql)
    found.set(sql, value)
    return value
  }
}

/** Where a statement's meaning is: what counts stands among its first words. */
const headLength = 200

/** What a comment begins with, or what holds comments that are none. On MySQL, those that begin so are executed: `/*!80000 … *\/`. */
const marks: Readonly<Record<Dialect, RegExp>> = {
  sqlite: /--|\/\*|["'`[]/,
  postgres: /--|\/\*|["'$]/,
  mysql: /--(?=\s)|#|\/\*M?!\d*|\/\*|["'`]/
}

/** The end of the comment that begins at `from`. PostgreSQL's are nested. */
const endOfComment = (dialect: Dialect, sql: string, from: number): number => {
  if (!sql.startsWith("/*", from)) {
    const end = sql.indexOf("\n", from)
    return end < 0 ? sql.length : end
  }
  const brackets = /\/\*|\*\//g
  brackets.lastIndex = from + 2
  for (let depth = 1; depth > 0;) {
    const bracket = brackets.exec(sql)
    if (bracket === null) return sql.length
    if (bracket[0] === "*/") depth--
    else if (dialect === "postgres") depth++
  }
  return brackets.lastIndex
}

/** How a statement begins, without comments, as far as no text or name is quoted in it. */
const headOf = (dialect: Dialect, sql: string): string => {
  let head = ""
  let from = 0
  while (head.length < headLength) {
    const part = sql.slice(from, from + headLength)
    const mark = marks[dialect].exec(part)
    head += part.slice(0, mark?.index)
    if (mark === null || /["'`[$]/.test(mark[0])) break
    head += " "
    from += mark.index
    from = mark[0].includes("!") ? from + mark[0].length : endOfComment(dialect, sql, from)
  }
  return head.replace(/^[\s;]+/, "")
}

/**
 * What ends a transaction: the statements that say so, and on MySQL those that commit without being asked. The server's own word counts
 * in the end; this only spares what is obvious, so that nothing of it is committed.
 */
const ending: Readonly<Record<Dialect, RegExp>> = {
  sqlite: /^(begin|commit|end|rollback)\b/i,
  postgres: /^(begin|start\s+transaction|commit|end|abort|rollback|prepare\s+transaction)\b/i,
  mysql:
    /^(begin(?!\s+not\b)|start|commit|rollback|set\s+(session\s+|@@(session\.)?)?autocommit|xa|(create(?!\s+(or\s+replace\s+)?temporary\b)|drop(?!\s+(temporary|prepare)\b)|alter|rename|truncate|grant|revoke|lock|flush|reset|install|uninstall|analyze|optimize|repair|cache)\b)/i
}

const nesting = /^(savepoint|release|rollback(\s+(work|transaction))?\s+to)\b/i

/**
 * Whether a statement ends the fiber's transaction or makes a savepoint in it, which it must not: the outcome would not be known.
 *
 * @category getters
 * @since 0.1.0
 */
export const wouldControl: (dialect: Dialect, sql: string) => "ends" | "nests" | undefined = remembered(
  (dialect, sql) => {
    const head = headOf(dialect, sql)
    return nesting.test(head) ? "nests" : ending[dialect].test(head) ? "ends" : undefined
  }
)

/** What begins like this ends no transaction, and hides nothing that does. */
const hidesNothing = {
  mysql: /^[\s(]*(select|insert|update|delete|replace|with|values|table|do|show|explain|describe)\b/i,
  postgres:
    /^[\s(]*(select|insert|update|delete|merge|with|values|table|create|alter|drop|truncate|comment|grant|revoke|copy|call|do|set|show|explain|lock|declare|fetch|close|listen|notify|refresh|analyze)\b/i
}

/**
 * Whether a statement may end the transaction and begin another without the status showing it. Several statements in one may, and so may
 * a procedure of MySQL's. A statement that is not known to be harmless may. SQLite has no such statements.
 *
 * @category getters
 * @since 0.1.0
 */
export const mayHideEnd = (dialect: Dialect, sql: string, isPlain: boolean): boolean =>
  dialect !== "sqlite" &&
  (!beginsHarmless(dialect, sql) || dialect === "postgres" && isPlain && hasAnother(dialect, sql))

const beginsHarmless = remembered((dialect: keyof typeof hidesNothing, sql: string): boolean =>
  hidesNothing[dialect].test(headOf(dialect, sql))
)

/** Whether another statement may follow it. */
const hasAnother = remembered((_: Dialect, sql: string): boolean => /;\s*\S/.test(sql))

/** What begins like this leaves a session as it was, but for what is looked for below and, on MySQL, what the server itself says. */
const leavesNothing = {
  mysql:
    /^(?:[\s(]|--\s[^\n]*\n|#[^\n]*\n|\/\*(?!M?!)(?:(?!\*\/)[\s\S])*\*\/)*(?:select|insert|update|delete|replace|with|values|table|do|begin(?!\s+not\b)|start|commit|rollback|savepoint|release|create|alter|drop|truncate|rename|grant|revoke|analyze|optimize|show|explain|describe|desc|kill)\b/i,
  postgres:
    /^(?:[\s(]|--[^\n]*\n|\/\*(?:(?!\/\*|\*\/)[\s\S])*\*\/)*(?:select|insert|update|delete|merge|with|values|table|begin|start|commit|end|abort|rollback|savepoint|release|create|alter|drop|truncate|comment|grant|revoke|copy|lock|declare|fetch|move|close|notify|show|explain|analyze|vacuum|refresh|reindex|cluster|set\s+(?:local|transaction|constraints))\b/i
}

const postgresLeftovers = /set_config|advisory_lock|setseed|dblink_connect|\btemp(?:orary)?\b|\bpg_temp|\bhold\b/i

/**
 * Whether a statement may leave something in the session that the next one would find: settings, locks, variables, temporary tables, cursors,
 * channels, prepared statements. A statement that is not known to leave nothing may. What a function of the user's leaves cannot be seen.
 *
 * @category getters
 * @since 0.1.0
 */
export const mayChangeSession: (dialect: "mysql" | "postgres", sql: string) => boolean = remembered((dialect, sql) =>
  !leavesNothing[dialect].test(sql) || (dialect === "mysql"
    // such a text may have megabytes, so each search is a plain one
    ? /get_lock/i.test(sql) || sql.includes(":=") || sql.includes("@") && /\binto\s+@/i.test(sql)
    : postgresLeftovers.test(sql) || hasAnother(dialect, sql))
)
