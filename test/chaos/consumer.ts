/**
 * Writes a row per event, exactly once, with a number of workers that differs from run to run.
 *
 * usage: consumer FILE PORT WORKERS
 */
import * as Projection from "@sluice/core/Projection"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as Database from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sql } from "kysely"
import { endWithParent } from "../kit/process.ts"
import { Counts } from "./contract.ts"

const [filename, port, workers] = process.argv.slice(2)

const tables = Tables.make<{ seen: { persistence_id: string; n: number } }>()
const createTable = Layer.effectDiscard(Effect.flatMap(Database.Database, (database) =>
  // no unique key: a doubled event has to show
  database.run(sql`CREATE TABLE IF NOT EXISTS seen (ordinal INTEGER PRIMARY KEY, persistence_id TEXT, n INTEGER)`)))

const Seen = EventConsumer.source(Counts, { address: `127.0.0.1:${port}` }).pipe(
  Projection.exactlyOnce(
    "seen",
    ({ event, persistenceId }) =>
      Tables.run(tables.insertInto("seen").values({ persistence_id: persistenceId, n: event.n }))
  ),
  Projection.workers(Number(workers))
)

endWithParent(
  Layer.launch(
    Projection.layer(Seen).pipe(
      Layer.provide(createTable),
      Layer.provide(SqliteStorage.layer({ filename: filename! }))
    )
  )
)
