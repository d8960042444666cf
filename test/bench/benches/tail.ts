/**
 * Live latency within a process: from calling append until a reader that has reached the end is shown the event, at 200 events a second.
 * The baseline inserts the row and, when that is done, pushes the event to a function.
 */
import * as Journal from "@sluice/core/Journal"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Bench, compare, quantile, type Sample } from "../Bench.ts"
import { cart, encoded, idOf, item, tally } from "../events.ts"
import { adapters, connectAll, storage } from "../Target.ts"

const rate = 200

const paced = Effect.fnUntraced(function*<E, R>(
  seconds: number,
  append: (n: number) => Effect.Effect<unknown, E, R>
): Effect.fn.Return<ReadonlyArray<number>, E, R> {
  const start = performance.now()
  const appended: Array<number> = []
  for (let n = 0; n < rate * seconds; n++) {
    const wait = start + n * 1000 / rate - performance.now()
    if (wait > 0) yield* Effect.sleep(wait)
    yield* append(n)
    appended.push(n)
  }
  return appended
})

const sampleOf = (
  appended: ReadonlyArray<number>,
  started: ReadonlyArray<number>,
  seen: ReadonlyArray<readonly [n: number, at: number]>
): Sample => {
  const latencies = seen.map(([n, at]) => at - started[n]!)
  const p50 = quantile(latencies, 0.5)
  return {
    value: p50,
    ...tally(appended, seen.map(([n]) => n)),
    extra: { p50, p99: quantile(latencies, 0.99) }
  }
}

export const tail: Bench = {
  name: "tail",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      return yield* Effect.gen(function*() {
        const [connection] = yield* connectAll(target, 1)
        const { seconds } = setting.size
        let run = 0
        const ours = Effect.scoped(Effect.gen(function*() {
          const type = cart(run++)
          yield* Journal.append(type, { id: "first", events: [item(-1)] })
          const started: Array<number> = []
          const seen: Array<readonly [number, number]> = []
          yield* Source.toStream(Source.journal(type)).pipe(
            Stream.runForEachArray((envelopes) =>
              Effect.sync(() => {
                const now = performance.now()
                for (const { event: { n } } of envelopes) {
                  seen.push([n, now])
                }
              })
            ),
            Effect.forkScoped
          )
          // the event before all others shows that the reader is at the end
          while (seen.length === 0) yield* Effect.sleep(1)
          seen.pop()
          const appended = yield* paced(seconds, (n) => {
            started[n] = performance.now()
            return Journal.append(type, { id: idOf(n), events: [item(n)] })
          })
          // what is late counts, and what never comes is lost
          for (let waited = 0; seen.length < appended.length && waited < 60_000; waited += 10) yield* Effect.sleep(10)
          return sampleOf(appended, started, seen)
        }))
        const byHand = Effect.gen(function*() {
          const name = `base${run++}`
          const started: Array<number> = []
          const seen: Array<readonly [number, number]> = []
          const appended = yield* paced(seconds, (n) =>
            Effect.promise(async () => {
              started[n] = performance.now()
              const payload = encoded(n)
              await connection.insert([{ slice: n & 1023, persistenceId: `${name}|${n}`, sequenceNumber: 1, payload }])
              seen.push([JSON.parse(payload.toString()).n, performance.now()])
            }))
          return sampleOf(appended, started, seen)
        })
        return [yield* compare(setting, { bench: "tail", unit: "ms", better: "lower" }, ours, byHand)]
      }).pipe(Effect.provide(storage(target)))
    })
}
