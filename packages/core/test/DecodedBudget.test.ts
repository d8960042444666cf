import { assert, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"

const workers = 4
const each = 30

layer(MemoryStorage.layer, { excludeTestServices: true })("the workers of a process", (it) => {
  it.effect("decode few large events ahead of handlers that are busy, and all of them in the end", () =>
    Effect.gen(function*() {
      let decoded = 0
      const codec: EventCodec.EventCodec<string> = {
        ...EventCodec.string,
        decodeUnsafe: (payload) => {
          decoded++
          return EventCodec.string.decodeUnsafe(payload)
        }
      }
      const Doc = EntityType.make("doc", { codec })
      const megabyte = "x".repeat(1024 * 1024)
      const ids = SliceRange.split(workers).map((range) => {
        for (let i = 0;; i++) {
          if (SliceRange.contains(range, Slice.ofPersistenceId(EntityType.persistenceId(Doc, `${i}`)))) return `${i}`
        }
      })
      for (const id of ids) for (let i = 0; i < each; i++) yield* Journal.append(Doc, { id, events: [megabyte] })
      const gate = yield* Latch.make()
      let busy = 0
      const projection = Source.journal(Doc).pipe(
        Projection.atLeastOnce("docs", () => {
          busy++
          return gate.await
        }),
        Projection.workers(workers)
      )
      yield* Layer.build(Projection.layer(projection))
      yield* Wait.until("all workers to be busy", () => busy === workers)
      let last = -1
      // until nothing more is decoded
      yield* Wait.until(
        "calm",
        Effect.andThen(
          Effect.sleep("100 millis"),
          Effect.sync(() => {
            const isCalm = decoded === last
            last = decoded
            return isCalm
          })
        )
      )
      // of each worker one page
      assert.isAtMost(decoded, workers * 5 + 8)
      yield* gate.open
      yield* ProjectionStatus.caughtUp("docs")
      assert.strictEqual(decoded, workers * each)
    }))
})
