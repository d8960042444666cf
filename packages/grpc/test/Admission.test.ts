import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { admit, untilRefused } from "../src/internal/server/callerOf.ts"
import { Status } from "../src/internal/wire/status.ts"
import type { Refusal } from "../src/ReplicaInfo.ts"

describe("a replica that is given a stream", () => {
  it.effect("is refused while it reads, once it is known why, and holds nothing for having been looked at", () =>
    Effect.gen(function*() {
      let refusal: Refusal | undefined
      let asked = 0
      let held = 0
      const refuse = () =>
        Effect.map(
          Effect.acquireRelease(
            Effect.sync(() => {
              asked++
              held++
            }),
            () => Effect.sync(() => void held--)
          ),
          () => refusal
        )
      const stream = {
        id: "carts",
        refusals: new Map(),
        looks: new Map(),
        replica: { id: "eu", replicas: ["eu", "us"], refuse }
      }
      const caller = {
        headers: {},
        address: "us:1",
        certificate: undefined,
        replica: { id: "us", others: [], order: undefined, journal: "twin" }
      }
      yield* admit(stream, caller)
      const clock = yield* Clock.Clock
      const [first, ...others] = yield* Effect.forEach(
        [1, 2, 3],
        () => Effect.forkChild(Effect.flip(untilRefused(stream, caller, clock)), { startImmediately: true })
      )
      /** Until all have looked that look, and before they do so again. */
      const look = TestClock.adjust("36 seconds")
      yield* look
      assert.deepStrictEqual([asked, held], [2, 1])
      // another one of its calls goes on with it
      yield* Fiber.interrupt(first!)
      yield* look
      assert.deepStrictEqual([asked, held], [3, 1])
      refusal = { code: "OtherJournal", problem: "it runs twice" }
      yield* look
      for (const error of yield* Fiber.joinAll(others)) {
        assert(error instanceof Status)
        assert.include(error.details, "it runs twice")
      }
      assert.deepStrictEqual([asked, held, stream.looks.size], [4, 1, 0])
      assert.strictEqual(stream.refusals.get("us"), "OtherJournal")
    }).pipe(Effect.scoped))

  it.effect("is not looked at where nothing could be said against it", () =>
    Effect.gen(function*() {
      const stream = { id: "carts", refusals: new Map(), looks: new Map(), replica: { id: "eu", replicas: ["eu"] } }
      const caller = { headers: {}, address: "us:1", certificate: undefined, replica: undefined }
      const reading = yield* Effect.forkChild(untilRefused(stream, caller, yield* Clock.Clock), {
        startImmediately: true
      })
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(reading.pollUnsafe())
    }))
})
