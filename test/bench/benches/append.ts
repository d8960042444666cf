/**
 * Appends of single events, and of batches, from many callers in one process. Measured is what is acknowledged in a time.
 *
 * The baseline inserts rows without positions, sequence checks or signals, as few bytes as ever, with a batcher on two connections where we
 * have two lanes. On both sides the events are made and encoded by the caller. SQLite has one connection.
 */
import * as Journal from "@sluice/core/Journal"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import { batcher, type Connection, type NewRow } from "../baseline/Connection.ts"
import { type Bench, callers, compare, promised, quantile, type Sample, type Setting } from "../Bench.ts"
import { cart, encoded, entities, idOf, item, parse, tally } from "../events.ts"
import { adapters, connectAll, storage } from "../Target.ts"

export interface Options {
  readonly bench: string
  readonly callers: number
  /** Events per append. */
  readonly size: number
  /** Whether the median of the latencies is what counts. */
  readonly latency?: boolean
}

const connections = 2

/** Which entity the n-th append is to, and the numbers of its events. */
export const idAt = (n: number, size: number) => size === 1 ? idOf(n) : `b-${n}`
export const numbersOf = (n: number, size: number) => Arr.makeBy(size, (i) => n * size + i)

const sample = (
  { latency, size }: Options,
  run: {
    readonly appended: ReadonlyArray<number>
    readonly latencies: ReadonlyArray<number>
    readonly seconds: number
  },
  counts: { readonly lost: number; readonly doubled: number }
): Sample => {
  const p50 = quantile(run.latencies, 0.5)
  return {
    ...counts,
    value: latency ? p50 : run.appended.length * size / run.seconds,
    extra: { p50, p99: quantile(run.latencies, 0.99) }
  }
}

const countIn = (
  connection: Connection,
  side: "ours" | "base",
  name: string,
  appended: ReadonlyArray<number>,
  size: number
) =>
  Effect.promise(async () =>
    tally(
      appended.flatMap((n) => numbersOf(n, size)),
      (await connection.payloads(side, name)).map((payload) => parse(payload).n)
    )
  )

export const ours = (options: Options, { size }: Setting, connection: Connection) => {
  let run = 0
  return Effect.gen(function*() {
    const type = cart(run++)
    const appended: Array<number> = []
    const latencies: Array<number> = []
    // the first append of an entity type may have to prepare something
    yield* Journal.append(type, { id: "first", events: [item(-1)] })
    let next = 0
    const seconds = yield* callers(options.callers, size.seconds, () => {
      const n = next++
      const start = performance.now()
      return Effect.map(
        Journal.append(type, { id: idAt(n, options.size), events: Arr.map(numbersOf(n, options.size), item) }),
        () => {
          latencies.push(performance.now() - start)
          appended.push(n)
        }
      )
    })
    return sample(
      options,
      { appended, latencies, seconds },
      yield* countIn(connection, "ours", type.name, appended, options.size)
    )
  })
}

const rowsOf = (prefix: string, n: number, size: number): ReadonlyArray<NewRow> =>
  numbersOf(n, size).map((number, i) => ({
    slice: n & 1023,
    persistenceId: `${prefix}|${idAt(n, size)}`,
    sequenceNumber: size === 1 ? Math.floor(n / entities) + 1 : i + 1,
    payload: encoded(number)
  }))

/** With promises, whatever appends and counts. */
export const promises = (
  options: Options,
  { size }: Setting,
  append: (n: number) => Promise<unknown>,
  count: (appended: ReadonlyArray<number>) => Effect.Effect<{ readonly lost: number; readonly doubled: number }>
) =>
  Effect.gen(function*() {
    const appended: Array<number> = []
    const latencies: Array<number> = []
    let next = 0
    const seconds = yield* promised(options.callers, size.seconds, async () => {
      const n = next++
      const start = performance.now()
      await append(n)
      latencies.push(performance.now() - start)
      appended.push(n)
    })
    return sample(options, { appended, latencies, seconds }, yield* count(appended))
  })

const baseline = (options: Options, setting: Setting, all: ReadonlyArray<Connection>) => {
  let run = 0
  return Effect.suspend(() => {
    const name = `cart${run++}`
    const append = batcher(all, options.size === 1 ? 200 : options.size)
    return promises(
      options,
      setting,
      (n) => {
        const rows = rowsOf(name, n, options.size)
        // a lone caller needs no batcher
        return options.callers > 1 ? append(rows) : all[0]!.insert(rows)
      },
      (appended) => countIn(all[0]!, "base", name, appended, options.size)
    )
  })
}

const make = (options: Options): Bench => ({
  name: options.bench,
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      return yield* Effect.gen(function*() {
        const all = yield* connectAll(target, options.callers === 1 ? 1 : connections)
        const naming = options.latency
          ? { bench: options.bench, unit: "ms", better: "lower" as const }
          : { bench: options.bench, unit: "events/s" }
        return [yield* compare(setting, naming, ours(options, setting, all[0]), baseline(options, setting, all))]
      }).pipe(Effect.provide(storage(target)))
    })
})

export const append1 = make({ bench: "append-1", callers: 1, size: 1, latency: true })
export const append32 = make({ bench: "append-32", callers: 32, size: 1 })
export const append512 = make({ bench: "append-512", callers: 512, size: 1 })
export const appendBatch = make({ bench: "append-batch", callers: 4, size: 100 })
