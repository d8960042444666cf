/**
 * Live latency, as `live` is at 1,000 events/s, while 1,000 entities wake up: each has 99 events that a filter has left out, and has its hundredth, which
 * passes. So the consumer fetches the 99, and handles them before it. Counted as lost or doubled are all events, and the latency is of those that are
 * live; its 99th percentile is the value.
 *
 * The baseline is told by hand which entity wakes up, reads its events, and sends them as well.
 */
import * as Effect from "effect/Effect"
import { type Bench, compare } from "../Bench.ts"
import { load, rare } from "../load.ts"
import { adapters, connectAll, storage } from "../Target.ts"
import { pair, sampling } from "./live.ts"

export const replay: Bench = {
  name: "replay-beside-live",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      yield* load(5).pipe(Effect.provide(storage(target)))
      yield* connectAll(target, 1)
      const { seconds } = setting.size
      // as many a second, however long a run is
      const waking = Math.ceil(1_000 * seconds / 2)
      const sample = (folder: "processes" | "baseline") =>
        Effect.map(pair(folder, target, 1, { tag: rare }), (processes) =>
          Effect.map(sampling(processes, seconds, waking)(1_000), (found) => ({ ...found, value: found.extra!.p99! })))
      return [
        yield* compare(
          setting,
          {
            bench: "replay-beside-live",
            unit: "ms at the 99th percentile",
            better: "lower",
            singleEvents: 1_000 * seconds * 1.5
          },
          yield* sample("processes"),
          yield* sample("baseline")
        )
      ]
    })
}
