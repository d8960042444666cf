/** A setting, under the names that MySQL and MariaDB have for it, as it stands in SQL and as the server then says it is. */
interface Setting {
  readonly name: string | { readonly mariadb: string; readonly mysql: string }
  readonly value: string
  readonly shown?: string
}

/**
 * The settings of a session that the options decide. Times are in milliseconds, except for `idleTimeout`, which is in
 * seconds.
 */
export interface Limits {
  readonly statementTimeout: number
  readonly lockTimeout: number
  readonly idleTimeout: number
}

const on = { value: "1", shown: "ON" }
const off = { value: "0", shown: "OFF" }
const quoted = (text: string) => ({ value: `'${text}'`, shown: text })

/** The settings of every session, so that none depends on the server, its administrator, `init_connect` or a proxy. */
const settingsOf = ({ idleTimeout, lockTimeout, statementTimeout }: Limits): ReadonlyArray<Setting> => {
  const lockSeconds = String(Math.max(1, Math.ceil(lockTimeout / 1000)))
  return [
    // this comes first, as the server's answer then shows the value of each of the others
    { name: "session_track_system_variables", ...quoted("*") },
    // the answer also shows which database the session is in
    { name: "session_track_schema", ...on },
    // and later answers say whether a query has changed the session
    { name: "session_track_state_change", ...on },
    { name: "character_set_client", ...quoted("utf8mb4") },
    { name: "character_set_results", ...quoted("utf8mb4") },
    // this also sets the server's collation for it
    { name: "character_set_connection", ...quoted("utf8mb4") },
    // what both have by default
    { name: "sql_mode", ...quoted("STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION") },
    { name: "time_zone", ...quoted("+00:00") },
    { name: "autocommit", ...on },
    { name: "completion_type", ...quoted("NO_CHAIN") },
    // events are appended in READ COMMITTED, as a transaction has to see what was committed when it got its lock
    { name: { mariadb: "tx_isolation", mysql: "transaction_isolation" }, ...quoted("READ-COMMITTED") },
    { name: { mariadb: "tx_read_only", mysql: "transaction_read_only" }, ...off },
    { name: "innodb_lock_wait_timeout", value: lockSeconds },
    { name: "lock_wait_timeout", value: lockSeconds },
    // also of a transaction whose program is gone without a word, and keeps its locks until then
    { name: "wait_timeout", value: String(idleTimeout) },
    { name: { mariadb: "idle_transaction_timeout", mysql: "" }, value: "0" },
    { name: { mariadb: "idle_write_transaction_timeout", mysql: "" }, value: "0" },
    { name: { mariadb: "idle_readonly_transaction_timeout", mysql: "" }, value: "0" },
    {
      name: { mariadb: "max_statement_time", mysql: "" },
      value: String(statementTimeout / 1000),
      shown: (statementTimeout / 1000).toFixed(6)
    },
    { name: { mariadb: "", mysql: "max_execution_time" }, value: String(statementTimeout) },
    { name: "sql_select_limit", value: "18446744073709551615" },
    { name: "sql_big_selects", ...on },
    { name: "sql_safe_updates", ...off },
    { name: "sql_auto_is_null", ...off },
    { name: "foreign_key_checks", ...on },
    { name: "unique_checks", ...on },
    { name: "group_concat_max_len", value: "1048576" },
    // a list of more values is joined as a table, and then appends to some logs would lock all of them
    { name: { mariadb: "in_predicate_conversion_threshold", mysql: "" }, value: "1000" },
    { name: "default_storage_engine", ...quoted("InnoDB") }
  ]
}

const assignment = (name: string, value: string) => `@@session.${name} = ${value}`

/**
 * @internal
 * The statement that sets a session. Settings that only MariaDB or only MySQL knows stand in comments that only that
 * server reads.
 */
export const settle = (limits: Limits): string => {
  const [first, ...rest] = settingsOf(limits)
  return `SET ${assignment(first!.name as string, first!.value)}${
    rest.map(({ name, value }) =>
      typeof name === "string"
        ? `, ${assignment(name, value)}`
        : `${name.mariadb && ` /*M!100101 , ${assignment(name.mariadb, value)} */`}${
          name.mysql && ` /*!80000 , ${assignment(name.mysql, value)} */`
        }`
    ).join("")
  }`
}

/** @internal A description of the settings that the server has not confirmed; undefined if it has confirmed all. */
export const unsettled = (limits: Limits, answer: unknown): string | undefined => {
  const shown: Record<string, string> = (answer as any)?.stateChanges?.systemVariables ?? {}
  if (Object.keys(shown).length === 0) {
    return "the server does not say how the session is set: it takes MySQL 8 or MariaDB 10.6 or later, without a proxy that shares " +
      "sessions"
  }
  const isMariaDB = "tx_isolation" in shown
  const wrong = settingsOf(limits).flatMap((setting) => {
    const name = typeof setting.name === "string" ? setting.name : setting.name[isMariaDB ? "mariadb" : "mysql"]
    const expected = setting.shown ?? setting.value
    return name === "" || shown[name] === expected ? [] : [`${name} is ${shown[name] ?? "unknown"}, not ${expected}`]
  })
  return wrong.length === 0 ? undefined : `the server has not set the session as it was told to: ${wrong.join("; ")}`
}

/** @internal The database of the session, by an answer that changes it. */
export const databaseAfter = (answer: unknown): string | undefined => (answer as any)?.stateChanges?.schema

const sessionStateChanged = 0x4000

/** @internal Whether the session has changed, by an answer. The begin of a transaction does not count. */
export const isChanged = (answer: unknown): boolean => {
  const { serverStatus, stateChanges } = answer as { readonly serverStatus?: number; readonly stateChanges?: any }
  return ((serverStatus ?? 0) & sessionStateChanged) !== 0 &&
    // MySQL tells of its transactions as well
    (typeof stateChanges?.trackStateChange === "string" || typeof stateChanges?.schema === "string")
}
