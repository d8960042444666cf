import * as RealTime from "@sluice/sql/adapter/RealTime"
import type Pg from "pg"

/** @internal How long what is over may take to end, in milliseconds. */
export const budget = 1_000

/** @internal Closes the connection at once. Whoever waits for an answer is told. */
export const destroy = (client: Pg.Client): void => {
  ;(client as any).connection.stream.destroy()
}

/** @internal Takes leave of the server, which has a moment to answer. */
export const leave = async (client: Pg.Client): Promise<void> => {
  const leftInTime = RealTime.after(budget, () => destroy(client))
  try {
    await client.end()
  } finally {
    leftInTime()
  }
}
