/**
 * Whether a journal that has grown costs more: single appends from 32 callers to entities all over it, and reading it from places all over it. The baseline is a journal of 10,000
 * events of 100 entities in the same database server, with the same storage. What a table that is written by hand keeps of its own speed as it grows
 * by as much is shown beside it (ratioByHand, cpuRatioByHand). It takes long, most of which goes into filling the journals.
 */
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import type { Offsets } from "@sluice/core/Offset"
import * as SliceRange from "@sluice/core/SliceRange"
import type * as Timestamp from "@sluice/core/Timestamp"
import * as Arr from "effect/Array"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { batcher, type Connection, type NewRow } from "../baseline/Connection.ts"
import { type Bench, callers, compare, promised, quantile, type Sample, type Setting } from "../Bench.ts"
import { cart, encoded, item, parse, tally } from "../events.ts"
import { adapters, connectAll, storage } from "../Target.ts"
import * as Work from "../Work.ts"
import { readPages } from "./catchUpRead.ts"

const Cart = cart("-growth")

/** How many events, and of how many entities. */
interface Extent {
  readonly events: number
  readonly entities: number
}

const small: Extent = { events: 10_000, entities: 100 }
/** At full scale. */
const large: ReadonlyArray<Extent> = [{ events: 1_000_000, entities: 100_000 }, {
  events: 10_000_000,
  entities: 1_000_000
}]

const pageSize = 500
/** Events of an append while a journal is filled: what an entity has of it. */
const together = 10
/** Such appends are filled in by hand in one statement. */
const appendsAtOnce = 100
/** The number of an event that a journal is filled with. */
const filler = -1

interface Grown {
  readonly context: Context.Context<Journal.Journal>
  readonly extent: Extent
  /** Where readings begin. */
  readonly places: ReadonlyArray<Offsets>
}

/** Entities one after the other have their next events, until there are as many as wanted. */
const grow = Effect.fnUntraced(function*({ place }: Setting, extent: Extent) {
  const context = yield* Layer.build(storage(yield* place))
  const appends = Math.ceil(extent.events / together)
  const events = Arr.makeBy(together, () => item(filler))
  const thirds: Array<Timestamp.Timestamp> = []
  const places = yield* Effect.gen(function*() {
    for (const third of [0, 1, 2]) {
      const from = Math.floor(appends * third / 3)
      const written = yield* Effect.forEach(
        Arr.range(from, Math.floor(appends * (third + 1) / 3) - 1),
        (n) => Journal.append(Cart, { id: `c-${n % extent.entities}`, events }),
        { concurrency: 512 }
      )
      thirds.push(written[0].timestamp)
    }
    const journal = yield* Journal.Journal
    return yield* Effect.forEach(thirds, (time) => journal.before(Cart.name, SliceRange.full, time))
  }).pipe(Effect.provideContext(context))
  return { context, extent, places } satisfies Grown
})

/** What is written by hand. */
interface GrownByHand {
  readonly connections: ReadonlyArray<Connection>
  /** The next event of an entity, as with those of {@link appending}. */
  readonly next: () => NewRow
}

const rowByHand = (entity: number, sequenceNumber: number, n: number): NewRow => ({
  slice: entity & 1023,
  persistenceId: `cart|c-${entity}`,
  sequenceNumber,
  payload: encoded(n)
})

/** In the same order as {@link grow}. */
const growByHand = Effect.fnUntraced(function*({ place }: Setting, { entities, events }: Extent) {
  // in a place of its own: what others commit to a file makes connections forget what they have read of it
  const connections = yield* connectAll(yield* place, 2)
  const appends = Math.ceil(events / together)
  yield* Effect.promise(async () => {
    for (let n = 0; n < appends; n += appendsAtOnce) {
      await connections[0].insert(
        Arr.makeBy(Math.min(appendsAtOnce, appends - n), (i) => n + i).flatMap((n) =>
          Arr.makeBy(together, (i) => rowByHand(n % entities, Math.floor(n / entities) * together + i + 1, filler))
        )
      )
    }
  })
  const first = Math.ceil(appends / entities) * together + 1
  let n = 0
  const next = () => {
    const row = rowByHand(n * 7919 % entities, first + Math.floor(n / entities), n)
    n++
    return row
  }
  return { connections, next } satisfies GrownByHand
})

