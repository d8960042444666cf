import type { TransactionStatus } from "@sluice/sql/adapter/Session"
import type * as Mysql from "mysql2"

/** What the server sets in its answers while a transaction is open. */
const inTransaction = 1

const statusOf = (flags: number): TransactionStatus => (flags & inTransaction) === 0 ? "none" : "open"

/** @internal Whether a transaction was open after a statement, by what the driver returns for it. */
export const statusAfter = (header: Mysql.ResultSetHeader): TransactionStatus =>
  statusOf((header as { readonly serverStatus?: number }).serverStatus ?? 0)

/**
 * @internal
 * Keeps what the server's last answer on a connection says of the transaction; undefined when it has not said. The driver shows the
 * flags of an OK packet, and not those at the end of rows, which have to be taken from the packet.
 */
export const watchStatus = (connection: Mysql.Connection): () => TransactionStatus | undefined => {
  let status: TransactionStatus | undefined = "none"
  const query = connection.query.bind(connection) as (...args: Array<any>) => any
  connection.query = (...args: Array<any>) => {
    status = undefined
    const command = query(...args)
    const { doneInsert, row } = command
    command.doneInsert = (header: { readonly serverStatus?: number } | null) => {
      status = header?.serverStatus === undefined ? undefined : statusOf(header.serverStatus)
      return doneInsert.call(command, header)
    }
    command.row = (packet: any, connection: any) => {
      if (packet.isEOF()) status = statusOf(packet.eofStatusFlags())
      const next = row.call(command, packet, connection)
      return next === row ? command.row : next
    }
    return command
  }
  return () => status
}
