/**
 * Live latency over gRPC, with producer, consumer and database in processes of their own: from when the append has returned to the producer
 * until the consumer's handler is called, at a steady rate. The baseline inserts the row, and then pushes the event by hand to whoever is
 * connected: nothing is read, and nobody knows what is missing. `fan-out` is the same with several consumers, and what each event
 * costs the producer.
 */
import * as Effect from "effect/Effect"
import { type Bench, compare, quantile, type Sample } from "../Bench.ts"
import { pastOf, tally } from "../events.ts"
import { load } from "../load.ts"
import type { LiveOptions } from "../pace.ts"
import { type Child, start } from "../process.ts"
import { adapters, connectAll, storage, type Target } from "../Target.ts"

type Arrivals = ReadonlyArray<ReadonlyArray<readonly [n: number, at: number]>>

/** Lets so many more consumers connect, which then have the events before. */
const watch = Effect.fnUntraced(function*(consumer: Child, consumers: number) {
  yield* consumer.ask("watch", { consumers })
  // one by hand does not say when it is connected
  yield* Effect.sleep(300)
  yield* consumer.ask("arrivals")
})

/** A producer, and a consumer with so many streams that are live. By hand, one with a sink inserts what comes there, and only then it has arrived. */
export const pair = Effect.fnUntraced(function*(
  folder: "processes" | "baseline",
  target: Target,
  consumers: number,
  { sink, tag }: { readonly tag?: string; readonly sink?: Target } = {}
) {
  const producer = yield* start(`${folder}/producer`, { target, tag, inMemory: false })
  const { port } = yield* producer.message<{ port: number }>()
  const consumer = yield* start(`${folder}/consumer`, { port, tag, sink, total: 0 })
  yield* consumer.message()
  if (folder === "baseline") yield* producer.ask("expectLive")
  yield* watch(consumer, consumers)
  return { producer, consumer }
})

/** In milliseconds: a busy machine loses nothing, though it may take long. */
const patience = 60_000

const measure = Effect.fnUntraced(function*(
  { consumer, producer }: { readonly producer: Child; readonly consumer: Child },
  options: LiveOptions
) {
  yield* producer.ask("sleep", options)
  const { cpu, returned } = yield* producer.ask<{ returned: ReadonlyArray<number>; cpu: number }>("live", options)
  const past = Array.from({ length: options.waking }, (_, n) => n).flatMap(pastOf)
  const appended = [...returned.map((_, n) => n), ...past]
  const seen: Array<Array<readonly [number, number]>> = []
  const end = performance.now()
  // what is late counts, and what does not come is lost
  for (let waited = 0; waited < patience; waited += 50) {
    const arrivals = yield* consumer.ask<Arrivals>("arrivals")
    arrivals.forEach((each, i) => (seen[i] ??= []).push(...each))
    if (seen.every((each) => each.length >= appended.length)) break
    yield* Effect.sleep(50)
  }
  const late = performance.now() - end
  const counts = seen.map((each) => tally(appended, each.map(([n]) => n)))
  return {
    cpu: cpu / returned.length,
    late,
    latencies: seen.flatMap((each) =>
      each.filter(([n]) => n < returned.length).map(([n, at]) => Math.max(0, at - returned[n]!))
    ),
    lost: counts.reduce((sum, { lost }) => sum + lost, 0),
    doubled: counts.reduce((sum, { doubled }) => sum + doubled, 0)
  }
})

/** Runs at a rate, one after the other. */
export const sampling = (processes: Effect.Success<ReturnType<typeof pair>>, seconds: number, waking = 0) => {
  let run = 0
  return (rate: number): Effect.Effect<Sample> =>
    Effect.gen(function*() {
      const { latencies, ...counts } = yield* measure(processes, {
        name: `r${run++}`,
        rate,
        seconds: seconds * 1.5,
        waking
      })
      const p50 = quantile(latencies, 0.5)
      return {
        value: p50,
        lost: counts.lost,
        doubled: counts.doubled,
        extra: {
          p50,
          p99: quantile(latencies, 0.99),
          p999: quantile(latencies, 0.999),
          producerCpu: counts.cpu,
          // how long what was replayed took to the end, in milliseconds after the last event was appended
          ...(waking > 0 && { late: counts.late })
        }
      }
    })
}

export const live: Bench = {
  name: "live",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      // where the tables are made, and a first event that the consumer is up to date with
      yield* load(5).pipe(Effect.provide(storage(target)))
      yield* connectAll(target, 1)
      const ours = sampling(yield* pair("processes", target, 1), setting.size.seconds)
      const byHand = sampling(yield* pair("baseline", target, 1), setting.size.seconds)
      // the fastest first, after which all code is compiled
      return yield* Effect.forEach([5000, 1000, 50], (rate) =>
        compare(
          setting,
          { bench: `live-${rate}`, unit: "ms", better: "lower" },
          ours(rate),
          byHand(rate)
        ))
    })
}

export const fanOut: Bench = {
  name: "fan-out",
  adapters: ["sqlite"],
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      yield* load(5).pipe(Effect.provide(storage(target)))
      yield* connectAll(target, 1)
      const ours = yield* pair("processes", target, 0)
      const byHand = yield* pair("baseline", target, 0)
      let run = 0
      const sample = (processes: typeof ours): Effect.Effect<Sample> =>
        Effect.gen(function*() {
          const options = { name: `r${run++}`, rate: 200, seconds: setting.size.seconds, waking: 0 }
          const { cpu, doubled, latencies, lost } = yield* measure(processes, options)
          return { value: cpu, lost, doubled, extra: { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) } }
        })
      let connected = 0
      return yield* Effect.forEach([1, 10, 100], (consumers) =>
        Effect.gen(function*() {
          yield* watch(ours.consumer, consumers - connected)
          yield* watch(byHand.consumer, consumers - connected)
          connected = consumers
          const unit = "µs of the producer's CPU per event"
          return yield* compare(
            setting,
            { bench: `fan-out-${consumers}`, unit, better: "lower" },
            sample(ours),
            sample(byHand)
          )
        }))
    })
}