const appendingByHand = ({ connections, next }: GrownByHand, { size }: Setting): Effect.Effect<Sample> =>
  Effect.gen(function*() {
    const append = batcher(connections, 200)
    let count = 0
    const seconds = yield* promised(32, size.seconds, async () => {
      await append([next()])
      count++
    })
    // an event that is there already would have been refused
    return { value: count / seconds, lost: 0, doubled: 0 }
  })

const appending = ({ context, extent }: Grown, { size }: Setting): Effect.Effect<Sample, unknown> => {
  let next = 0
  return Effect.gen(function*() {
    const appended: Array<number> = []
    const latencies: Array<number> = []
    const { timestamp } = yield* Journal.append(Cart, { id: "first", events: [item(filler)] })
    const seconds = yield* callers(32, size.seconds, () => {
      const n = next++
      const start = performance.now()
      // neighbours in time are none in an index
      return Effect.map(Journal.append(Cart, { id: `c-${n * 7919 % extent.entities}`, events: [item(n)] }), () => {
        latencies.push(performance.now() - start)
        appended.push(n)
      })
    })
    const found: Array<number> = []
    yield* readPages((page) => {
      for (const { payload } of page) if (payload !== undefined) found.push(parse(payload.bytes).n)
    }, { entityType: Cart.name, start: Offset.since(timestamp) })
    return {
      value: appended.length / seconds,
      ...tally(appended, found.filter((n) => n !== filler)),
      extra: { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) }
    }
  }).pipe(Effect.provideContext(context))
}

/** Reads from one place after the other, each until the end of the journal or for its share of the time. */
const reading = ({ context, places }: Grown, { size }: Setting): Effect.Effect<Sample, unknown> =>
  Effect.gen(function*() {
    const journal = yield* Journal.Journal
    let [count, lost, doubled] = [0, 0, 0]
    const start = performance.now()
    yield* Work.counted(Effect.gen(function*() {
      while (performance.now() < start + size.seconds * 1000) {
        for (const place of places) {
          const end = performance.now() + size.seconds * 1000 / places.length
          yield* Effect.scoped(Effect.gen(function*() {
            const reader = yield* journal.reader(Cart.name, SliceRange.full, place)
            const last = new Float64Array(1024)
            for (const [slice, { position }] of place) last[slice] = position
            while (performance.now() < end) {
              const page = yield* reader.next(pageSize)
              if (page.length === 0) return
              count += page.length
              for (const { position, slice } of page) {
                if (position! > last[slice]! + 1) lost += position! - last[slice]! - 1
                if (position! <= last[slice]!) doubled++
                last[slice] = position!
              }
            }
          }))
        }
      }
    }))
    return { value: count / ((performance.now() - start) / 1000), lost, doubled }
  }).pipe(Effect.provideContext(context))

const shown = (events: number) => `1e${Math.round(Math.log10(events))}`

export const growth: Bench = {
  name: "growth",
  adapters,
  onlyByName: true,
  run: (setting) =>
    Effect.gen(function*() {
      const { scale } = setting.size
      const base = yield* grow(setting, small)
      const baseByHand = setting.size.alone ? undefined : yield* growByHand(setting, small)
      const lines = yield* Effect.forEach(large, ({ entities, events }) =>
        Effect.scoped(Effect.gen(function*() {
          const extent = { events: Math.ceil(events * scale), entities: Math.ceil(entities * scale) }
          const grown = yield* grow(setting, extent)
          const byHand = baseByHand === undefined ? undefined : yield* compare(
            setting,
            { bench: "by hand", unit: "events/s" },
            appendingByHand(yield* growByHand(setting, extent), setting),
            appendingByHand(baseByHand, setting)
          )
          const named = (what: string) => ({ bench: `growth-${what}-${shown(extent.events)}`, unit: "events/s" })
          return [
            {
              ...yield* compare(setting, named("append"), appending(grown, setting), appending(base, setting)),
              ...(byHand === undefined ? {} : { ratioByHand: byHand.ratio, cpuRatioByHand: byHand["cpuRatio"] ?? null })
            },
            yield* compare(setting, named("read"), reading(grown, setting), reading(base, setting))
          ]
        })))
      return lines.flat()
    })
}
