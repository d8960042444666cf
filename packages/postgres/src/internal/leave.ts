import * as RealTime from "@sluice/sql/adapter/RealTime"
import type Pg from "pg"

/** @internal How long the end of something may take, in milliseconds. */
export const budget = 1_000

/** @internal Closes the connection at once. Queries that wait for an answer fail. */
export const destroy = (client: Pg.Client): void => {
  ;(client as any).connection.stream.destroy()
}

/** @internal Ends a connection, in the driver's own way unless another is given. The server has a moment to answer; then it is closed. */
export const leave = (client: Pg.Client, end: () => Promise<void> = () => client.end()): Promise<void> =>
  end().finally(RealTime.after(budget, () => destroy(client)))
