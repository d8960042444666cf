/**
 * Replicated entities. `replica-live` is from when a command is answered in one region until its event is applied in another, at a steady rate. `replica-heal` is how
 * fast one region gets what the other one has written while they were cut off from each other; the baseline is our own exactly-once pipeline, from one database to
 * another. `replica-command` is a command to a replicated entity; the baseline is the same command to one that is not.
 */
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Bench, compare, quantile, type Sample, type Setting } from "../Bench.ts"
import { makeCarts } from "../carts.ts"
import { cart, fields, tally } from "../events.ts"
import { start } from "../process.ts"
import { makeReplicatedCarts, type Region, regions } from "../replicatedCarts.ts"
import { adapters, connect, connectAll, storage } from "../Target.ts"
import { countingIn, loaded, ours as pipeline } from "./endToEnd.ts"
import { ids, naming, type Options, sending } from "./entities.ts"

/** The commands of a second. */
const rate = 500

const region = Effect.fnUntraced(function*(self: Region, setting: Setting) {
  const target = yield* setting.place
  const child = yield* start("region", { self, target })
  const { port } = yield* child.message<{ port: number }>()
  return { child, port }
})

type Applied = ReadonlyArray<readonly [n: number, at: number]>

/** There is nothing to compare it with. */
const byNobody = undefined as Effect.Effect<Sample> | undefined

/** Two regions. */
const pair = Effect.fnUntraced(function*(setting: Setting) {
  const [eu, us] = yield* Effect.all([region("eu", setting), region("us", setting)])
  return {
    eu,
    us,
    open: Effect.fnUntraced(function*(name: string) {
      yield* eu.child.ask("open", { name })
      yield* us.child.ask("open", { name })
    })
  }
})

export const live: Bench = {
  name: "replica-live",
  adapters: ["sqlite", "postgres"],
  run: (setting) =>
    Effect.gen(function*() {
      const { eu, open, us } = yield* pair(setting)
      let run = 0
      const sample = Effect.gen(function*() {
        const name = `l${run++}`
        yield* open(name)
        const heal = { name, total: 0 }
        yield* us.child.ask("heal", { ...heal, port: eu.port })
        yield* eu.child.ask("heal", { ...heal, port: us.port })
        // streams are open once the first event has come
        yield* eu.child.ask("live", { name, rate: 10, seconds: 1, waking: 0 })
        const before = 10
        while ((yield* us.child.ask<Applied>("applied", { name })).length < before) yield* Effect.sleep(20)
        const written = yield* eu.child.ask<ReadonlyArray<readonly [sent: number, answered: number]>>("live", {
          name,
          rate,
          seconds: setting.size.seconds * 1.5,
          waking: 0
        })
        let applied: Applied = []
        for (let waited = 0; applied.length < before + written.length && waited < 60_000; waited += 50) {
          yield* Effect.sleep(50)
          applied = yield* us.child.ask<Applied>("applied", { name })
        }
        const measured = applied.slice(before)
        const latencies = measured.map(([n, at]) => Math.max(0, at - written[n]![1]))
        const fromSent = measured.map(([n, at]) => at - written[n]![0])
        const p50 = quantile(latencies, 0.5)
        const result: Sample = {
          value: p50,
          ...tally(written.map((_, n) => n), measured.map(([n]) => n)),
          extra: {
            p50,
            p99: quantile(latencies, 0.99),
            p50FromSent: quantile(fromSent, 0.5),
            p99FromSent: quantile(fromSent, 0.99)
          }
        }
        return result
      })
      return [yield* compare(setting, { bench: "replica-live", unit: "ms", better: "lower" }, sample, byNobody)]
    })
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
        const millis = yield* us.child.ask<number>("heal", { name, port: eu.port, total })
        const applied = yield* us.child.ask<Applied>("applied", { name })
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
          yield* Effect.forEach(ids, (id) => carts(id).Show(), { concurrency: 64, discard: true })
          return yield* sending(options, setting, connection, Carts.name, (id, n) => carts(id).Add(fields(n)))
        }).pipe(Effect.provide(ReplicatedEventSourced.layer(Carts).pipe(Layer.provide(Replica.layer(regions[0])))))
      })
      const plain = Effect.suspend(() => {
        const Carts = makeCarts(cart(`p${run++}`))
        return Effect.gen(function*() {
          const carts = yield* EventSourced.client(Carts)
          yield* Effect.forEach(ids, (id) => carts(id).Show(), { concurrency: 64, discard: true })
          return yield* sending(options, setting, connection, Carts.name, (id, n) => carts(id).Add(fields(n)))
        }).pipe(Effect.provide(EventSourced.layer(Carts)))
      })
      return yield* Effect.map(compare(setting, naming(options), ours, plain), (line) => [line]).pipe(
        Effect.provide(storage(target))
      )
    })
})

export const command1 = makeCommands({ bench: "replica-command-1", callers: 1, latency: true })
export const command512 = makeCommands({ bench: "replica-command-512", callers: 512 })
