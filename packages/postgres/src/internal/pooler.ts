import Pg from "pg"
import { leave } from "./leave.ts"

/** How often to check: a pooler hands out its sessions in any order. */
const rounds = 3

/**
 * @internal
 * Whether a pooler lets a connection keep its session. Meanwhile a second connection opens transactions. If sessions
 * are not kept, it takes the first one's session away.
 */
export const keepsSessions = async (client: Pg.Client, config: Pg.ClientConfig): Promise<boolean> => {
  const { connectionTimeoutMillis } = config
  const ask = async (client: Pg.Client, text: string): Promise<number> => {
    const answer = await client.query({ text, query_timeout: connectionTimeoutMillis } as Pg.QueryConfig)
    return answer.rows[0]?.process
  }
  const process = "SELECT pg_catalog.pg_backend_pid() AS process"
  const other = new Pg.Client(config)
  other.on("error", () => {})
  try {
    const own = await ask(client, process)
    await other.connect()
    for (let round = 0; round < rounds; round++) {
      await ask(other, "BEGIN")
      if (await ask(other, process) === own || await ask(client, process) !== own) return false
      await ask(other, "COMMIT")
    }
    return true
  } catch (error) {
    // a pooler that gives each statement another session refuses transactions
    if ((error as Error).message === "transaction blocks not allowed in statement pooling mode") return false
    throw error
  } finally {
    void leave(other)
  }
}
