import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import { OffsetStore } from "@sluice/core/OffsetStore"
import { Placement } from "@sluice/core/Placement"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { AssignedWorkers } from "../src/internal/AssignedWorkers.ts"

const start = Effect.forkChild({ startImmediately: true })
const isDone = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() !== undefined

/** The workers in the set that comes next. */
const reader = (workers: AssignedWorkers) =>
  Effect.map(Stream.toPull(workers.changes), (pull) => Effect.map(pull, ([set]) => [...set].toSorted((a, b) => a - b)))

const adjust = TestClock.adjust("10 millis")

/** Lets time go on in small steps until the condition holds. */
const adjustUntil = (condition: Effect.Effect<boolean>) => Effect.repeat(adjust, { until: () => condition, times: 50 })

const Note = EntityType.make("note", { codec: EventCodec.string })

describe("assigned workers", () => {
  it.effect("are not told before they are known", () =>
    Effect.gen(function*() {
      const workers = new AssignedWorkers()
      const next = yield* start(yield* reader(workers))
      yield* TestClock.adjust("1 hour")
      assert.isFalse(isDone(next))
      workers.known()
      yield* adjust
      assert.deepStrictEqual(yield* Fiber.join(next), [])
    }))

  it.effect("are told together, and only when they have changed", () =>
    Effect.gen(function*() {
      const workers = new AssignedWorkers()
      const pull = yield* reader(workers)
      const first = yield* start(pull)
      workers.add(1)
      workers.add(0)
      yield* adjust
      assert.deepStrictEqual(yield* Fiber.join(first), [0, 1])
      const second = yield* start(pull)
      yield* TestClock.adjust("1 hour")
      assert.isFalse(isDone(second))
      workers.remove(0)
      workers.add(2)
      yield* adjust
      assert.deepStrictEqual(yield* Fiber.join(second), [1, 2])
    }))

  it.effect("are told to who asks later", () =>
    Effect.gen(function*() {
      const workers = new AssignedWorkers()
      workers.add(3)
      for (let i = 0; i < 2; i++) {
        const next = yield* start(yield* reader(workers))
        yield* adjust
        assert.deepStrictEqual(yield* Fiber.join(next), [3])
      }
    }))

  it.effect("have ended when each reader that ran them has asked for more, or has gone", () =>
    Effect.gen(function*() {
      const workers = new AssignedWorkers()
      workers.add(0)
      const one = yield* reader(workers)
      const scope = yield* Scope.make()
      const two = yield* Scope.provide(reader(workers), scope)
      for (const pull of [one, two]) {
        const next = yield* start(pull)
        yield* adjust
        yield* Fiber.join(next)
      }
      workers.remove(0)
      const ended = yield* start(workers.ended(0, "1 minute"))
      const empty = yield* start(one)
      yield* adjust
      assert.deepStrictEqual(yield* Fiber.join(empty), [])
      // it has been told, and ends them now
      yield* TestClock.adjust("1 second")
      assert.isFalse(isDone(ended))
      yield* start(one)
      yield* TestClock.adjust("1 second")
      assert.isFalse(isDone(ended))
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(ended)
    }))

  it.effect("have ended when a projection that ran them has stored the offset of what was in hand", () =>
    Effect.gen(function*() {
      const workers = new AssignedWorkers()
      const goOn = Latch.makeUnsafe()
      let isInHand = false
      const projection = Source.journal(Note).pipe(
        Projection.atLeastOnce(
          "notes",
          () => Effect.andThen(Effect.sync(() => void (isInHand = true)), goOn.await),
          { saveWithin: "1 hour" }
        )
      )
      workers.add(0)
      yield* Effect.forkScoped(Effect.provideService(
        Layer.build(Projection.layer(projection)),
        Placement,
        { assigned: () => workers.changes }
      ))
      const running = ProjectionStatus.status("notes")
      yield* adjustUntil(Effect.map(running, (all) => all.some(({ state }) => state === "Running")))
      yield* Journal.append(Note, { id: "a", events: ["one"] })
      yield* adjustUntil(Effect.sync(() => isInHand))
      workers.remove(0)
      const ended = yield* start(workers.ended(0, "1 second"))
      yield* adjustUntil(Effect.map(running, (all) => all.length === 0))
      assert.isFalse(isDone(ended))
      yield* goOn.open
      yield* adjustUntil(Effect.sync(() => isDone(ended)))
      const { offsets } = yield* OffsetStore.use((store) =>
        store.load(Projection.offsetKey(projection), SliceRange.full)
      )
      assert.deepStrictEqual([...offsets.values()].map(({ position }) => position), [1])
    }).pipe(Effect.provide(Layer.fresh(MemoryStorage.layer))))

  it.effect("are waited for no longer than asked, and not at all once nobody is to be waited for", () =>
    Effect.gen(function*() {
      const workers = new AssignedWorkers()
      workers.add(0)
      const next = yield* start(yield* reader(workers))
      yield* adjust
      yield* Fiber.join(next)
      workers.remove(0)
      const ended = yield* start(workers.ended(0, "1 second"))
      yield* TestClock.adjust("999 millis")
      assert.isFalse(isDone(ended))
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(ended)
      workers.close()
      yield* workers.ended(0, "1 hour")
    }))
})
