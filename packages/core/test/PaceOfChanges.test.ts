import { assert, it } from "@effect/vitest"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import { ProjectionRegistry } from "@sluice/core/ProjectionRegistry"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { paced } from "../src/internal/projection/paceOfChanges.ts"

it.effect("a change waits longer each time that the last one was not taken up, so that slow workers make progress", () => {
  let isCutOff = true
  const worker = {
    status: { revision: 1 },
    until: () => isCutOff ? Effect.never : Effect.void
  }
  return Effect.gen(function*() {
    /** For how many seconds a change has waited. */
    const change = Effect.gen(function*() {
      const before = yield* Clock.currentTimeMillis
      const changing = yield* Effect.forkChild(
        Effect.andThen(paced("stream:carts", () => true, Effect.void), Clock.currentTimeMillis)
      )
      yield* TestClock.adjust("20 seconds")
      return ((yield* Fiber.join(changing)) - before) / 1000
    })
    const waits: Array<number> = []
    for (let i = 0; i < 6; i++) waits.push(yield* change)
    assert.deepStrictEqual(waits, [0, 1, 2, 4, 8, 8])
    isCutOff = false
    assert.strictEqual(yield* change, 0)
    isCutOff = true
    assert.strictEqual(yield* change, 1)
  }).pipe(
    Effect.provideService(ProjectionRegistry, { readers: () => [worker] } as any),
    Effect.provide(MemoryStorage.layer)
  )
})
