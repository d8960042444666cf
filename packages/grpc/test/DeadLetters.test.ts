import { assert, layer } from "@effect/vitest"
import type { Envelope } from "@sluice/core/Envelope"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { remote, shortly } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, carts } from "./kit/Producer.ts"
import { caughtUp, makeStorage, run } from "./kit/Recorder.ts"

type Handle = (envelope: Envelope<string>) => Effect.Effect<void, string>

const deliveries = {
  "exactly once": (handle: Handle) => Projection.exactlyOnce("aside", handle),
  "at least once": (handle: Handle) => Projection.atLeastOnce("aside", handle),
  "at least once, at the same time": (handle: Handle) => Projection.atLeastOnce("aside", handle, { parallelism: 3 })
}

layer(Producer.quiet, { excludeTestServices: true })("dead letters of another service's stream", (it) => {
  for (const [name, deliver] of Object.entries(deliveries)) {
    it.effect(`have the later events of their entities wait: ${name}`, () =>
      Effect.gen(function*() {
        const [there, here] = yield* Effect.all([makeStorage, makeStorage])
        const port = yield* Producer.serve(Layer.provide(carts, Layer.succeedContext(there)))
        const handled: Array<string> = []
        let broken = 2
        const projection = remote(port).pipe(
          deliver((envelope) =>
            envelope.sequenceNumber === broken
              ? Effect.fail("broken")
              : Effect.sync(() => void handled.push(shortly(envelope)))
          ),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* Effect.provide(append("a", ["x", "x", "x", "x"]), there)
        yield* Effect.gen(function*() {
          yield* run(projection, here)
          yield* caughtUp("aside")
          assert.deepStrictEqual(handled, ["a 1 x"])
          const counts = ProjectionManagement.deadLetterCounts("aside")
          assert.deepStrictEqual(yield* counts, { entities: 1, failed: 1, queued: 2 })
          const failedAgain = yield* Projection.handleDeadLetters(projection)
          assert.deepStrictEqual(failedAgain, { handled: 0, failed: 1, obsolete: 0, excluded: 0 })
          broken = 3
          const mended = yield* Projection.handleDeadLetters(projection)
          assert.deepStrictEqual(mended, { handled: 1, failed: 1, obsolete: 0, excluded: 0 })
          assert.deepStrictEqual(yield* counts, { entities: 1, failed: 1, queued: 1 })
          broken = 0
          yield* Projection.handleDeadLetters(projection)
          yield* Effect.provide(append("a", ["x"]), there)
          yield* caughtUp("aside")
          assert.deepStrictEqual(handled, ["a 1 x", "a 2 x", "a 3 x", "a 4 x", "a 5 x"])
        }).pipe(Effect.provide(here))
      }))
  }
})
