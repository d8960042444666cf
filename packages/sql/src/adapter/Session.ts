/**
 * What a database adapter gives to `Database`: connections, and the server's word on the transactions on them.
 *
 * @since 0.1.0
 */
import type { CompiledQuery, DatabaseConnection, QueryResult } from "kysely"

/**
 * What the server says of the transaction on a connection: there is none, one is open, or one has failed and can only be rolled back.
 *
 * @category models
 * @since 0.1.0
 */
export type TransactionStatus = "none" | "open" | "failed"

/**
 * What the server has answered to a commit with which another transaction begins: how it has ended the first (`ROLLBACK` if that had failed), and what the
 * query of the second has answered, undefined if it has failed.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommitAnswer {
  readonly command: string
  readonly begun: QueryResult<any> | undefined
}

/**
 * A connection that is lent for a while.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  /** The connection as Kysely's driver has it. If queries can be cancelled, the driver has a control client for that. */
  readonly connection: DatabaseConnection
  /**
   * Begins a transaction, and runs a first query in it, which has parameters. It is not executed if the transaction does not begin, and the error is one of a
   * lost connection then. Where a driver has no such thing, transactions begin with a statement of their own.
   */
  readonly begin?: (sql: string, first: CompiledQuery<any>) => Promise<QueryResult<any>>
  /**
   * Commits, and begins another transaction with a first query, which has parameters. Nothing of the second is executed if the commit fails, which is
   * the error then. Where a driver has no such thing, each transaction begins by itself.
   */
  readonly commitAndBegin?: (sql: string, first: CompiledQuery<any>) => Promise<CommitAnswer>
  /** Whether it is to be given back between two transactions: others wait for a connection, or it has to be reset. */
  readonly isDue?: () => boolean
  /** Whether the driver knows that the connection is lost, or about to be closed. */
  readonly isLost?: () => boolean
  /** What the server said with its last answer; undefined if that answer did not say. */
  readonly status: () => TransactionStatus | undefined
  /** Asks the server. Fails where the connection is lost. */
  readonly ask: () => Promise<TransactionStatus>
  /**
   * Gives the connection back. If it is not clean, its state is unknown, and it is reset or closed before anybody else
   * gets it.
   */
  readonly release: (isClean: boolean) => void
}

/**
 * Where connections come from.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sessions {
  /**
   * Waits for a connection that is free. When the signal aborts, it stops waiting; a connection that comes all the same
   * is given back.
   */
  readonly acquire: (signal: AbortSignal) => Promise<Session>
  /** Whether there is only one connection, which is lent to one after the other. */
  readonly isSingle: boolean
}
