import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionHealth from "@sluice/core/ProjectionHealth"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as Source from "@sluice/core/Source"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { after, Note, start, test, unavailable, write } from "./projectionKit.ts"

const kinds = Effect.map(ProjectionHealth.of("notes"), ({ problems }) => problems.map(({ _tag }) => _tag))

describe("the health of a projection that runs", () => {
  test(
    "is not good while its handler does not go on, and good again once it does",
    Effect.gen(function*() {
      const isOpen = yield* Deferred.make<void>()
      const handler = () => Deferred.await(isOpen)
      yield* start(Source.journal(Note).pipe(Projection.atLeastOnce("notes", handler)))
      yield* after(120_000)
      assert.deepStrictEqual(yield* kinds, [], "it has nothing to do")
      yield* write("a", "one")
      yield* after(30_000)
      assert.deepStrictEqual(yield* kinds, [])
      yield* after(60_000)
      const [problem] = (yield* ProjectionHealth.of("notes")).problems
      assert.strictEqual(problem!._tag, "StandsStill")
      assert.include(problem!.message, "has stood still in slice")
      yield* Deferred.succeed(isOpen, undefined)
      yield* after(10_000)
      assert.deepStrictEqual(yield* kinds, [])
    })
  )

  test(
    "is not good while a worker fails again and again, and good while it is paused",
    Effect.gen(function*() {
      const journal = Source.journal(Note)
      const broken = Source.make({ ...journal.provider, open: () => Effect.fail(unavailable) })
      yield* start(broken.pipe(Projection.atLeastOnce("notes", () => Effect.void)))
      yield* after(30_000)
      assert.deepStrictEqual(yield* kinds, [])
      for (let i = 0; i < 10; i++) yield* after(6_000)
      const [problem] = (yield* ProjectionHealth.of("notes")).problems
      assert.strictEqual(problem!._tag, "Idle")
      assert.include(problem!.message, "It has failed last with StorageError")
      yield* ProjectionManagement.pause("notes")
      yield* after(60_000)
      assert.deepStrictEqual(yield* kinds, [])
    })
  )

  test(
    "is good of one that keeps up among many sources, which are asked in turn",
    Effect.gen(function*() {
      const idle = Array.from({ length: 200 }, (_, i) => EntityType.make(`idle-${i}`, { codec: EventCodec.string }))
      for (const [i, type] of idle.entries()) {
        yield* start(Source.journal(type).pipe(Projection.atLeastOnce(`idle ${i}`, () => Effect.void)))
      }
      yield* start(Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.sleep(1_800))))
      yield* after(2_500)
      for (let i = 0; i < 24; i++) {
        yield* write("a", `${i}`)
        // it is behind whenever its process says how it is
        yield* after(2_000)
        const { problems } = yield* ProjectionHealth.of("notes", { patience: "10 seconds" })
        assert.deepStrictEqual(problems, [], `after ${i + 1} events`)
      }
    })
  )
})
