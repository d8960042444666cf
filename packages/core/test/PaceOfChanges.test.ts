import { assert, it } from "@effect/vitest"
import { ConsumerFilter } from "@sluice/core/ConsumerFilter"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import { ProjectionRegistry } from "@sluice/core/ProjectionRegistry"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { paced } from "../src/internal/projection/paceOfChanges.ts"

/** A change that is made alone, or in the transaction that is open. */
const change = Effect.flatMap(
  ConsumerFilter,
  ({ afterCommit }) => paced("stream:carts", () => true, Effect.void, afterCommit)
)

/** For how many seconds an effect waits. */
const waited = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const before = yield* Clock.currentTimeMillis
    const waiting = yield* Effect.forkChild(Effect.andThen(effect, Clock.currentTimeMillis))
    yield* TestClock.adjust("20 seconds")
    return ((yield* Fiber.join(waiting)) - before) / 1000
  })

it.effect("a change waits longer each time that the last one was not taken up, so that slow workers make progress", () => {
  let isCutOff = true
  const worker = {
    status: { revision: 1 },
    until: () => isCutOff ? Effect.never : Effect.void
  }
  return Effect.gen(function*() {
    const waits: Array<number> = []
    for (let i = 0; i < 6; i++) waits.push(yield* waited(change))
    assert.deepStrictEqual(waits, [0, 1, 2, 4, 8, 8])
    isCutOff = false
    assert.strictEqual(yield* waited(change), 0)
    isCutOff = true
    assert.strictEqual(yield* waited(change), 1)
  }).pipe(
    Effect.provideService(ProjectionRegistry, { readers: () => [worker] } as any),
    Effect.provide(MemoryStorage.layer)
  )
})

it.effect("changes in a transaction do not wait while it holds its locks, and later ones wait from its commit", () => {
  const worker = { status: { revision: 1 }, until: () => Effect.never }
  return Effect.gen(function*() {
    const several = Effect.replicateEffect(change, 4)
    assert.strictEqual(yield* waited(Journal.transaction(several)), 0)
    assert.strictEqual(yield* waited(change), 1)
    // nothing is to be taken up of what was rolled back
    assert.strictEqual(yield* waited(Effect.flip(Journal.transaction(Effect.andThen(several, Effect.fail("no"))))), 0)
    assert.strictEqual(yield* waited(change), 2)
  }).pipe(
    Effect.provideService(ProjectionRegistry, { readers: () => [worker] } as any),
    Effect.provide(MemoryStorage.layer)
  )
})
