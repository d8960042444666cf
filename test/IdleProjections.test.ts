import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as HeartbeatStore from "@sluice/core/HeartbeatStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Path from "node:path"
import { temporaryFolder } from "./kit/Service.ts"
import { statements } from "./kit/statements.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })

it.live(
  "projections of one process that are idle send fewer than 20 statements a second together, however many there are",
  () =>
    Effect.gen(function*() {
      statements()
      const names = Array.from({ length: 300 }, (_, i) => `idle-${i}`)
      yield* Effect.gen(function*() {
        for (const name of names) {
          const workers = Number(name.slice(5)) % 2 === 0 ? 1 : { min: 1, max: 16 }
          yield* Layer.build(
            Projection.layer(
              Source.journal(Note).pipe(Projection.exactlyOnce(name, () => Effect.void), Projection.workers(workers))
            )
          )
        }
        yield* Effect.forEach(names, ProjectionStatus.caughtUp, { discard: true })
        const store = yield* HeartbeatStore.HeartbeatStore
        const beat = Effect.map(store.reports(["idle-0"]), ([report]) =>
          report?.lag === 0 ? report.at as number : undefined)
        const beats = (n: number) =>
          Effect.suspend(() => {
            const seen = new Set<number>()
            return Wait.until(
              `${n} heartbeats`,
              Effect.map(beat, (at) => {
                if (at !== undefined) {
                  seen.add(at)
                }
                return seen.size > n
              }).pipe(Effect.delay("500 millis")),
              { atMost: "3 minutes" }
            )
          })
        // what has just begun is told once
        yield* beats(2)
        const [at, sent] = [performance.now(), statements()]
        yield* beats(4)
        const perSecond = (statements() - sent) / (performance.now() - at) * 1000
        assert.isBelow(perSecond, 20)
      }).pipe(
        Effect.scoped,
        Effect.provide(SqliteStorage.layer({ filename: Path.join(yield* temporaryFolder, "idle.db") })),
        Effect.provideService(References.MinimumLogLevel, "None")
      )
    }).pipe(Effect.scoped),
  300_000
)
