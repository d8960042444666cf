/**
 * A projection that catches up, exactly once in groups of 500 with a handler that only counts, with what management costs and without: heartbeats every 2 seconds, and every
 * half second somebody who asks for the status of all processes, and for health. It says events a second, and how much processor time an event takes, which
 * depends less on what else the machine does. That it looks for commands once a second is part of both.
 */
import * as Handler from "@sluice/core/Handler"
import * as HeartbeatStore from "@sluice/core/HeartbeatStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionHealth from "@sluice/core/ProjectionHealth"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { type Bench, compare, type Sample } from "../Bench.ts"
import { type ItemAdded, tally } from "../events.ts"
import { Cart, load } from "../load.ts"
import { adapters, storage } from "../Target.ts"

/** Long enough for several heartbeats. */
const events = 300_000

/** So often is asked once nothing else is done, which says what that costs, however busy the machine is. */
const asked = 50

let runs = 0

const sample = (total: number, isManaged: boolean) =>
  Effect.gen(function*() {
    const name = `managed-${++runs}`
    const handled: Array<number> = []
    const handle = Handler.grouped(
      { size: 500, within: "50 millis" },
      (envelopes: ReadonlyArray<{ readonly event: ItemAdded }>) =>
        Effect.sync(() => {
          for (const { event: { n } } of envelopes) handled.push(n)
        })
    )
    const projection = Source.journal(Cart).pipe(Projection.exactlyOnce(name, handle), Projection.workers(4))
    const [at, cpu] = [performance.now(), process.cpuUsage()]
    yield* Layer.build(Projection.layer(projection))
    const asking = Effect.all([ProjectionStatus.everywhere(name), ProjectionHealth.all()])
    if (isManaged) yield* asking.pipe(Effect.repeat(Schedule.spaced("500 millis")), Effect.forkScoped)
    yield* ProjectionStatus.caughtUp(name)
    const seconds = (performance.now() - at) / 1000
    const { system, user } = process.cpuUsage(cpu)
    const before = process.cpuUsage()
    for (let i = 0; i < asked; i++) yield* asking
    const ofAsking = process.cpuUsage(before)
    return {
      value: total / seconds,
      ...tally(Array.from({ length: total }, (_, n) => n), handled),
      extra: {
        microsPerEvent: (user + system) / total,
        millisPerAsking: (ofAsking.user + ofAsking.system) / 1_000 / asked
      }
    } satisfies Sample
  }).pipe(
    Effect.scoped,
    isManaged
      ? (_) => _
      : Effect.provideService(HeartbeatStore.Heartbeat, HeartbeatStore.heartbeat({ interval: Infinity }))
  )

export const managementCost: Bench = {
  name: "management-cost",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      return [
        yield* Effect.gen(function*() {
          const total = Math.ceil(events * setting.size.scale / 500) * 500
          yield* load(total)
          return yield* compare(
            setting,
            { bench: "management-cost", unit: "events/s" },
            sample(total, true),
            sample(total, false)
          )
        }).pipe(Effect.provide(storage(target)))
      ]
    })
}
