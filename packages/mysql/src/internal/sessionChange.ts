/** What begins like this leaves a session as it was, but for what the server says itself, and for what is looked for below. */
const harmless =
  /^(?:[\s(]|--\s[^\n]*\n|#[^\n]*\n|\/\*(?!M?!)(?:(?!\*\/)[\s\S])*\*\/)*(?:select|insert|update|delete|replace|with|values|table|do|begin(?!\s+not\b)|start|commit|rollback|savepoint|release|create|alter|drop|truncate|rename|grant|revoke|analyze|optimize|show|explain|describe|desc|kill)\b/i

/**
 * @internal
 * Whether a statement may leave something in the session without the server saying so: locks, variables that are set within a query,
 * and whatever a procedure does. What is not known to leave nothing may. Such a text may have megabytes, so each search is a plain one.
 */
export const mayChangeSession = (sql: string): boolean =>
  !harmless.test(sql) || /get_lock/i.test(sql) || sql.includes(":=") || sql.includes("@") && /\binto\s+@/i.test(sql)
