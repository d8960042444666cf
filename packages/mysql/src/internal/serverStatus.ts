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
 * Hands over what each answer to a query says of the transaction; undefined where it does not say. The driver shows the flags of an OK
 * packet. Those at the end of rows have to be taken from the packet.
 */
export const watchStatus = (command: any, told: (status: TransactionStatus | undefined) => void): void => {
  const { doneInsert, row } = command
  command.doneInsert = (header: { readonly serverStatus?: number } | null) => {
    told(header?.serverStatus === undefined ? undefined : statusOf(header.serverStatus))
    return doneInsert.call(command, header)
  }
  command.row = (packet: any, connection: any) => {
    if (packet.isEOF()) told(statusOf(packet.eofStatusFlags()))
    const next = row.call(command, packet, connection)
    return next === row ? command.row : next
  }
}
