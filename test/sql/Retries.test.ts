import { assert, it } from "@effect/vitest"
import { StorageError } from "@sluice/core/StorageError"
import { retryWhileBusy } from "@sluice/sql/Database"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as JumpingClock from "../kit/JumpingClock.ts"

const busy = new StorageError({ operation: "test", reason: "Busy", cause: new Error("locked") })

for (const [what, jump] of [["back", -3_600_000], ["ahead", 3_600_000]] as const) {
  it.effect(`a lock is waited for as long as is said, also when the clock is set ${what}`, () =>
    Effect.gen(function*() {
      const clock = yield* JumpingClock.make
      const waiting = yield* Effect.fail(busy).pipe(
        retryWhileBusy(1000),
        Effect.flip,
        clock.provide,
        Effect.forkChild
      )
      yield* TestClock.adjust(500)
      clock.jump(jump)
      yield* TestClock.adjust(450)
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust(100)
      assert.strictEqual(yield* Fiber.join(waiting), busy)
    }))
}
