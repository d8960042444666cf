/**
 * A thousand projections of one process that have nothing to do: how much of a core they take, by the time that the process has had on any, and how many statements
 * a second. What else the machine does has little part in that.
 */
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import { statements } from "../../kit/statements.ts"
import { type Bench, compare, type Sample } from "../Bench.ts"
import { cart } from "../events.ts"
import { adapters, storage } from "../Target.ts"

let runs = 0

/** Where a server is busy with so many that begin, some begin anew. */
const begun = (name: string) => Effect.retry(ProjectionStatus.caughtUp(name), Schedule.spaced("1 second"))

const sample = (projections: number, seconds: number, workers: Parameters<typeof Projection.workers>[0]) =>
  Effect.gen(function*() {
    statements()
    const run = ++runs
    const type = cart(`-idle-${run}`)
    const names = Array.from({ length: projections }, (_, i) => `idle-${run}-${i}`)
    const all = names.map((name) =>
      Projection.layer(
        Source.journal(type).pipe(Projection.exactlyOnce(name, () => Effect.void), Projection.workers(workers))
      )
    )
    yield* Effect.forEach(all, (layer) => Layer.build(layer), { concurrency: 16, discard: true })
    yield* Effect.forEach(names, begun, { concurrency: 16, discard: true })
    // what begins has something to do
    yield* Effect.sleep(Math.min(10, seconds) * 1000)
    const [at, cpu, sent] = [performance.now(), process.cpuUsage(), statements()]
    yield* Effect.sleep(seconds * 1000)
    const took = (performance.now() - at) / 1000
    const { system, user } = process.cpuUsage(cpu)
    return {
      value: (user + system) / 1e4 / took,
      lost: 0,
      doubled: 0,
      extra: { statementsPerSecond: (statements() - sent) / took, projections }
    } satisfies Sample
  }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "Warn"))

export const idleProjections: Bench = {
  name: "idle-projections",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      const { runs, scale, seconds } = setting.size
      const projections = Math.max(10, Math.round(1_000 * Math.min(1, scale)))
      const kinds = [["idle-projections", 1], ["idle-projections-automatic", { min: 1, max: 16 }]] as const
      return yield* Effect.forEach(kinds, ([bench, workers]) =>
        compare(
          // it says the same each time
          { ...setting, size: { ...setting.size, runs: Math.min(runs, 1) } },
          { bench, unit: "% of a core", better: "lower" },
          sample(projections, 15 * seconds, workers),
          undefined as Effect.Effect<Sample> | undefined
        ).pipe(Effect.provide(storage(target))))
    })
}
