/**
 * Replicated entities. `replica-live` is from when a command is answered in one region until its event is applied in another, at a steady rate. `replica-heal` is how
 * fast one region gets what the other one has written while they were cut off from each other; the baseline is our own exactly-once pipeline, from one database to
 * another. `replica-command` is a command to a replicated entity; the baseline is the same command to one that is not.
 */
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Bench, compare, quantile, type Sample, type Setting } from "../Bench.ts"
import { cart, tally } from "../events.ts"
import { start } from "../process.ts"
import type { Applied } from "../processes/region.ts"
import { makeReplicatedCarts, type Region, regions } from "../replicatedCarts.ts"
import { adapters, connect, connectAll, storage } from "../Target.ts"
import * as Work from "../Work.ts"
import { countingIn, loaded, ours as pipeline } from "./endToEnd.ts"
import { adding, commanding, ids, naming, type Options } from "./entities.ts"
import { pair as livePair, sampling } from "./live.ts"

/** The commands of a second. */
const rate = 500

/** In milliseconds: a busy machine loses nothing, though it may take long. */
const patience = 60_000

const region = Effect.fnUntraced(function*(self: Region, setting: Setting) {
  const target = yield* setting.place
  const child = yield* start("region", { self, target })
  const { port } = yield* child.message<{ port: number }>()
  return { child, port }
})

/** Two regions. */
const pair = Effect.fnUntraced(function*(setting: Setting) {
  const [eu, us] = yield* Effect.all([region("eu", setting), region("us", setting)])
  return {
    eu,
    us,
    /** With entities of which some are active in both. */
    open: Effect.fnUntraced(function*(name: string, active: ReadonlyArray<string> = []) {
      yield* eu.child.ask("open", { name, active })
      yield* us.child.ask("open", { name, active })
    })
  }
})

/** Of entities that are active in both regions, at a rate; by hand without entities, what comes is inserted into a journal. */
const liveLine = Effect.fnUntraced(function*(setting: Setting) {
  const { eu, open, us } = yield* pair(setting)
  const name = "live"
  yield* open(name, ids)
  yield* us.child.ask("heal", { name, total: 0, port: eu.port })
  yield* eu.child.ask("heal", { name, total: 0, port: us.port })
  /** How many events are written. */
  let from = 0
  /** Writes at a rate, until all is applied. */
  const written = Effect.fnUntraced(function*(rate: number, seconds: number) {
    const options = { name, ids, from, rate, seconds, waking: 0 }
    const all = yield* eu.child.ask<ReadonlyArray<readonly [sent: number, answered: number]>>("live", options)
    for (let waited = 0; waited < patience; waited += 50) {
      if ((yield* us.child.ask<number>("count", { name })) >= from + all.length) break
      yield* Effect.sleep(50)
    }
    const applied = yield* us.child.ask<ReadonlyArray<Applied>>("applied", { name, from })
    from += all.length
    return { all, applied: applied.map(([n, came, at]) => [n - from + all.length, came, at] as const) }
  })
  // streams are open once the first events have come
  yield* written(10, 1)
  const ours = Effect.gen(function*() {
    const { all, applied } = yield* written(rate, setting.size.seconds * 1.5)
    const stages = {
      "": applied.map(([n, , at]) => Math.max(0, at - all[n]![1])),
      FromSent: applied.map(([n, , at]) => at - all[n]![0]),
      Command: all.map(([sent, answered]) => answered - sent),
      Way: applied.map(([n, came]) => came - all[n]![1]),
      Applying: applied.map(([, came, at]) => at - came)
    }
    const sample: Sample = {
      value: quantile(stages[""], 0.5),
      ...tally(all.map((_, n) => n), applied.map(([n]) => n)),
      extra: Object.fromEntries(
        Object.entries(stages).flatMap(([stage, millis]) => [
          [`p50${stage}`, quantile(millis, 0.5)],
          [`p99${stage}`, quantile(millis, 0.99)]
        ])
      )
    }
    return sample
  })
  const target = yield* setting.place
  const sink = yield* setting.place
  yield* connectAll(target, 1)
  yield* connectAll(sink, 1)
  const byHand = sampling(yield* livePair("baseline", target, 1, { sink }), setting.size.seconds)
  const naming = {
    bench: "replica-live",
    unit: "ms",
    better: "lower",
    singleEvents: rate * setting.size.seconds * 1.5
  } as const
  return yield* compare(setting, naming, ours, byHand(rate))
})

export const live: Bench = {
  name: "replica-live",
  adapters: ["sqlite", "postgres"],
  run: (setting) => Effect.map(liveLine(setting), (line) => [line])
}

export const heal: Bench = {
  name: "replica-heal",
  adapters: ["sqlite", "postgres"],
  run: (setting) =>
    Effect.gen(function*() {
      const { eu, open, us } = yield* pair(setting)
      const { expected, target, total } = yield* loaded(setting, 100_000)
      const sink = yield* setting.place
      yield* connectAll(sink, 1)
      const catchUp = yield* pipeline({ target, total, sink })
      const counting = countingIn(yield* connect(sink), expected)
      let run = 0
      const ours = Effect.gen(function*() {
        const name = `h${run++}`
        yield* open(name)
        yield* eu.child.ask("fill", { name, total })
        const millis = yield* Work.counted(us.child.ask<number>("heal", { name, port: eu.port, total }))
        const applied = yield* us.child.ask<ReadonlyArray<Applied>>("applied", { name })
        const sample: Sample = {
          value: total / (millis / 1000),
          ...tally(Array.from({ length: total }, (_, n) => n), applied.map(([n]) => n))
        }
        return sample
      })
      return [
        yield* compare(setting, { bench: "replica-heal", unit: "events/s" }, ours, counting("ours", catchUp(true)))
      ]
    })
}

/** Entities of a replica that nobody consumes. */
const makeCommands = (
  options: Options
): Bench => ({
  name: options.bench,
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      const connection = yield* connect(target)
      let run = 0
      const ours = Effect.suspend(() => {
        const Carts = makeReplicatedCarts(cart(`r${run++}`))
        return Effect.gen(function*() {
          const carts = yield* ReplicatedEventSourced.client(Carts)
          return yield* adding(options, setting, connection, Carts.name, carts)
        }).pipe(Effect.provide(ReplicatedEventSourced.layer(Carts).pipe(Layer.provide(Replica.layer(regions[0])))))
      })
      const plain = commanding(options, setting, connection)
      return yield* Effect.map(compare(setting, naming(options), ours, plain), (line) => [line]).pipe(
        Effect.provide(storage(target))
      )
    })
})

export const command1 = makeCommands({ bench: "replica-command-1", callers: 1, latency: true })
export const command512 = makeCommands({ bench: "replica-command-512", callers: 512 })
