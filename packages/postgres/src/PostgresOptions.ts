/**
 * How to reach a PostgreSQL server, and how to set up its storage.
 *
 * @since 0.1.0
 */
import type { Tls } from "@sluice/sql/Tls"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"

/**
 * How to reach the server: by URL, or by its parts. What neither says is taken from the environment variables PGHOST,
 * PGPORT, PGUSER, PGPASSWORD and PGDATABASE.
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
  /** For how long to wait for a connection, in milliseconds; 10,000 by default. */
  readonly connectTimeout?: number | undefined
  /** For how long a statement may run, in milliseconds; 30,000 by default. */
  readonly statementTimeout?: number | undefined
  /** For how long to wait for a lock, in milliseconds; 5,000 by default. */
  readonly lockTimeout?: number | undefined
  /**
   * For how long a transaction may be idle, in milliseconds; 60,000 by default. Meanwhile it keeps the locks of its
   * logs.
   */
  readonly transactionTimeout?: number | undefined
  /**
   * The schema that Sluice's tables are in. By default it is the first schema of the search path that has them, or else
   * the first schema. Tables of your own are not in it, unless your queries name it.
   */
  readonly schema?: string | undefined
  /** The beginning of the names of Sluice's tables; `sluice_` by default. */
  readonly tablePrefix?: string | undefined
  /**
   * Whether to create the tables, or bring them to the latest version, when the storage starts. If `false`, it fails
   * unless they are; `true` by default.
   */
  readonly migrate?: boolean | undefined
  /** The largest event, in bytes; `Journal.defaultMaxEventBytes` by default. */
  readonly maxEventBytes?: number | undefined
  /** The name of the connections that the server shows; `sluice` by default. */
  readonly applicationName?: string | undefined
}
