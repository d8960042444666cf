/**
 * How long a client waits for a server's answer, in milliseconds. Without an answer, the outcome is unknown.
 *
 * @since 0.1.0
 */

/**
 * How much longer than the server's own limit a client waits.
 *
 * @category constants
 * @since 0.1.0
 */
export const grace = 5_000

/** A rollback is the end of the connection as well. */
const ends = [[/^COMMIT\b/i, 10_000], [/^ROLLBACK\b/i, 3_000]] as const

/**
 * How long to wait for the answer to what ends a transaction; undefined for any other statement.
 *
 * @category getters
 * @since 0.1.0
 */
export const ofEnd = (sql: string): number | undefined => ends.find(([start]) => start.test(sql))?.[1]
