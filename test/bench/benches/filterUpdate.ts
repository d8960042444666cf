/**
 * How soon a change of a filter is effective in another process: from when `ConsumerFilter.update` has returned here, until a consumer in a process of its
 * own has handled the first event of the entity that the change includes. The event is appended, by a third process, once the update has returned.
 */
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EventFilter from "@sluice/core/EventFilter"
import type * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as Effect from "effect/Effect"
import { type Bench, compare, quantile, type Sample } from "../Bench.ts"
import { Items, tally } from "../events.ts"
import { load, rare } from "../load.ts"
import { now, start } from "../process.ts"
import { adapters, storage } from "../Target.ts"

type Stored = ConsumerFilter.ConsumerFilter | ProjectionManagement.ProjectionManagement

const source = `stream:${Items.id}`

/** In milliseconds: a busy machine loses nothing, though it may take long. */
const patience = 60_000

export const filterUpdate: Bench = {
  name: "filter-update",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      yield* load(5).pipe(Effect.provide(storage(target)))
      const producer = yield* start("processes/producer", { target })
      const { port } = yield* producer.message<{ port: number }>()
      const sink = yield* setting.place
      const consumer = yield* start("processes/consumer", { port, sink, tag: rare, total: 0 })
      yield* consumer.message()
      yield* consumer.ask("watch", { consumers: 1 })
      yield* consumer.ask("arrivals")
      const updates = Math.ceil(50 * setting.size.seconds)
      let last = 0
      const sample: Effect.Effect<Sample, unknown, Stored> = Effect.gen(function*() {
        const appended: Array<number> = []
        const seen: Array<number> = []
        const latencies: Array<number> = []
        const watch = Effect.fnUntraced(function*(returned: number) {
          for (const deadline = returned + patience; now() < deadline; yield* Effect.sleep(2)) {
            const [arrivals] = yield* consumer.ask<ReadonlyArray<ReadonlyArray<readonly [number, number]>>>("arrivals")
            for (const [n, at] of arrivals!) {
              seen.push(n)
              if (n === last) latencies.push(at - returned)
            }
            if (seen.at(-1) === last) return
          }
        })
        for (let i = 0; i < updates; i++) {
          const id = `included-${++last}`
          yield* ConsumerFilter.update(
            { source },
            () => EventFilter.excludeAll.pipe(EventFilter.includeTags(rare), EventFilter.includeEntityIds(id)),
            { by: "bench" }
          )
          const returned = now()
          appended.push(last)
          yield* producer.ask("append", { id, n: last })
          yield* watch(returned)
        }
        const p99 = quantile(latencies, 0.99)
        return { value: p99, ...tally(appended, seen), extra: { p50: quantile(latencies, 0.5), p99 } }
      })
      return [
        yield* compare(
          setting,
          { bench: "filter-update", unit: "ms at the 99th percentile", better: "lower" },
          sample,
          undefined as Effect.Effect<Sample> | undefined
        ).pipe(Effect.provide(storage(sink)))
      ]
    })
}
