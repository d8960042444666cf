/** Reads a journal to its end, and tells how much memory that took. */
import * as Effect from "effect/Effect"
import { setTimeout } from "node:timers/promises"
import type { Sample } from "../Bench.ts"
import { readPages, readRows } from "../benches/catchUpRead.ts"
import { Logs } from "../events.ts"
import { answer, argument, rss } from "../process.ts"
import { connect, storage, type Target } from "../Target.ts"

const { side, target, total } = argument<{ target: Target; side: "ours" | "base"; total: number }>()

const logs = new Logs()
let idle = 0
let peak = 0
const rest = async () => {
  globalThis.gc!()
  await setTimeout(200)
  idle = peak = rss()
}
const see = (page: ReadonlyArray<{ readonly slice: number; readonly position: number | undefined }>) => {
  peak = Math.max(peak, rss())
  for (const envelope of page) logs.see(envelope)
}

const reading = side === "ours"
  ? Effect.andThen(Effect.promise(rest), readPages(see)).pipe(Effect.provide(storage(target)))
  : Effect.scoped(Effect.flatMap(connect(target), (connection) =>
    Effect.promise(async () => {
      await rest()
      await readRows(connection, see)
    })))
await Effect.runPromise(reading)
answer({ value: peak - idle, ...logs.of(total), extra: { idle } } satisfies Sample)
process.disconnect()
