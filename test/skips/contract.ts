/** What the test of skipped events and the processes that it kills have in common. */
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Projection from "@sluice/core/Projection"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Source from "@sluice/core/Source"
import * as Tables from "@sluice/sql/Tables"
import * as Effect from "effect/Effect"

export const Note = EntityType.make("note", { codec: EventCodec.string })

/** No unique key: a doubled event has to show. */
export const schema = ["CREATE TABLE seen (ordinal INTEGER PRIMARY KEY, persistence_id TEXT, n INTEGER)"]

export const tables = Tables.make<{ seen: { persistence_id: string; n: number } }>()

/** Writes a row per event, and fails on some after it has written: it tries them again a few times, and stops. */
export const Seen = Source.journal(Note).pipe(
  Projection.exactlyOnce("seen", ({ event, persistenceId, sequenceNumber }) =>
    Effect.andThen(
      Tables.run(tables.insertInto("seen").values({ persistence_id: persistenceId, n: sequenceNumber })),
      event === "bad" ? Effect.fail("broken") : Effect.void
    )),
  Projection.workers(2),
  Projection.recovery(RecoveryStrategy.retryAndFail({ retries: 2, delay: "20 millis" }))
)
