import { assert, describe, it } from "@effect/vitest"
import * as Offset from "@sluice/core/Offset"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import { ProjectionAlreadyRuns } from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"

const workerOf = (
  projection: string,
  min: number,
  max: number,
  source = "journal:note"
): ProjectionRegistry.RegisteredWorker => ({
  key: { projection, source },
  range: SliceRange.make(min, max),
  status: {
    projection,
    range: SliceRange.make(min, max),
    state: "Running",
    failure: undefined,
    handled: 0,
    skipped: 0,
    restarts: 0,
    revision: undefined,
    offsets: Offset.none
  },
  until: () => Effect.never,
  hasNewCommand: Effect.succeed(false),
  heads: Effect.succeed(Offset.none),
  stored: Effect.succeed({ revision: undefined, offsets: Offset.none })
})

/** What the workers of a projection share, which says how often it was made and released. */
const makeShared = () => {
  const counts = { made: 0, released: 0 }
  const shared = Effect.acquireRelease(
    Effect.sync(() => ++counts.made),
    () => Effect.sync(() => void counts.released++)
  )
  return { counts, shared }
}

const ranges = (registry: ProjectionRegistry.ProjectionRegistry, projection: string) =>
  registry.workers(projection).map(({ range }) => SliceRange.format(range))

describe("ProjectionRegistry", () => {
  it.effect("has workers in the order of their slices, while their scopes are open", () =>
    Effect.gen(function*() {
      const registry = ProjectionRegistry.make()
      const scope = yield* Scope.make()
      yield* registry.join(workerOf("notes", 512, 1023), Effect.void).pipe(Scope.provide(scope))
      yield* registry.join(workerOf("notes", 0, 255), Effect.void)
      yield* registry.join(workerOf("notes", 256, 511), Effect.void)
      yield* registry.join(workerOf("others", 0, 1023), Effect.void)
      assert.deepStrictEqual(ranges(registry, "notes"), ["0-255", "256-511", "512-1023"])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(ranges(registry, "notes"), ["0-255", "256-511"])
      yield* registry.join(workerOf("notes", 512, 600), Effect.void)
      assert.deepStrictEqual(ranges(registry, "notes"), ["0-255", "256-511", "512-600"])
      assert.deepStrictEqual(ranges(registry, "nobody"), [])
    }))

  it.effect("refuses a worker of slices that another one works on, and of another source, and stays as it is", () =>
    Effect.gen(function*() {
      const registry = ProjectionRegistry.make()
      const { counts, shared } = makeShared()
      yield* registry.join(workerOf("notes", 100, 200), shared)
      const refused = [[0, 100], [200, 300], [150, 160], [0, 1023], [100, 200]].map(([min, max]) =>
        workerOf("notes", min!, max!)
      )
      for (const worker of [...refused, workerOf("notes", 300, 400, "journal:other")]) {
        const exit = yield* Effect.exit(Effect.scoped(registry.join(worker, shared)))
        const defect = Exit.isFailure(exit) && Cause.hasDies(exit.cause) ? Cause.squash(exit.cause) : undefined
        assert.instanceOf(defect, ProjectionAlreadyRuns)
        assert.include(defect.message, "'notes'")
        assert.include(defect.message, "100-200")
      }
      assert.deepStrictEqual(ranges(registry, "notes"), ["100-200"])
      assert.deepStrictEqual(counts, { made: 1, released: 0 })
      yield* registry.join(workerOf("notes", 0, 99), shared)
      yield* registry.join(workerOf("notes", 201, 1023), shared)
    }))

  it.effect("has the workers of a projection share something from the first to the last", () =>
    Effect.gen(function*() {
      const registry = ProjectionRegistry.make()
      const { counts, shared } = makeShared()
      const first = yield* Scope.make()
      const second = yield* Scope.make()
      assert.strictEqual(yield* Scope.provide(registry.join(workerOf("notes", 0, 1), shared), first), 1)
      assert.strictEqual(yield* Scope.provide(registry.join(workerOf("notes", 2, 3), shared), second), 1)
      assert.strictEqual(yield* registry.join(workerOf("others", 0, 1023), shared), 2)
      yield* Scope.close(first, Exit.void)
      assert.deepStrictEqual(counts, { made: 2, released: 0 })
      yield* Scope.close(second, Exit.void)
      assert.deepStrictEqual(counts, { made: 2, released: 1 })
      assert.strictEqual(yield* registry.join(workerOf("notes", 0, 1), shared), 3)
    }))

  it.effect("gives what is shared to who waits for it, also where the first one leaves meanwhile", () =>
    Effect.gen(function*() {
      const registry = ProjectionRegistry.make()
      const { counts, shared } = makeShared()
      const latch = Latch.makeUnsafe()
      const slow = Effect.andThen(latch.await, shared)
      const [first, second] = yield* Effect.forEach(
        [workerOf("notes", 0, 1), workerOf("notes", 2, 3)],
        (worker) =>
          Effect.forkChild(Effect.scoped(Effect.andThen(registry.join(worker, slow), Effect.never)), {
            startImmediately: true
          })
      )
      const leaving = yield* Effect.forkChild(Fiber.interrupt(first!), { startImmediately: true })
      yield* latch.open
      yield* Fiber.join(leaving)
      yield* Effect.yieldNow
      assert.deepStrictEqual(ranges(registry, "notes"), ["2-3"])
      assert.deepStrictEqual(counts, { made: 1, released: 0 })
      yield* Fiber.interrupt(second!)
      assert.deepStrictEqual(counts, { made: 1, released: 1 })
    }))
})
