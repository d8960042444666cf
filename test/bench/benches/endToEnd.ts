/**
 * From a journal over gRPC into a handler, with producer, consumer and database in processes of their own. Measured is the time from
 * starting the consumer's projection until everything has been handled; both sides' processes run all the time, and only one works.
 *
 * The baseline is the pipeline by hand: a keyset loop that reads the next page while it sends one, packed writes of messages that
 * protobufjs encodes, grpc-js on both sides, payloads parsed, and groups of up to 500. `wire` is the same without a journal.
 */
import * as Effect from "effect/Effect"
import type { Connection } from "../baseline/Connection.ts"
import { type Bench, compare, type Sample, type Setting } from "../Bench.ts"
import { compareCounts, type Expected, load } from "../load.ts"
import { start } from "../process.ts"
import { adapters, connect, connectAll, storage, type Target } from "../Target.ts"
import * as Work from "../Work.ts"

interface Options {
  readonly total: number
  readonly target: Target
  readonly sink?: Target
  readonly inMemory?: boolean
  /** What the events have that are let through; all are if undefined. */
  readonly tag?: string
}

/** A producer and a consumer, which catches up whenever it is told to. */
const pair = Effect.fnUntraced(function*(
  folder: "processes" | "baseline",
  { sink, tag, total }: Options,
  argument: unknown
) {
  const from = yield* start(`${folder}/producer`, argument)
  const { port } = yield* from.message<{ port: number }>()
  const to = yield* start(`${folder}/consumer`, { port, sink, tag, total })
  yield* to.message()
  let run = 0
  return (isGrouped: boolean) =>
    Work.counted(Effect.suspend(() => to.ask<Sample>("catchUp", { name: `p${run++}`, isGrouped })))
})

export const ours = (options: Options) =>
  pair("processes", options, options.inMemory ? { events: options.total } : { target: options.target })

/** Of ours, and of the baseline. */
export const pipelines = Effect.fnUntraced(function*(options: Options) {
  const { inMemory = false, tag, target } = options
  return { ours: yield* ours(options), byHand: yield* pair("baseline", options, { target, inMemory, tag }) }
})

/** A journal that has so many events. */
export const loaded = Effect.fnUntraced(function*({ place, size }: Setting, events: number) {
  const target = yield* place
  const total = Math.ceil(events * size.scale)
  const expected = yield* load(total).pipe(Effect.provide(storage(target)))
  return { target, total, expected }
})

export const wire: Bench = {
  name: "wire",
  adapters: ["sqlite"],
  run: (setting) =>
    Effect.gen(function*() {
      const { target, total } = yield* loaded(setting, 200_000)
      const { byHand, ours } = yield* pipelines({ target, total, inMemory: true })
      return [yield* compare(setting, { bench: "wire", unit: "events/s" }, ours(true), byHand(true))]
    })
}

export const endToEnd: Bench = {
  name: "end-to-end",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const { target, total } = yield* loaded(setting, 200_000)
      const { byHand, ours } = yield* pipelines({ target, total })
      return [
        yield* compare(setting, { bench: "end-to-end", unit: "events/s" }, ours(true), byHand(true)),
        yield* compare(setting, { bench: "end-to-end-each", unit: "events/s" }, ours(false), byHand(true))
      ]
    })
}

/** What counts is what is in the table. */
export const countingIn =
  (connection: Connection, expected: Expected) => (side: "ours" | "base", run: Effect.Effect<Sample>) =>
    Effect.gen(function*() {
      yield* Effect.promise(() => connection.clear())
      const { value } = yield* run
      return { value, ...compareCounts(expected, yield* Effect.promise(() => connection.counts(side))) }
    })

export const exactlyOnce: Bench = {
  name: "end-to-end-exactly-once",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const { expected, target, total } = yield* loaded(setting, 100_000)
      const sink = yield* setting.place
      yield* connectAll(sink, 1)
      const { byHand, ours } = yield* pipelines({ target, total, sink })
      const counting = countingIn(yield* connect(sink), expected)
      return [
        yield* compare(
          setting,
          { bench: "end-to-end-exactly-once", unit: "events/s" },
          counting("ours", ours(true)),
          counting("base", byHand(true))
        )
      ]
    })
}
