import { assert, describe } from "@effect/vitest"
import type { Envelope } from "@sluice/core/Envelope"
import * as Handler from "@sluice/core/Handler"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import { after, Note, settle, start, statusOf, storedPositions, test, write } from "./projectionKit.ts"

/** A projection whose handler keeps what it has seen, and is released so. */
const released = (
  release: Effect.Effect<void>,
  seen: Array<string>,
  isBroken = (event: string): boolean => event === "poison"
) =>
  Source.journal(Note).pipe(
    Projection.atLeastOnce(
      "notes",
      Handler.scoped(() =>
        Effect.as(
          Effect.addFinalizer(() => release),
          ({ event }: Envelope<string>) =>
            Effect.andThen(
              Effect.sync(() => void seen.push(event)),
              isBroken(event) ? Effect.fail("broken") : Effect.void
            )
        )
      )
    ),
    Projection.recovery(RecoveryStrategy.fail)
  )

const dies = Effect.die(new Error("closed already"))

describe("a handler whose release fails", () => {
  test(
    "does not keep its worker from stopping at an event",
    Effect.gen(function*() {
      const seen: Array<string> = []
      yield* write("a", "1", "poison")
      yield* start(released(dies, seen))
      yield* after(10_000)
      const { failure, restarts, state } = yield* statusOf("notes")
      assert.deepStrictEqual([state, restarts, failure?.event?.sequenceNumber], ["Stopped", 0, 2])
      assert.deepStrictEqual(seen, ["1", "poison"])
    })
  )
  test(
    "does not make a failure of a command",
    Effect.gen(function*() {
      const seen: Array<string> = []
      yield* write("a", "1")
      yield* start(released(dies, seen))
      yield* ProjectionManagement.pause("notes")
      yield* after(1_000)
      assert.deepInclude(yield* statusOf("notes"), { state: "Paused", failure: undefined, restarts: 0 })
      yield* ProjectionManagement.resume("notes")
      yield* ProjectionManagement.rewind("notes", "beginning")
      yield* after(1_000)
      assert.deepInclude(yield* statusOf("notes"), { state: "Running", restarts: 0 })
      assert.deepStrictEqual(seen, ["1", "1"])
    })
  )
  test(
    "leaves the letters handled that it was given",
    Effect.gen(function*() {
      const seen: Array<string> = []
      let isBroken = true
      yield* write("a", "1")
      const projection = released(dies, seen, () => isBroken).pipe(Projection.recovery(RecoveryStrategy.deadLetter))
      yield* start(projection)
      isBroken = false
      assert.deepInclude(yield* Projection.handleDeadLetters(projection), { handled: 1 })
      assert.deepStrictEqual(seen, ["1", "1"])
    })
  )
})

describe("a handler whose release does not end", () => {
  test(
    "is not waited for by a command for ever, and the log says so",
    Effect.gen(function*() {
      const warnings: Array<string> = []
      const logger = Logger.make(({ fiber, message }) => {
        const { projection } = fiber.getRef(References.CurrentLogAnnotations)
        warnings.push(`${String(projection)}: ${String(message)}`)
      })
      yield* Effect.gen(function*() {
        yield* write("a", "1")
        yield* start(released(Effect.never, []))
        yield* ProjectionManagement.pause("notes")
        yield* after(10_000)
        assert.strictEqual((yield* statusOf("notes")).state, "Paused")
      }).pipe(
        Effect.provide(Logger.layer([logger])),
        Effect.provideService(References.MinimumLogLevel, "Warn")
      )
      assert.lengthOf(warnings, 1)
      assert.match(warnings[0]!, /^notes: .* was not released within/)
    })
  )
  test(
    "is not waited for at the end for ever, and what was handled is stored",
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      yield* write("a", "1")
      yield* Layer.build(Projection.layer(released(Effect.never, []))).pipe(Scope.provide(scope))
      yield* settle
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* after(10_000)
      assert.isDefined(closing.pollUnsafe())
      yield* Fiber.join(closing)
      assert.deepStrictEqual(yield* storedPositions("notes"), [1])
    })
  )
})
