import { assert, describe } from "@effect/vitest"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import { ProjectionRegistry } from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as ProjectionWorker from "@sluice/core/ProjectionWorker"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import type { WorkerStatus } from "@sluice/core/WorkerStatus"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import { after, Note, settle, start, statusOf, test, unavailable, write } from "./projectionKit.ts"

const lower = SliceRange.make(0, 511)
const upper = SliceRange.make(512, 1023)

/** Ids of entities whose slices are in the range. */
const idsIn = (range: SliceRange.SliceRange, count: number): ReadonlyArray<string> => {
  const ids: Array<string> = []
  for (let i = 0; ids.length < count; i++) {
    if (SliceRange.contains(range, Slice.ofPersistenceId(`note|${i}`))) ids.push(`${i}`)
  }
  return ids
}

const recorded = () => {
  const seen: Array<string> = []
  const projection = Source.journal(Note).pipe(
    Projection.exactlyOnce("notes", ({ event }) => Effect.sync(() => void seen.push(event)))
  )
  return { seen, projection }
}

/** A projection whose handler waits at events that say so. */
const makeWaiting = () => {
  const goOn = Latch.makeUnsafe()
  const projection = Source.journal(Note).pipe(
    Projection.atLeastOnce("notes", ({ event }) => event === "waits" ? goOn.await : Effect.void, { saveAfter: 1 })
  )
  return { goOn, projection }
}

const rangesOf = (projection: string) =>
  Effect.map(ProjectionStatus.status(projection), (workers) => workers.map(({ range }) => SliceRange.format(range)))

/** Has projections wait in vain to be known. */
const withoutRegistration = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(
    ProjectionManagement.ProjectionManagement,
    (management) =>
      Effect.provideService(effect, ProjectionManagement.ProjectionManagement, {
        ...management,
        register: () => Effect.never
      })
  )

