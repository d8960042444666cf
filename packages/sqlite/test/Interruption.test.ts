import { assert, it } from "@effect/vitest"
import * as Database from "@sluice/sql/Database"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import { sql } from "kysely"

/** Runs the effect, and interrupts it before one of its steps, where it might have given way to other fibers. Says whether it has come to that step. */
const interruptedAt = <E, R>(effect: Effect.Effect<unknown, E, R>, step: number) =>
  Effect.gen(function*() {
    const scheduler = yield* Scheduler.Scheduler
    let first: Fiber.Fiber<unknown, unknown> | undefined
    let taken = 0
    const fiber = yield* Effect.forkChild(Effect.provideService(effect, Scheduler.Scheduler, {
      executionMode: scheduler.executionMode,
      makeDispatcher: () => scheduler.makeDispatcher(),
      shouldYield: (fiber) => {
        first ??= fiber
        if (++taken === step) first.interruptUnsafe()
        return scheduler.shouldYield(fiber)
      }
    }))
    yield* Fiber.await(fiber)
    return taken >= step
  })

it.live.each(["a statement", "a transaction"] as const)(
  "%s that is interrupted gives the only connection back, wherever that is",
  (what) =>
    Effect.gen(function*() {
      const { run, withTransaction } = yield* Database.Database
      const one = run(sql`SELECT 1`)
      const effect = what === "a statement" ? one : withTransaction(one)
      let step = 1
      while (yield* interruptedAt(effect, step)) {
        yield* Effect.timeoutOrElse(one, {
          duration: "10 seconds",
          orElse: () => Effect.die(new Error(`the connection is not given back after step ${step}`))
        })
        step++
      }
      assert.isAbove(step, 10)
    }).pipe(Effect.provide(SqliteStorage.layer({ filename: ":memory:" })))
)
