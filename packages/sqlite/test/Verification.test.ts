import { assert, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as Verification from "@sluice/core/Verification"
import { Database } from "@sluice/sql/Database"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { sql } from "kysely"

const Note = EntityType.make("note", { codec: EventCodec.string })
const Notes = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))

const Test = Layer.merge(
  SqliteStorage.layer({ filename: ":memory:" }),
  Layer.succeed(References.MinimumLogLevel, "None")
)

layer(Test, { excludeTestServices: true })("a projection whose journal has lost events", (it) => {
  it.effect("is ahead of it in their slice", () =>
    Effect.gen(function*() {
      const { run } = yield* Database
      const kinds = Effect.map(
        Verification.verify(Notes),
        ([report]) => [report!.differences.map(({ _tag, slice }) => `${_tag} ${slice}`), report!.counts.proven]
      )
      const { slice } = yield* Journal.append(Note, { id: "a", events: ["1", "2", "3"] })
      yield* Journal.append(Note, { id: "b", events: ["1"] })
      yield* Effect.scoped(Effect.andThen(Layer.build(Projection.layer(Notes)), ProjectionStatus.caughtUp("notes")))
      assert.deepStrictEqual(yield* kinds, [[], 4])
      yield* run(sql`DELETE FROM sluice_journal WHERE slice = ${sql.lit(slice)} AND position > 1`)
      assert.deepStrictEqual(yield* kinds, [[`Ahead ${slice}`], 1])
    }))
})