describe("a worker of a projection", () => {
  test(
    "does not suffer from whoever waits for its status and fails, and neither do others who wait",
    Effect.gen(function*() {
      const { projection, seen } = recorded()
      yield* start(projection)
      const { workers } = yield* ProjectionRegistry
      const [worker] = workers("notes")
      const bug = new Error("a bug")
      const wait = (predicate: (status: WorkerStatus) => boolean) =>
        Effect.forkScoped(Effect.exit(worker!.until(predicate)), { startImmediately: true })
      const waits = [
        yield* wait(() => {
          throw bug
        }),
        yield* wait(({ handled }) => {
          if (handled > 0) throw bug
          return false
        }),
        yield* wait(({ handled }) => handled > 0)
      ]
      yield* write("a", "1")
      yield* settle
      const [atOnce, later, other] = yield* Effect.forEach(waits, Fiber.join)
      assert.deepStrictEqual([atOnce, later], [Exit.die(bug), Exit.die(bug)])
      assert.isTrue(Exit.isSuccess(other!))
      yield* write("a", "2")
      yield* settle
      assert.deepStrictEqual(seen, ["1", "2"])
      const { restarts, state } = yield* statusOf("notes")
      assert.deepStrictEqual([state, restarts], ["Running", 0])
    })
  )

  test(
    "handles the events of its slices, and others theirs whenever they come",
    Effect.gen(function*() {
      const { projection, seen } = recorded()
      const [low] = idsIn(lower, 1)
      const [high] = idsIn(upper, 1)
      yield* write(low!, "low")
      yield* write(high!, "high")
      yield* ProjectionWorker.start(ProjectionWorker.make(projection, lower))
      yield* ProjectionStatus.caughtUp("notes")
      assert.deepStrictEqual(seen, ["low"])
      assert.strictEqual(yield* ProjectionStatus.lag("notes"), 0)
      const scope = yield* Scope.make()
      yield* Scope.provide(ProjectionWorker.start(ProjectionWorker.make(projection, upper)), scope)
      yield* ProjectionStatus.caughtUp("notes")
      assert.deepStrictEqual(seen, ["low", "high"])
      yield* Scope.close(scope, Exit.void)
      yield* write(low!, "low again")
      yield* write(high!, "high again")
      yield* ProjectionStatus.caughtUp("notes")
      assert.deepStrictEqual(seen, ["low", "high", "low again"])
      assert.deepStrictEqual((yield* ProjectionStatus.status("notes")).map(({ range }) => range), [lower])
    })
  )

  test(
    "is refused where another one works on its slices, with all that start with it",
    Effect.gen(function*() {
      const { projection, seen } = recorded()
      const [high] = idsIn(upper, 1)
      yield* ProjectionWorker.start(ProjectionWorker.make(projection, lower))
      yield* write(high!, "high")
      const both = [upper, SliceRange.make(100, 200)].map((range) => ProjectionWorker.make(projection, range))
      for (const second of [ProjectionWorker.start(...both), ProjectionWorker.run(...both)]) {
        const exit = yield* Effect.exit(second)
        const defect = Exit.isFailure(exit) && Cause.hasDies(exit.cause) ? Cause.squash(exit.cause) : undefined
        assert.instanceOf(defect, ProjectionStatus.ProjectionAlreadyRuns)
        assert.deepStrictEqual(yield* rangesOf("notes"), ["0-511"])
      }
      yield* settle
      assert.deepStrictEqual(seen, [])
      assert.strictEqual((yield* statusOf("notes")).state, "Running")
    })
  )

  test(
    "is not there any more where its start is given up",
    Effect.gen(function*() {
      const { projection } = recorded()
      const starting = yield* Effect.forkChild(
        withoutRegistration(ProjectionWorker.start(ProjectionWorker.make(projection, lower)))
      )
      yield* settle
      assert.deepStrictEqual(yield* rangesOf("notes"), ["0-511"])
      yield* Fiber.interrupt(starting)
      assert.deepStrictEqual(yield* rangesOf("notes"), [])
      yield* ProjectionWorker.start(ProjectionWorker.make(projection, lower))
      yield* ProjectionStatus.caughtUp("notes")
    })
  )

  test(
    "counts in the lag with all that start with it from the first moment on",
    Effect.gen(function*() {
      const { projection } = recorded()
      for (const id of [...idsIn(lower, 1), ...idsIn(upper, 1)]) yield* write(id, id)
      const both = [lower, upper].map((range) => ProjectionWorker.make(projection, range))
      yield* Effect.forkChild(withoutRegistration(ProjectionWorker.start(...both)))
      yield* settle
      assert.strictEqual(yield* ProjectionStatus.lag("notes"), 2)
    })
  )

  test(
    "heeds commands though another one of its projection has left with its storage",
    Effect.gen(function*() {
      const { projection } = recorded()
      const management = yield* ProjectionManagement.ProjectionManagement
      let isClosed = false
      const closing = ProjectionManagement.ProjectionManagement.of({
        ...management,
        command: (projection) =>
          Effect.suspend(() => isClosed ? Effect.fail(unavailable) : management.command(projection)),
        changes: () => Effect.succeed(Effect.never)
      })
      const scope = yield* Scope.make()
      yield* ProjectionWorker.start(ProjectionWorker.make(projection, lower)).pipe(
        Effect.provideService(ProjectionManagement.ProjectionManagement, closing),
        Scope.provide(scope)
      )
      yield* ProjectionWorker.start(ProjectionWorker.make(projection, upper))
      yield* ProjectionStatus.caughtUp("notes")
      yield* Scope.close(scope, Exit.void)
      isClosed = true
      yield* ProjectionManagement.pause("notes")
      yield* after(2000)
      assert.strictEqual((yield* statusOf("notes")).state, "Paused")
    })
  )

  test(
    "ends soon though its store does not answer, and so do all of a service together",
    Effect.gen(function*() {
      const projection = Source.journal(Note).pipe(
        Projection.atLeastOnce("notes", () => Effect.void, { saveAfter: 10 })
      )
      const store = yield* OffsetStore
      let isSilent = false
      const silent = OffsetStore.of({
        ...store,
        transact: (...args) => isSilent ? Effect.never : store.transact(...args)
      })
      const [low] = idsIn(lower, 1)
      const [high] = idsIn(upper, 1)
      const scopes = yield* Effect.forEach([lower, upper], (range) =>
        Effect.gen(function*() {
          const scope = yield* Scope.make()
          yield* ProjectionWorker.start(ProjectionWorker.make(projection, range)).pipe(
            Effect.provideService(OffsetStore, silent),
            Scope.provide(scope)
          )
          return scope
        }))
      yield* write(low!, "low")
      yield* write(high!, "high")
      yield* settle
      isSilent = true
      const closing = yield* Effect.forkChild(Effect.forEach(scopes, (scope) => Scope.close(scope, Exit.void)))
      yield* settle
      assert.isUndefined(closing.pollUnsafe())
      yield* after(3000)
      assert.isDefined(closing.pollUnsafe())
    })
  )

  test(
    "is paused and resumed with all others of its projection",
    Effect.gen(function*() {
      const { projection, seen } = recorded()
      yield* ProjectionWorker.start(ProjectionWorker.make(projection, lower))
      yield* ProjectionWorker.start(ProjectionWorker.make(projection, upper))
      yield* ProjectionStatus.caughtUp("notes")
      yield* ProjectionManagement.pause("notes")
      yield* settle
      const states = Effect.map(ProjectionStatus.status("notes"), (workers) => workers.map(({ state }) => state))
      assert.deepStrictEqual(yield* states, ["Paused", "Paused"])
      for (const id of [...idsIn(lower, 1), ...idsIn(upper, 1)]) yield* write(id, id)
      yield* settle
      assert.deepStrictEqual(seen, [])
      yield* ProjectionManagement.resume("notes")
      yield* ProjectionStatus.caughtUp("notes")
      assert.strictEqual(seen.length, 2)
      assert.deepStrictEqual(yield* states, ["Running", "Running"])
    })
  )

  test(
    "that runs as an effect fails as it stops",
    Effect.gen(function*() {
      const [low] = idsIn(lower, 1)
      yield* write(low!, "low")
      const failing = Source.journal(Note).pipe(
        Projection.exactlyOnce("notes", () => Effect.fail("no" as const)),
        Projection.recovery(RecoveryStrategy.fail)
      )
      assert.strictEqual(yield* Effect.flip(ProjectionWorker.run(ProjectionWorker.make(failing, lower))), "no")
    })
  )
})

