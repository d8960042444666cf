import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const Note = EntityType.make("note", { codec: EventCodec.string })

it.effect("hands every event to the handler", () =>
  Effect.gen(function*() {
    const seen: Array<string> = []
    for (let i = 0; i < 10; i++) yield* Journal.append(Note, { id: `n-${i}`, events: ["a", "b", "c"] })
    const projection = Source.journal(Note).pipe(
      Source.filter(({ event }) => event !== "b"),
      Projection.exactlyOnce("notes", ({ event, persistenceId }) => Effect.sync(() => seen.push(`${persistenceId} ${event}`))),
      Projection.workers(4)
    )
    yield* Effect.scoped(Effect.gen(function*() {
      yield* Layer.build(Projection.layer(projection))
      while (seen.length < 20) yield* Effect.yieldNow
      yield* Effect.yieldNow
      assert.deepStrictEqual((yield* ProjectionStatus.status("notes")).map((_) => _.state), ["Running", "Running", "Running", "Running"])
      assert.strictEqual(yield* ProjectionStatus.lag("notes"), 0)
    }))
    assert.strictEqual(new Set(seen).size, 20)
  }).pipe(Effect.provide(MemoryStorage.layer)))
