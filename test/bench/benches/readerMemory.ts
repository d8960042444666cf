/**
 * How much memory a reader of a long journal takes, in a process of its own: the most that is resident while it reads everything, above
 * what was before. The baseline is the keyset loop.
 */
import * as Effect from "effect/Effect"
import { type Bench, compare, type Sample } from "../Bench.ts"
import { load } from "../load.ts"
import { run } from "../process.ts"
import { adapters, storage } from "../Target.ts"

export const readerMemory: Bench = {
  name: "reader-memory",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      const total = Math.ceil(1_000_000 * setting.size.scale)
      yield* load(total).pipe(Effect.provide(storage(target)))
      const side = (side: "ours" | "base") => run<Sample>("reader", { target, side, total })
      const once = { ...setting, size: { ...setting.size, runs: 1 } }
      const naming = { bench: "reader-memory", unit: "MB", better: "lower" as const }
      const line = yield* compare(once, naming, side("ours"), side("base"))
      return [{ ...line, events: total }]
    })
}
