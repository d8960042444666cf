/** Has entities active, and tells how much memory that takes. */
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import { setTimeout } from "node:timers/promises"
import type { Sample } from "../Bench.ts"
import { empty, evolve, makeCarts } from "../carts.ts"
import { cart, fields, item } from "../events.ts"
import { answer, argument, rss } from "../process.ts"
import { storage, type Target } from "../Target.ts"

const { side, target, total } = argument<{ target: Target; side: "ours" | "base"; total: number }>()

const rest = Effect.promise(async () => {
  globalThis.gc!()
  await setTimeout(200)
  globalThis.gc!()
  return process.memoryUsage().heapUsed / 1024 / 1024
})

const idOf = (i: number) => `c-${i}`

const ours = Effect.gen(function*() {
  const Carts = makeCarts(cart("s"))
  return yield* Effect.gen(function*() {
    const carts = yield* EventSourced.client(Carts)
    // what is loaded once does not count
    yield* carts("first").Add(fields(-1))
    const idle = yield* rest
    const all = Arr.range(0, total - 1)
    yield* Effect.forEach(all, (i) => carts(idOf(i)).Add(fields(i)), { concurrency: 256, discard: true })
    const active = yield* rest
    let lost = 0
    for (let i = 0; i < total; i += 97) if ((yield* carts(idOf(i)).Show()).last !== i) lost++
    return { idle, active, lost }
  }).pipe(Effect.provide(EventSourced.layer(Carts, { maxActive: total + 1, idleAfter: "1 hour" })))
}).pipe(Effect.provide(storage(target)))

const byHand = Effect.gen(function*() {
  const idle = yield* rest
  const states = new Map(Arr.makeBy(total, (i) => [idOf(i), { state: evolve(empty, item(i)), sequenceNumber: 1 }]))
  const active = yield* rest
  return { idle, active, lost: total - states.size }
})

const { active, idle, lost } = await Effect.runPromise<{ active: number; idle: number; lost: number }, unknown>(
  side === "ours" ? ours : byHand
)
const each = (active - idle) * 1024 * 1024 / total
answer({ value: active - idle, lost, doubled: 0, extra: { rss: rss(), bytesEach: each } } satisfies Sample)
process.disconnect()
