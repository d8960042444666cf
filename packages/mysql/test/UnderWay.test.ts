import { assert, it } from "@effect/vitest"
import type { AppendRequest } from "@sluice/core/Journal"
import { make as persistenceIdOf } from "@sluice/core/PersistenceId"
import * as Slice from "@sluice/core/Slice"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import { UnderWay } from "../src/internal/UnderWay.ts"

/** Yields at a step alone. */
class YieldingAt extends Scheduler.MixedScheduler {
  #left: number
  constructor(step: number) {
    super()
    this.#left = step
  }
  override shouldYield(): boolean {
    return this.#left-- === 0
  }
}

it.live("an append that is interrupted, wherever that is, is not under way", () =>
  Effect.gen(function*() {
    const persistenceId = persistenceIdOf("note", "a")
    const slice = Slice.ofPersistenceId(persistenceId)
    const seen = new Set<boolean>()
    for (let step = 0; step < 30; step++) {
      const underWay = new UnderWay()
      const appending = underWay.during([{ persistenceId } as AppendRequest], Effect.never)
      const fiber = yield* Effect.forkChild(
        Effect.provideService(appending, Scheduler.Scheduler, new YieldingAt(step)),
        { startImmediately: true }
      )
      seen.add(underWay.has(slice))
      yield* Fiber.interrupt(fiber)
      assert.isFalse(underWay.has(slice), `yielding at step ${step}`)
    }
    assert.sameMembers([...seen], [true, false])
  }))
