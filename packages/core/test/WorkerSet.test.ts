import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import { after, Note, start, test, write } from "./projectionKit.ts"

/** An entity's id with a slice in the range. */
const idIn = (min: number, max: number): string => {
  for (let i = 0;; i++) {
    const slice = Slice.ofPersistenceId(EntityType.persistenceId(Note, `id-${i}`))
    if (slice >= min && slice <= max) return `id-${i}`
  }
}

const starting = Effect.map(
  ProjectionStatus.status("notes"),
  (workers) => workers.flatMap(({ range, state }) => state === "Starting" ? [SliceRange.format(range)] : [])
)

describe("workers that are replaced", () => {
  test(
    "wait for one that cannot end where they have its slices, and nowhere else; the log says for whom",
    Effect.gen(function*() {
      const [hung, other] = [idIn(0, 255), idIn(256, 511)]
      const handled: Array<string> = []
      const warnings: Array<string> = []
      const logger = Logger.make(({ message }) => void warnings.push(String(message)))
      yield* Effect.gen(function*() {
        yield* start(
          Source.journal(Note).pipe(
            Projection.atLeastOnce(
              "notes",
              ({ event }) => event === "hangs" ? Effect.never : Effect.sync(() => handled.push(event))
            ),
            Projection.workers(4)
          )
        )
        yield* write(hung, "hangs")
        yield* write(other, "1")
        yield* after(1_000)
        yield* ProjectionManagement.scale("notes", 2)
        yield* after(1_000)
        yield* write(other, "2")
        yield* after(1_000)
        assert.deepStrictEqual([yield* starting, handled], [["0-511"], ["1"]])
        // the worker of all of 0-511 has never begun
        yield* ProjectionManagement.scale("notes", 4)
        yield* after(1_000)
        assert.deepStrictEqual([yield* starting, handled], [["0-255"], ["1", "2"]])
        assert.deepStrictEqual(warnings, [])
        yield* after(5_000)
      }).pipe(
        Effect.provide(Logger.layer([logger])),
        Effect.provideService(References.MinimumLogLevel, "Warn")
      )
      assert.deepStrictEqual(warnings, [
        "Still waits to start: the worker before it, of slices 0-255, has not ended what was in hand"
      ])
    })
  )
})
