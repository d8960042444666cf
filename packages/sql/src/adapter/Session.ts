/**
 * What a database adapter gives to `Database`: connections, and what the server says of the transactions on them.
 *
 * @since 0.1.0
 */
import type { DatabaseConnection } from "kysely"

/**
 * What the server says of the transaction on a connection: there is none, one is open, or one has failed and can only be rolled back.
 *
 * @category models
 * @since 0.1.0
 */
export type TransactionStatus = "none" | "open" | "failed"

/**
 * A connection that somebody has for a while.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  /** As Kysely's driver has it. Where queries can be cancelled, the driver has a control client of its own to do it. */
  readonly connection: DatabaseConnection
  /** What the server said with its last answer; undefined if that answer did not say. */
  readonly status: () => TransactionStatus | undefined
  /** Asks the server. Fails where the connection is lost. */
  readonly ask: () => Promise<TransactionStatus>
  /** Gives the connection back. On one that is not clean, nobody knows what is open: nobody else gets it as it is. */
  readonly release: (isClean: boolean) => void
}

/**
 * Where connections come from.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sessions {
  /** Waits for one that is free. When the signal says that nobody wants it any more, it waits no longer, or gives back what it gets. */
  readonly acquire: (signal: AbortSignal) => Promise<Session>
  /** Whether there is only one, which is lent to one after the other. */
  readonly isSingle: boolean
}
