import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import { OffsetsDeleted } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { databases } from "./databases.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const append = (id: string) => Journal.append(Note, { id, events: ["x"] })

const stopped = (name: string) =>
  Wait.until(
    "the worker to stop",
    Effect.map(ProjectionStatus.status(name), ([worker]) => worker?.state === "Stopped")
  )

describe.each(databases)("offsets that somebody deletes by hand, in $name,", ({ place }) => {
  it.live("stop the projection, by name, and nothing is handled twice", () =>
    Effect.gen(function*() {
      const there = yield* place
      const execute = (sql: string) => Effect.promise(() => there.execute(sql))
      yield* Effect.gen(function*() {
        const handled: Array<string> = []
        const notes = Source.journal(Note).pipe(
          Projection.exactlyOnce("notes", ({ persistenceId }) => Effect.sync(() => void handled.push(persistenceId)))
        )
        const assertStopped = Effect.gen(function*() {
          yield* stopped("notes")
          const error = yield* Effect.flip(ProjectionStatus.caughtUp("notes"))
          assert.include(error.message, "was deleted from the database")
          assert.include(error.message, "rewind the projection")
          assert.instanceOf(yield* Effect.flip(ProjectionStatus.lag("notes")), OffsetsDeleted)
          assert.deepStrictEqual(handled, ["note|a"])
        })
        yield* append("a")
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Layer.build(Projection.layer(notes))
          yield* ProjectionStatus.caughtUp("notes")
          yield* execute(`DELETE FROM ${there.table("sluice_offset")}`)
          // its next move finds no offset
          yield* append("a")
          yield* assertStopped
          // that it is told to go on changes nothing
          yield* ProjectionManagement.resume("notes")
          yield* assertStopped
        }))
        // nor does another start
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Layer.build(Projection.layer(notes))
          yield* assertStopped
          // a person says where to go on
          yield* Projection.rewind(notes, "beginning")
          yield* ProjectionStatus.caughtUp("notes")
          assert.deepStrictEqual(handled, ["note|a", "note|a", "note|a"])
        }))
      }).pipe(
        Effect.provide(there.layer({}), { local: true }),
        Effect.provideService(ProjectionRegistry.ProjectionRegistry, ProjectionRegistry.make()),
        Effect.provideService(References.MinimumLogLevel, "None")
      )
    }))
})

describe.each(databases)(
  "events that are later than now, as the clock of $name was set back,",
  ({ dialect, place }) => {
    it.live("are times to go on at", () =>
      Effect.gen(function*() {
        const there = yield* place
        yield* Effect.gen(function*() {
          const notes = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))
          const key = Projection.offsetKey(notes)
          yield* ProjectionManagement.ProjectionManagement.use(({ register }) => register(key))
          const { timestamp } = yield* append("a")
          const hour = 3_600_000_000
          for (const table of ["sluice_journal", ...dialect === "mysql" ? ["sluice_head"] : []]) {
            yield* Effect.promise(() =>
              there.execute(`UPDATE ${there.table(table)} SET timestamp = timestamp + ${hour}`)
            )
          }
          const since = { since: Timestamp.make(timestamp + hour) }
          yield* ProjectionManagement.rewind(key, since)
          yield* Projection.rewind(notes, since)
          const later = { since: Timestamp.make(timestamp + hour + 1) }
          for (
            const error of [
              yield* Effect.flip(ProjectionManagement.rewind(key, later)),
              yield* Effect.flip(Projection.rewind(notes, later))
            ]
          ) assert.instanceOf(error, ProjectionManagement.SinceInFuture)
        }).pipe(
          Effect.provide(there.layer({}), { local: true }),
          Effect.provideService(References.MinimumLogLevel, "None")
        )
      }).pipe(Effect.scoped))
  }
)
