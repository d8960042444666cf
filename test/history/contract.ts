/** What the processes of the test share. */
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventFilter from "@sluice/core/EventFilter"
import * as EventStream from "@sluice/core/EventStream"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as Database from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sql } from "kysely"

export const Note = EntityType.make("note", { codec: EventCodec.string })
export const Notes = EventStream.make("notes", { codec: EventCodec.string })

const tables = Tables.make<{ seen: { ordinal: number; id: string; n: number } }>()

export const createTable = Layer.effectDiscard(
  Effect.flatMap(Database.Database, (database) =>
    // no unique key: a doubled event has to show
    database.run(sql`CREATE TABLE IF NOT EXISTS seen (ordinal INTEGER PRIMARY KEY, id TEXT, n INTEGER)`))
)

/** Begins with the entity `live` alone. */
export const seen = (port: number) =>
  EventConsumer.source(Notes, { address: `127.0.0.1:${port}` }).pipe(
    EventConsumer.filter(EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("live"))),
    Projection.exactlyOnce("seen", ({ persistenceId, sequenceNumber: n }) =>
      Tables.run(tables.insertInto("seen").values({ id: PersistenceId.entityId(persistenceId), n } as any))),
    Projection.workers(2)
  )

/** What was handled, in order. */
export const rows = Database.Database.use((database) =>
  database.run(tables.selectFrom("seen").select(["id", "n"]).orderBy("ordinal"))
)