describe("ProjectionStatus.caughtUp", () => {
  test(
    "waits for a worker that comes meanwhile as well",
    Effect.gen(function*() {
      const [low] = idsIn(lower, 1)
      const [high] = idsIn(upper, 1)
      const first = makeWaiting()
      const second = makeWaiting()
      yield* write(low!, "waits")
      yield* ProjectionWorker.start(ProjectionWorker.make(first.projection, lower))
      const waiting = yield* Effect.forkChild(ProjectionStatus.caughtUp("notes"))
      yield* settle
      yield* write(high!, "waits")
      yield* ProjectionWorker.start(ProjectionWorker.make(second.projection, upper))
      yield* settle
      yield* first.goOn.open
      yield* settle
      assert.isUndefined(waiting.pollUnsafe())
      yield* second.goOn.open
      yield* Fiber.join(waiting)
      assert.strictEqual(yield* ProjectionStatus.lag("notes"), 0)
    })
  )

  test(
    "fails when a worker ends whose slices nobody has then, though others run",
    Effect.gen(function*() {
      const { projection } = makeWaiting()
      const [low] = idsIn(lower, 1)
      yield* write(low!, "waits")
      const scope = yield* Scope.make()
      yield* Scope.provide(ProjectionWorker.start(ProjectionWorker.make(projection, lower)), scope)
      yield* ProjectionWorker.start(ProjectionWorker.make(projection, upper))
      const waiting = yield* Effect.forkChild(Effect.flip(ProjectionStatus.caughtUp("notes")))
      yield* settle
      yield* Scope.close(scope, Exit.void)
      assert.instanceOf(yield* Fiber.join(waiting), ProjectionStatus.ProjectionNotRunning)
      yield* ProjectionStatus.caughtUp("notes")
    })
  )
})
