/** What begins like this leaves a session as it was, but for what the words below say. */
const harmless =
  /^(?:[\s(]|--[^\n]*\n|\/\*(?:(?!\/\*|\*\/)[\s\S])*\*\/)*(?:select|insert|update|delete|merge|with|values|table|begin|start|commit|end|abort|rollback|savepoint|release|create|alter|drop|truncate|comment|grant|revoke|copy|lock|declare|fetch|move|close|notify|show|explain|analyze|vacuum|refresh|reindex|cluster|set\s+(?:local|transaction|constraints))\b/i

const leaves = /set_config|advisory_lock|setseed|dblink_connect|\btemp(?:orary)?\b|\bpg_temp|\bhold\b/i

/**
 * @internal
 * Whether a statement may leave something in the session that the next one would find: settings, locks, temporary tables, cursors, channels,
 * prepared statements. What is not known to leave nothing may. The server does not say; what a function of the user's sets, nobody knows.
 */
export const mayChangeSession = (sql: string): boolean => !harmless.test(sql) || leaves.test(sql) || /;\s*\S/.test(sql)
