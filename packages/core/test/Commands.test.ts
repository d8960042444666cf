import { assert, describe, it } from "@effect/vitest"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import { type Command, noCommand, ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/testing/TestClock"
import { isNew, watchCommands } from "../src/internal/projection/commands.ts"
import { knownFor } from "../src/internal/projection/SharedLooks.ts"

const command = (revision: number): Command => ({ ...noCommand, revision })

describe("a command is new", () => {
  it("if none was read before", () => {
    assert.isTrue(isNew(command(0), undefined))
  })

  it("if it came after the one that was read last, and not if it was seen before that one came", () => {
    assert.deepStrictEqual([2, 3, 4].map((revision) => isNew(command(revision), command(3))), [false, false, true])
  })
})

it.effect("a storage that takes too long to show the newest command is told of once, and waited for", () =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement
    let delay = knownFor + 100
    const { unlessNew } = yield* watchCommands("slow", true).pipe(
      Effect.provideService(ProjectionManagement, {
        ...management,
        isShared: true,
        commanded: Effect.suspend(() => Effect.delay(management.commanded, delay))
      })
    )
    const warnings: Array<unknown> = []
    const logger = Logger.make(({ message }) => void warnings.push(message))
    const waits: Array<unknown> = []
    const waiting = yield* Effect.forkChild(
      Effect.provide(unlessNew(command(0), (wait) => void waits.push(wait)), Logger.layer([logger]))
    )
    yield* TestClock.adjust(2 * knownFor)
    assert.deepStrictEqual(warnings, [])
    yield* TestClock.adjust(20 * knownFor)
    assert.strictEqual(warnings.length, 1)
    assert.include(String(warnings[0]), `taken ${delay} ms`)
    assert.isUndefined(waiting.pollUnsafe())
    delay = 10
    yield* TestClock.adjust(2 * knownFor)
    assert.isDefined(waiting.pollUnsafe())
    yield* Fiber.join(waiting)
    const [first] = waits as ReadonlyArray<{ readonly since: number; readonly tookMillis: number }>
    assert.deepStrictEqual(first, { since: 2 * 600_000, tookMillis: 600 }, "after the look that was under way")
    assert.isUndefined(waits.at(-1))
  }).pipe(Effect.provide(Layer.fresh(MemoryStorage.layer))))
