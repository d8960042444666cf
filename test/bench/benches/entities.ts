/**
 * Event sourced entities that are active in one process. By hand is the same on the bare journal: an append of the same event, a snapshot that is
 * loaded and events that are read after it, a state in a map.
 */
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import * as StateType from "@sluice/core/StateType"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Connection } from "../baseline/Connection.ts"
import { type Bench, callers, compare, quantile, type Sample, type Setting } from "../Bench.ts"
import { empty, evolve, makeCarts, State } from "../carts.ts"
import { cart, codec, fields, item, parse, tally } from "../events.ts"
import { run } from "../process.ts"
import { adapters, connect, storage } from "../Target.ts"

export interface Options {
  readonly bench: string
  readonly callers: number
  /** Whether the median of the latencies is what counts. */
  readonly latency?: boolean
}

/** What is measured of commands: how long each takes, or how many there are in a second. */
export const naming = ({ bench, latency }: Options) =>
  latency ? { bench, unit: "ms", better: "lower" as const } : { bench, unit: "commands/s" }

/** They are active before it is measured. */
export const ids = Arr.makeBy(1_000, (i) => `c-${i}`)

/** Sends commands for a time. Those that were acknowledged have to be in the journal. */
export const sending = Effect.fnUntraced(function*<E, R>(
  options: Options,
  { size }: Setting,
  connection: Connection,
  entityType: string,
  command: (id: string, n: number) => Effect.Effect<unknown, E, R>
) {
  const appended: Array<number> = []
  const latencies: Array<number> = []
  let next = 0
  const seconds = yield* callers(options.callers, size.seconds, () => {
    const n = next++
    const start = performance.now()
    return Effect.map(command(ids[n % ids.length]!, n), () => {
      latencies.push(performance.now() - start)
      appended.push(n)
    })
  })
  const payloads = yield* Effect.promise(() => connection.payloads("ours", entityType))
  const p50 = quantile(latencies, 0.5)
  const sample: Sample = {
    ...tally(appended, payloads.map((payload) => parse(payload).n)),
    value: options.latency ? p50 : appended.length / seconds,
    extra: { p50, p99: quantile(latencies, 0.99) }
  }
  return sample
})

/** Sends commands to a thousand entities, once they are active. */
export const adding = <E, R, E2, R2>(
  options: Options,
  setting: Setting,
  connection: Connection,
  entityType: string,
  carts: (id: string) => {
    readonly Show: () => Effect.Effect<unknown, E, R>
    readonly Add: (item: ReturnType<typeof fields>) => Effect.Effect<unknown, E2, R2>
  }
) =>
  Effect.andThen(
    Effect.forEach(ids, (id) => carts(id).Show(), { concurrency: 64, discard: true }),
    sending(options, setting, connection, entityType, (id, n) => carts(id).Add(fields(n)))
  )

/** Commands to a thousand entities, which are others each time. */
export const commanding = (options: Options, setting: Setting, connection: Connection) => {
  let run = 0
  return Effect.suspend(() => {
    const Carts = makeCarts(cart(`e${run++}`))
    return Effect.gen(function*() {
      const carts = yield* EventSourced.client(Carts)
      return yield* adding(options, setting, connection, Carts.name, carts)
    }).pipe(Effect.provide(EventSourced.layer(Carts)))
  })
}

const makeCommands = (options: Options): Bench => ({
  name: options.bench,
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      const connection = yield* connect(target)
      let run = 0
      const ours = commanding(options, setting, connection)
      const byHand = Effect.suspend(() => {
        const type = cart(`b${run++}`)
        return sending(options, setting, connection, type.name, (id, n) =>
          Journal.append(type, { id, events: [item(n)] }))
      })
      return yield* Effect.map(compare(setting, naming(options), ours, byHand), (line) => [line]).pipe(
        Effect.provide(storage(target))
      )
    })
})

export const entity1 = makeCommands({ bench: "entity-1", callers: 1, latency: true })
export const entity32 = makeCommands({ bench: "entity-32", callers: 32 })
export const entity512 = makeCommands({ bench: "entity-512", callers: 512 })

/** How many events are in the snapshot, and how many there are after it. */
const before = 100
const after = 10

/** A state is computed from a snapshot and ten events. */
export const entityActivation: Bench = {
  name: "entity-activation",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      const Cart = EntityType.make("cart", { codec })
      const Carts = makeCarts(Cart, before)
      const CartState = StateType.make(Cart.name, { state: State })
      const total = Math.ceil(200 * setting.size.scale) + 5
      const last = before + after - 1
      const states = Arr.makeBy(total, (i) => `c-${i}`)
      const fill = Effect.forEach(states, (id) =>
        Effect.gen(function*() {
          const events = Arr.makeBy(before + after, item)
          yield* Journal.append(Cart, { id, events })
          const state = events.slice(0, before).reduce(evolve, empty)
          yield* SnapshotStore.save(CartState, { id, sequenceNumber: before, state })
        }), { concurrency: 16, discard: true })
      const measured = Effect.fnUntraced(function*<E, R>(show: (id: string) => Effect.Effect<typeof State.Type, E, R>) {
        const latencies: Array<number> = []
        let lost = 0
        for (const id of states) {
          const start = performance.now()
          const state = yield* show(id)
          latencies.push(performance.now() - start)
          if (state.last !== last || state.items !== before + after) lost++
        }
        const sample: Sample = {
          value: quantile(latencies, 0.5),
          lost,
          doubled: 0,
          extra: { p99: quantile(latencies, 0.99) }
        }
        return sample
      })
      const ours = Effect.gen(function*() {
        const carts = yield* EventSourced.client(Carts)
        return yield* measured((id) => carts(id).Show())
      }).pipe(Effect.provide(EventSourced.layer(Carts)))
      const byHand = measured((id) =>
        Effect.gen(function*() {
          const { sequenceNumber, state } = Option.getOrThrow(yield* SnapshotStore.load(CartState, id))
          const events = yield* Stream.runCollect(Journal.read(Cart, id, { from: sequenceNumber + 1 }))
          return events.reduce((state, { event }) => evolve(state, event), state)
        })
      )
      const naming = { bench: "entity-activation", unit: "ms", better: "lower" as const }
      return yield* Effect.map(
        Effect.andThen(fill, compare(setting, naming, ours, byHand)),
        (line) => [line]
      ).pipe(Effect.provide(storage(target)))
    })
}

/** What a hundred thousand entities take that are active, in a process of their own. By hand is a map of their states. */
export const entityMemory: Bench = {
  name: "entity-memory",
  adapters: ["sqlite"],
  run: (setting) =>
    Effect.gen(function*() {
      const { size } = setting
      const total = Math.ceil(100_000 * size.scale)
      const side = (side: "ours" | "base") =>
        Effect.flatMap(setting.place, (target) => run<Sample>("entities", { target, side, total }))
      const once = { ...setting, size: { ...size, runs: 1 } }
      const naming = { bench: "entity-memory", unit: "MB", better: "lower" as const }
      const line = yield* compare(once, naming, side("ours"), side("base"))
      return [{ ...line, entities: total }]
    })
}
