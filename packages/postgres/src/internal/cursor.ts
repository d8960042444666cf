import * as RealTime from "@sluice/sql/adapter/RealTime"
import type Pg from "pg"
import type Cursor from "pg-cursor"
import { budget, destroy } from "./leave.ts"

/** @internal */
export const isCursor = (query: unknown): query is Cursor =>
  typeof query === "object" && query !== null && "submit" in query && "read" in query && "close" in query

/**
 * @internal
 * Gives each answer to a cursor a deadline, while the reader may take as long as it likes between two answers. The
 * driver has no deadlines for cursors. It also waits for ever for the end of a cursor whose connection is lost.
 */
export const limit = (cursor: Cursor, client: Pg.Client, queryTimeout: number): void => {
  const within = async <A>(timeout: number, answer: Promise<A>): Promise<A> => {
    const answeredInTime = RealTime.after(timeout, () => destroy(client))
    try {
      return await answer
    } finally {
      answeredInTime()
    }
  }
  const read = cursor.read.bind(cursor) as (rows: number) => Promise<Array<any>>
  const close = cursor.close.bind(cursor) as () => Promise<void>
  const { promise: ended, resolve: end } = Promise.withResolvers<void>()
  client.once("end", end)
  Object.assign(cursor, {
    read: (rows: number) => within(queryTimeout, read(rows)),
    close: () => within(budget, Promise.race([close(), ended])).finally(() => void client.removeListener("end", end))
  })
}
