/**
 * How to reach a MySQL or MariaDB server, and how to set up its storage.
 *
 * @since 0.1.0
 */
import type { Tls } from "@sluice/sql/Tls"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"

/**
 * How to reach the server: by URL, `mysql://user:password@host:port/database`, or by its parts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly url?: string | Redacted.Redacted | undefined
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly user?: string | undefined
  /** An effect is run for each new connection, so that a password that changes needs no restart. */
  readonly password?: Redacted.Redacted | Effect.Effect<Redacted.Redacted, unknown> | undefined
  readonly database?: string | undefined
  /** `true` trusts the well-known authorities. By default connections are encrypted unless they stay on this machine. */
  readonly tls?: boolean | Tls | undefined
  /** The connections for handlers, offsets and the service's own queries; 10 by default. */
  readonly poolSize?: number | undefined
  /** The connections on which single appends are written, many in one transaction; 2 by default. */
  readonly lanes?: number | undefined
  /** For how long to wait for a free or new connection, in milliseconds; 10,000 by default. */
  readonly connectTimeout?: number | undefined
  /** For how long a statement may run, in milliseconds; 30,000 by default. MySQL itself ends only a `SELECT` then. */
  readonly statementTimeout?: number | undefined
  /** For how long to wait for a lock, in milliseconds, rounded up to seconds; 5,000 by default. */
  readonly lockTimeout?: number | undefined
  /**
   * For how long a transaction may be idle, in milliseconds, rounded up to seconds; 60,000 by default. It holds its logs meanwhile. As the
   * server knows it as the session's `wait_timeout`, no connection is idle for longer.
   */
  readonly transactionTimeout?: number | undefined
  /** What the names of Sluice's tables begin with; `sluice_` by default. */
  readonly tablePrefix?: string | undefined
  /** Whether to create the tables and bring them to the latest version, as is the default, or to fail if they are not. */
  readonly migrate?: boolean | undefined
  /** The largest event; `Journal.defaultMaxEventBytes` by default. The server's `max_allowed_packet` has room for twice as much. */
  readonly maxEventBytes?: number | undefined
}
