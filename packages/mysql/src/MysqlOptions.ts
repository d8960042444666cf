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
  /** The password, or an effect that is run for each new connection. So a changed password needs no restart. */
  readonly password?: string | Redacted.Redacted | Effect.Effect<string | Redacted.Redacted, unknown> | undefined
  readonly database?: string | undefined
  /**
   * How connections are encrypted. `true` trusts the well-known authorities. By default connections are encrypted
   * unless they stay on this machine.
   */
  readonly tls?: boolean | Tls | undefined
  /** The connections for handlers, offsets and the service's own queries; 10 by default. */
  readonly poolSize?: number | undefined
  /**
   * The connections on which single appends are written, many in one transaction; 2 by default. A further one is used only while
   * much waits, or the last transaction takes long.
   */
  readonly lanes?: number | undefined
  /** For how long to wait for a free or new connection, in milliseconds; 10,000 by default. */
  readonly connectTimeout?: number | undefined
  /** For how long a statement may run, in milliseconds; 30,000 by default. MySQL's own limit ends only a `SELECT`. */
  readonly statementTimeout?: number | undefined
  /** For how long to wait for a lock, in milliseconds, rounded up to seconds; 5,000 by default. */
  readonly lockTimeout?: number | undefined
  /**
   * For how long a transaction may be idle, in milliseconds, rounded up to seconds; 60,000 by default. Meanwhile it
   * keeps the locks of its logs. It is set as the session's `wait_timeout`, so the server also closes connections that
   * are idle for longer.
   */
  readonly transactionTimeout?: number | undefined
  /** The beginning of the names of Sluice's tables; `sluice_` by default. */
  readonly tablePrefix?: string | undefined
  /**
   * Whether to create the tables, or bring them to the latest version, when the storage starts. If `false`, it fails
   * unless they are; `true` by default.
   */
  readonly migrate?: boolean | undefined
  /**
   * The largest event, in bytes; `Journal.defaultMaxEventBytes` by default. The server's `max_allowed_packet` must be
   * twice as large, plus 64 KiB.
   */
  readonly maxEventBytes?: number | undefined
}
