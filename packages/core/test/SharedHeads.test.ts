import { assert, it } from "@effect/vitest"
import { Journal } from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import type { Offsets } from "@sluice/core/Offset"
import type { Position } from "@sluice/core/Position"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { headsIn, SharedHeads } from "../src/internal/projection/SharedHeads.ts"
import { Note, settle, start, write } from "./projectionKit.ts"

const at = (n: number, ...slices: ReadonlyArray<number>): Offsets =>
  new Map(slices.map((slice) => [Slice.make(slice), { position: n as Position, timestamp: n as Timestamp }]))

/** A source that takes a second to say its heads, and which slices it was asked for. */
const makeSource = () => {
  const asked: Array<string> = []
  let now = 0
  const heads = (range: SliceRange.SliceRange): Effect.Effect<Offsets, string> =>
    Effect.suspend(() => {
      asked.push(SliceRange.format(range))
      const found = at(now, ...SliceRange.slices(range))
      return Effect.delay(now === 99 ? Effect.fail("away") : Effect.succeed(found), 1_000)
    })
  return { asked, heads, moveTo: (to: number) => void (now = to) }
}

it.effect("those who ask for heads while others are answered are told together, each of its slices, by what there is since", () =>
  Effect.gen(function*() {
    const { asked, heads, moveTo } = makeSource()
    const shared = new SharedHeads()
    const ask = (min: number, max: number) => Effect.forkChild(shared.ask(heads, SliceRange.make(min, max)))
    const first = yield* ask(0, 3)
    yield* TestClock.adjust(500)
    moveTo(1)
    const later = yield* Effect.all([ask(4, 5), ask(10, 11), ask(7, 7)])
    yield* TestClock.adjust(500)
    assert.deepStrictEqual(yield* Fiber.join(first), at(0, 0, 1, 2, 3))
    // one leaves, and the others are told all the same
    yield* Fiber.interrupt(later[0])
    yield* TestClock.adjust(1_000)
    assert.deepStrictEqual(yield* Fiber.join(later[1]), at(1, 10, 11))
    assert.deepStrictEqual(yield* Fiber.join(later[2]), at(1, 7))
    assert.deepStrictEqual(asked, ["0-3", "4-11"])
    moveTo(99)
    const failing = yield* ask(0, 0)
    yield* TestClock.adjust(1_000)
    assert.deepStrictEqual(yield* Fiber.await(failing), Exit.fail("away"))
    moveTo(2)
    const last = yield* ask(0, 0)
    yield* TestClock.adjust(1_000)
    assert.deepStrictEqual(yield* Fiber.join(last), at(2, 0))
  }))

it.effect("a source that never answers, or throws, keeps nobody from asking again", () =>
  Effect.gen(function*() {
    const answers = [
      () => Effect.never,
      () => {
        throw new Error("broken")
      },
      () => Effect.succeed(at(1, 0))
    ]
    const { provider } = Source.journal(Note)
    const source = Source.make({ ...provider, heads: () => answers.shift()!() })
    const ask = Effect.forkChild(Effect.exit(headsIn(source, SliceRange.make(0, 0))), { startImmediately: true })
    const first = yield* ask
    yield* TestClock.adjust("30 seconds")
    const second = yield* ask
    yield* TestClock.adjust("30 seconds")
    assert.deepStrictEqual(
      yield* Fiber.join(first),
      Exit.fail(new Source.SourceTimeout({ source: provider.key, waited: 60_000 }))
    )
    assert.deepStrictEqual(yield* Fiber.join(second), Exit.die(new Error("broken")))
    assert.deepStrictEqual(yield* Fiber.join(yield* ask), Exit.succeed(at(1, 0)))
  }))

it.effect("a projection of many workers asks its journal for the heads three times when it begins: for the first worker, for all others, and for the tail", () =>
  Effect.gen(function*() {
    const journal = yield* Journal
    const asked: Array<string> = []
    const counting = Journal.of({
      ...journal,
      heads: (type, range) =>
        Effect.suspend(() => {
          asked.push(SliceRange.format(range))
          return Effect.delay(journal.heads(type, range), 5)
        })
    })
    yield* write("a", "1")
    const projection = Source.journal(Note).pipe(
      Projection.exactlyOnce("notes", () => Effect.void),
      Projection.workers(16)
    )
    yield* Effect.gen(function*() {
      yield* start(projection)
      for (let i = 0; i < 10; i++) yield* Effect.andThen(TestClock.adjust(5), settle)
      const states = (yield* ProjectionStatus.status("notes")).map(({ state }) => state)
      assert.deepStrictEqual(states, Array.from({ length: 16 }, () => "Running" as const))
    }).pipe(Effect.provideService(Journal, counting))
    assert.deepStrictEqual(asked.toSorted(), ["0-1023", "0-63", "64-1023"])
  }).pipe(Effect.provide(Layer.merge(Layer.fresh(MemoryStorage.layer), ProjectionRegistry.layer))))
