/** What the test of dead letters and the processes that it kills have in common. */
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Projection from "@sluice/core/Projection"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Source from "@sluice/core/Source"
import * as Tables from "@sluice/sql/Tables"
import * as Effect from "effect/Effect"

export const Note = EntityType.make("note", { codec: EventCodec.string })

/** No unique key: a doubled event has to show. */
export const schema = [
  "CREATE TABLE seen (ordinal INTEGER PRIMARY KEY, persistence_id TEXT, n INTEGER)",
  "CREATE TABLE broken (persistence_id TEXT)"
]

export const tables = Tables.make<{ seen: { persistence_id: string; n: number }; broken: { persistence_id: string } }>()

/** Writes a row per event, and fails on every third one of entities that are broken, after it has written. */
export const Seen = Source.journal(Note).pipe(
  Projection.exactlyOnce("seen", ({ persistenceId, sequenceNumber }) =>
    Effect.gen(function*() {
      yield* Tables.run(tables.insertInto("seen").values({ persistence_id: persistenceId, n: sequenceNumber }))
      if (sequenceNumber % 3 !== 0) return
      const broken = yield* Tables.run(
        tables.selectFrom("broken").selectAll().where("persistence_id", "=", persistenceId)
      )
      if (broken.length > 0) return yield* Effect.fail("broken")
    })),
  Projection.recovery(RecoveryStrategy.deadLetter)
)
