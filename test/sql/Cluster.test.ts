import { describe, it } from "@effect/vitest"
import * as TestServer from "@sluice/testing/TestServer"
import * as Effect from "effect/Effect"
import { comeAndGo, withoutDatabase } from "../cluster/processes.ts"
import { serversOfAdapters } from "./databases.ts"

/** One after the other on a database. */
const options = { timeout: 900_000, concurrent: false }

// on the one database they wait while they do on the other: mostly for the leases of a process that is gone to be over
describe.concurrent.each(serversOfAdapters)(
  "a projection of several processes, in $name,",
  ({ dialect, place }) => {
    it.live("handles each event once, while they come, go, are killed and halted", () =>
      Effect.gen(function*() {
        yield* comeAndGo((yield* place).where)
      }), options)

    it.live("goes on by itself when the database has been away", () =>
      Effect.gen(function*() {
        const server = yield* dialect === "mysql"
          ? TestServer.mysql({ durable: true })
          : TestServer.postgres({ durable: true })
        const { database, host, kill, password, port, start, user } = server
        const at = `${user}:${password}@${host}:${port}/${database}`
        const where = dialect === "mysql"
          ? { dialect: "mysql" as const, url: `mysql://${at}` }
          : { dialect: "postgres" as const, url: `postgres://${at}`, schema: "cluster" }
        yield* withoutDatabase(where, { start, stop: kill })
      }), options)
  }
)
