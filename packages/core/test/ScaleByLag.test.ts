import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import { HeartbeatStore } from "@sluice/core/HeartbeatStore"
import * as Placement from "@sluice/core/Placement"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { after, Note, start, test, write } from "./projectionKit.ts"

const projections = 20
const names = Array.from({ length: projections }, (_, i) => `p-${i}`)

/** Of an entity that the second of two workers handles. */
const idElsewhere = Array.from({ length: 100 }, (_, i) => `n-${i}`).find((id) =>
  SliceRange.contains(SliceRange.split(2)[1]!, Slice.ofPersistenceId(EntityType.persistenceId(Note, id)))
)!

const only = (worker: number): Placement.Placement => ({
  assigned: () => Stream.concat(Stream.succeed(new Set([worker])), Stream.never)
})

const scaled = (name: string, min: number, handle: Effect.Effect<void> = Effect.void) =>
  Source.journal(Note).pipe(Projection.atLeastOnce(name, () => handle), Projection.workers({ min, max: 4 }))

/** Runs so many projections, and notes of which the storage is asked how their workers are doing. */
const counted = Effect.fnUntraced(function*(make: (name: string) => ReturnType<typeof scaled>) {
  const store = yield* HeartbeatStore
  const asked: Array<string> = []
  const counting = {
    ...store,
    reports: (names: ReadonlyArray<string>) =>
      Effect.andThen(Effect.sync(() => asked.push(...names)), store.reports(names))
  }
  for (const name of names) yield* Effect.provideService(start(make(name)), HeartbeatStore, counting)
  return asked
})

/** How often the storage is asked in each half second of so many. */
const perStep = Effect.fnUntraced(function*(asked: Array<string>, steps: number) {
  const counts: Array<number> = []
  for (let i = 0; i < steps; i++) {
    const before = asked.length
    yield* after(500)
    counts.push(asked.length - before)
  }
  return counts
})

const total = (counts: ReadonlyArray<number>) => counts.reduce((sum, n) => sum + n, 0)

describe("projections whose number of workers follows the lag", () => {
  test(
    "ask the storage for nothing while they are idle",
    Effect.gen(function*() {
      yield* write("a", "one")
      const asked = yield* counted((name) => scaled(name, 1))
      assert.strictEqual(total(yield* perStep(asked, 120)), 0)
    })
  )

  test(
    "ask once a minute while they are idle, where others of their workers are elsewhere, and soon again once those are behind",
    Effect.gen(function*() {
      yield* Effect.forEach(names, (name) => start(scaled(name, 2, Effect.never)), { discard: true }).pipe(
        Effect.provideService(ProjectionRegistry.ProjectionRegistry, ProjectionRegistry.make()),
        Effect.provideService(Placement.Placement, only(1))
      )
      const asked = yield* Effect.provideService(counted((name) => scaled(name, 2)), Placement.Placement, only(0))
      yield* perStep(asked, 60)
      const idle = total(yield* perStep(asked, 360))
      assert.isAtLeast(idle, projections * 2)
      assert.isAtMost(idle, projections * 3)
      yield* write(idElsewhere, "one", "two")
      yield* perStep(asked, 140)
      assert.isAtLeast(total(yield* perStep(asked, 60)), projections * 3)
    })
  )

  test(
    "ask at different moments while they are behind, though they have begun at once",
    Effect.gen(function*() {
      for (const id of ["a", "b", "c"]) yield* write(id, "one", "two")
      const asked = yield* counted((name) => scaled(name, 1, Effect.never))
      yield* perStep(asked, 10)
      const counts = yield* perStep(asked, 60)
      assert.isAtLeast(total(counts), projections * 3)
      assert.isAtMost(total(counts), projections * 12)
      assert.isAtMost(Math.max(...counts), projections / 2)
    })
  )
})
