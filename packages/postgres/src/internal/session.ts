import type Pg from "pg"

/** The settings of a session that the options decide, in milliseconds. */
export interface Limits {
  readonly statementTimeout: number
  readonly lockTimeout: number
  readonly transactionTimeout: number
}

/** @internal The settings of every session, so that none depends on the server, the database or the role. */
export const settingsOf = ({ lockTimeout, statementTimeout, transactionTimeout }: Limits) => ({
  // how values are written and read
  client_encoding: "UTF8",
  standard_conforming_strings: "on",
  DateStyle: "ISO, MDY",
  IntervalStyle: "postgres",
  bytea_output: "hex",
  extra_float_digits: "1",
  array_nulls: "on",
  // events are appended in READ COMMITTED, as an append has to see all of its log
  default_transaction_isolation: "read committed",
  default_transaction_read_only: "off",
  default_transaction_deferrable: "off",
  // constraints and triggers apply
  session_replication_role: "origin",
  statement_timeout: String(statementTimeout),
  lock_timeout: String(lockTimeout),
  idle_in_transaction_session_timeout: String(transactionTimeout),
  // of PostgreSQL 17 and later: however long it takes as a whole
  transaction_timeout: "0",
  // a session that waits for notifications is not ended
  idle_session_timeout: "0"
})

/**
 * @internal
 * Settings of a connection that only reads the journal, where every read has to follow an index in its order. The
 * planner cannot know that: when it plans, the table may still be empty. It would then sort all newer events for each
 * page, and keep that plan.
 */
export const alongIndexes = { enable_seqscan: "off", enable_bitmapscan: "off", enable_sort: "off", jit: "off" }

/**
 * Applies the settings that the server knows, and returns them: only in the process with the number, or in any if there
 * is none. Those that have their values already are set as well, but for the one that takes a superuser: what a session has not set itself changes with
 * the configuration of the server. Commits have to be flushed, whatever the role says: if a crash of the server took back an acknowledged
 * commit, the journal would be forked.
 */
const statement = `SELECT pg_catalog.pg_backend_pid() AS process, pg_catalog.pg_is_in_recovery() AS is_standby,
    pg_catalog.current_setting('server_encoding') AS encoding,
    (SELECT (EXTRACT(epoch FROM a.backend_start) * 1000000)::pg_catalog.int8::pg_catalog.text
      FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a) AS began,
    ARRAY(
      SELECT pg_catalog.set_config(s.name, s.value, false) FROM (
        SELECT key AS name, value FROM pg_catalog.json_each_text($2::pg_catalog.json)
        UNION ALL SELECT 'synchronous_commit', coalesce(nullif(pg_catalog.current_setting('synchronous_commit'), 'off'), 'on')
      ) s
      WHERE pg_catalog.current_setting(s.name, true) IS NOT NULL
        AND (s.name <> 'session_replication_role' OR pg_catalog.current_setting(s.name, true) <> s.value)
        AND pg_catalog.pg_backend_pid() = coalesce($1::pg_catalog.int4, pg_catalog.pg_backend_pid())
    ) AS settings`

/**
 * @internal
 * Sets a session in one round trip, and fails if the server refuses. If `process` is given and is not the server's, it
 * is a pooler's number. Then nothing is set, as other clients might get the session.
 */
export const settle = async (
  client: Pg.Client & {
    readonly config: { readonly settings: Readonly<Record<string, string>>; readonly connectionTimeoutMillis: number }
  },
  process: number | null
) => {
  const { connectionTimeoutMillis, settings } = client.config
  const { rows } = await client.query<
    { readonly process: number; readonly began: string; readonly is_standby: boolean; readonly encoding: string }
  >({
    text: statement,
    values: [process, JSON.stringify(settings)],
    query_timeout: connectionTimeoutMillis
  } as Pg.QueryConfig)
  const [row] = rows
  return {
    process: row!.process,
    began: row!.began,
    isStandby: row!.is_standby,
    encoding: row!.encoding,
    isSet: process === null || row!.process === process
  }
}
