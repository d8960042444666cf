/**
 * Ten minutes of 500 events a second over gRPC into a table, exactly once: by how much the memory of producer and consumer grows after the
 * first fifth, as a line through what is resident every few seconds tells.
 */
import * as Effect from "effect/Effect"
import { type Bench, type Line } from "../Bench.ts"
import { load } from "../load.ts"
import { start } from "../process.ts"
import { adapters, connectAll, storage } from "../Target.ts"

const rate = 500
const samples = 60

/** Of a straight line through the values, from its first to its last point. */
const growth = (values: ReadonlyArray<number>): number => {
  const middle = (values.length - 1) / 2
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  let above = 0
  let below = 0
  values.forEach((value, i) => {
    above += (i - middle) * (value - mean)
    below += (i - middle) ** 2
  })
  return below === 0 ? 0 : above / below * (values.length - 1)
}

export const soak: Bench = {
  name: "soak",
  adapters,
  onlyByName: true,
  run: ({ adapter, place, size }) =>
    Effect.gen(function*() {
      const target = yield* place
      const sink = yield* place
      const [connection] = yield* connectAll(sink, 1)
      yield* load(5).pipe(Effect.provide(storage(target)))
      const producer = yield* start("producer", { target })
      const { port } = yield* producer.message<{ port: number }>()
      const consumer = yield* start("consumer", { port, sink, total: 0 })
      yield* consumer.message()
      yield* consumer.ask("follow")
      // two seconds, the default, stand for ten minutes
      const each = size.seconds * 300 / samples
      const memory: Array<readonly [number, number]> = []
      let appended = 5
      for (let i = 0; i < samples; i++) {
        appended +=
          (yield* producer.ask<{ returned: ReadonlyArray<number> }>("live", { name: `s${i}`, rate, seconds: each }))
            .returned.length
        memory.push([yield* producer.ask<number>("rss"), yield* consumer.ask<number>("rss")])
      }
      yield* consumer.ask("followed")
      const counts = yield* Effect.promise(() => connection.counts("ours"))
      const found = counts.reduce((sum, { n }) => sum + n, 0)
      const later = memory.slice(samples / 5)
      const ofProducer = growth(later.map(([producer]) => producer))
      const ofConsumer = growth(later.map(([, consumer]) => consumer))
      const line: Line = {
        bench: "soak",
        adapter,
        value: Math.round(Math.max(ofProducer, ofConsumer) * 10) / 10,
        unit: "MB",
        better: "lower",
        baseline: null,
        ratio: null,
        lost: Math.max(0, appended - found),
        doubled: Math.max(0, found - appended),
        runs: 1,
        events: appended,
        producer: Math.round(memory.at(-1)![0]),
        consumer: Math.round(memory.at(-1)![1])
      }
      return [line]
    })
}
