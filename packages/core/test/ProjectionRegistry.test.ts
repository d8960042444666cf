import { assert, describe, it } from "@effect/vitest"
import * as Offset from "@sluice/core/Offset"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import { ProjectionAlreadyRuns } from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { aStatus } from "./projectionKit.ts"

const workerOf = (
  projection: string,
  min: number,
  max: number,
  source = "journal:note",
  sources: ReadonlyArray<string> = [source]
): ProjectionRegistry.RegisteredWorker => {
  const status = aStatus({ projection, source, range: SliceRange.make(min, max), revision: undefined })
  return {
    key: { projection, source },
    sources,
    range: status.range,
    status,
    reading: { status, moves: 0, takenUp: undefined, lastFailure: undefined },
    until: () => Effect.never,
    hasNewCommand: Effect.succeed(false),
    heads: Effect.succeed(Offset.none),
    headsIn: () => Effect.succeed(Offset.none),
    headsOf: status,
    stored: Effect.succeed({ revision: undefined, offsets: Offset.none })
  }
}

const ranges = (registry: ProjectionRegistry.ProjectionRegistry, projection: string) =>
  registry.workers(projection).map(({ range }) => SliceRange.format(range))

describe("ProjectionRegistry", () => {
  it.effect("has workers in the order of their slices, while their scopes are open", () =>
    Effect.gen(function*() {
      const registry = ProjectionRegistry.make()
      const scope = yield* Scope.make()
      yield* Scope.provide(registry.join([workerOf("notes", 512, 1023), workerOf("notes", 0, 255)]), scope)
      yield* registry.join([workerOf("notes", 256, 511)])
      yield* registry.join([workerOf("others", 0, 1023)])
      assert.deepStrictEqual(ranges(registry, "notes"), ["0-255", "256-511", "512-1023"])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(ranges(registry, "notes"), ["256-511"])
      yield* registry.join([workerOf("notes", 512, 600)])
      assert.deepStrictEqual(ranges(registry, "notes"), ["256-511", "512-600"])
      assert.deepStrictEqual(ranges(registry, "nobody"), [])
    }))

  it.effect("refuses workers of slices that another one works on, and of another source, and stays as it is", () =>
    Effect.gen(function*() {
      const registry = ProjectionRegistry.make()
      yield* registry.join([workerOf("notes", 100, 200)])
      const refused = [
        ...[[0, 100], [200, 300], [150, 160], [0, 1023], [100, 200]].map((
          [min, max]
        ) => [workerOf("notes", min!, max!)]),
        [workerOf("notes", 300, 400, "journal:other")],
        [workerOf("notes", 0, 99), workerOf("notes", 100, 101)],
        [workerOf("others", 100, 200), workerOf("others", 0, 100)]
      ]
      for (const workers of refused) {
        const exit = yield* Effect.exit(registry.join(workers))
        const defect = Exit.isFailure(exit) && Cause.hasDies(exit.cause) ? Cause.squash(exit.cause) : undefined
        assert.instanceOf(defect, ProjectionAlreadyRuns)
        assert.include(defect.message, `'${workers[0]!.key.projection}'`)
        assert.include(defect.message, "100-200")
      }
      assert.deepStrictEqual(ranges(registry, "notes"), ["100-200"])
      assert.deepStrictEqual(ranges(registry, "others"), [])
      yield* registry.join([workerOf("notes", 0, 99), workerOf("notes", 201, 1023)])
    }))

  it.effect("has workers of the same slices in different sources of one projection", () =>
    Effect.gen(function*() {
      const registry = ProjectionRegistry.make()
      const both = ["stream:b", "journal:a"]
      const join = (min: number, max: number, source: string, sources = both) =>
        registry.join([workerOf("notes", min, max, source, sources)])
      for (const source of both) for (const min of [512, 0]) yield* join(min, min + 511, source)
      // in the order of the sources
      const places = registry.workers("notes").map(({ key, range }) => `${key.source} ${SliceRange.format(range)}`)
      assert.deepStrictEqual(places, both.flatMap((source) => [`${source} 0-511`, `${source} 512-1023`]))
      assert.lengthOf(registry.workers("notes", "journal:a"), 2)
      const refused = [
        join(511, 512, "journal:a"),
        // of a projection of the same name
        join(0, 1023, "journal:c", ["journal:c"]),
        join(0, 1023, "journal:c", [...both, "journal:c"])
      ]
      for (const joining of refused) assert.isTrue(Exit.isFailure(yield* Effect.exit(joining)))
      assert.lengthOf(registry.workers("notes"), 4)
    }))
})
