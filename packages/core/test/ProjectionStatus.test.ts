import { assert, it } from "@effect/vitest"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Offset from "@sluice/core/Offset"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import { ProjectionRegistry, type RegisteredWorker } from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Slice from "@sluice/core/Slice"
import * as Effect from "effect/Effect"

const at = (position: number): Offset.Offsets => new Map([[Slice.make(5), Offset.make(position, position)]])

it.effect("the lag counts what comes between the looks at the store and at the source", () =>
  Effect.gen(function*() {
    let newest = 5
    /** Two events come after whichever look is the first, and the worker handles and stores one of them at once. */
    const look = <A>(what: () => A) =>
      Effect.sync(() => [what(), newest = 7] as const).pipe(Effect.map(([found]) => found))
    const worker: Partial<RegisteredWorker> = {
      key: { projection: "notes", source: "journal:note" },
      status: { state: "Running" } as RegisteredWorker["status"],
      stored: look(() => ({ revision: undefined, offsets: at(newest === 5 ? 5 : 6) })),
      heads: look(() => at(newest))
    }
    const lag = yield* Effect.provideService(ProjectionStatus.lag("notes"), ProjectionRegistry, {
      workers: () => [worker as RegisteredWorker],
      readers: () => [],
      placed: () => [],
      untilPlaced: () => Effect.void,
      place: () => Effect.die("nobody joins"),
      join: () => Effect.die("nobody joins"),
      replace: () => Effect.die("nobody joins")
    })
    // with the source first, it would be 5 - 6: none
    assert.strictEqual(lag, 2)
  }))

it.effect("a name that nobody has is no projection without workers", () =>
  Effect.gen(function*() {
    const key = { projection: "notes", source: "journal:note" }
    const isUnknown = Effect.map(
      Effect.flip(ProjectionStatus.everywhere("notes")),
      (error) => assert.instanceOf(error, ProjectionManagement.UnknownProjection)
    )
    yield* isUnknown
    // it has just begun here, and has stored nothing yet
    const workers = yield* Effect.provideService(ProjectionStatus.everywhere(key), ProjectionRegistry, {
      workers: () => [{ key } as RegisteredWorker],
      readers: () => [],
      placed: () => [],
      untilPlaced: () => Effect.void,
      place: () => Effect.die("nobody joins"),
      join: () => Effect.die("nobody joins"),
      replace: () => Effect.die("nobody joins")
    })
    assert.deepStrictEqual(workers, [])
    yield* ProjectionManagement.ProjectionManagement.use(({ register }) => register(key))
    assert.deepStrictEqual(yield* ProjectionStatus.everywhere("notes"), [])
    const other = yield* Effect.flip(ProjectionStatus.everywhere({ ...key, source: "stream:note" }))
    assert.strictEqual((other as ProjectionManagement.UnknownProjection).source, "stream:note")
  }).pipe(Effect.provide(MemoryStorage.layer)))
