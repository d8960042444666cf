/**
 * A projection is scaled from 4 to 16 workers while 5,000 events a second come: for how long an event waits at most until it is handled, of those that
 * come from the command on. What is lost of progress is no more than that. Without a command it is `steady`.
 */
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { type Bench, compare, type Sample } from "../Bench.ts"
import { cart, idOf, item, type ItemAdded, tally } from "../events.ts"
import { now } from "../process.ts"
import { adapters, storage } from "../Target.ts"

const rate = 5_000

/** Events of an append. */
const batch = 50

let runs = 0

const sample = (seconds: number) =>
  Effect.gen(function*() {
    const type = cart(`-rescale-${++runs}`)
    const name = `rescale-${runs}`
    const appendedAt: Array<number> = []
    const handled: Array<number> = []
    const handledAt = new Map<number, number>()
    const handle = Handler.grouped(
      { size: 500, within: "5 millis" },
      (envelopes: ReadonlyArray<{ readonly event: ItemAdded }>) =>
        Effect.sync(() => {
          const at = now()
          for (const { event: { n } } of envelopes) {
            handled.push(n)
            handledAt.set(n, at)
          }
        })
    )
    const projection = Source.journal(type).pipe(Projection.exactlyOnce(name, handle), Projection.workers(4))
    yield* Layer.build(Projection.layer(projection))
    const writers = { goOn: true }
    const begun = now()
    let next = 0
    const write = Effect.gen(function*() {
      while (writers.goOn) {
        const first = next
        next += batch
        const events = Array.from({ length: batch }, (_, i) => item(first + i))
        yield* Journal.append(type, { id: idOf(first), events: events as [ItemAdded, ...Array<ItemAdded>] })
        const at = now()
        for (let i = 0; i < batch; i++) appendedAt[first + i] = at
        const ahead = begun + next / rate * 1000 - now()
        if (ahead > 0) yield* Effect.sleep(ahead)
      }
    })
    const writing = yield* Effect.forkChild(
      Effect.replicateEffect(write, 8, { concurrency: "unbounded", discard: true })
    )
    yield* Effect.sleep(seconds * 1000)
    const commanded = next
    const at = now()
    yield* ProjectionManagement.scale(name, 16, { by: "bench" })
    let scaled = Infinity
    while (now() < at + seconds * 1000) {
      const workers = yield* ProjectionStatus.status(name)
      if (workers.length === 16 && workers.every(({ revision }) => revision !== undefined)) {
        scaled = Math.min(scaled, now() - at)
      }
      yield* Effect.sleep(5)
    }
    writers.goOn = false
    yield* Fiber.join(writing)
    const took = now() - begun
    yield* ProjectionStatus.caughtUp(name)
    const longest = (from: number, to: number) => {
      let max = 0
      for (let n = from; n < to; n++) max = Math.max(max, (handledAt.get(n) ?? Infinity) - appendedAt[n]!)
      return max
    }
    return {
      value: longest(commanded, appendedAt.length),
      ...tally(Array.from(appendedAt, (_, n) => n), handled),
      // the first events find a cold start
      extra: {
        steady: longest(Math.floor(commanded / 2), commanded),
        scaled,
        rate: Math.round(appendedAt.length / took * 1000)
      }
    } satisfies Sample
  }).pipe(Effect.scoped)

export const rescale: Bench = {
  name: "rescale",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      return [
        yield* compare(
          setting,
          { bench: "rescale-4-to-16", unit: "ms that an event waits at most", better: "lower" },
          sample(Math.max(2, 2 * setting.size.seconds)),
          undefined as Effect.Effect<Sample> | undefined
        ).pipe(Effect.provide(storage(target)))
      ]
    })
}
