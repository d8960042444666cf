/**
 * Emmett on PostgreSQL does the same. Its consumer reads its journal, calls a handler that does nothing per event, and stores its position in
 * the same database; so does ours. `catch-up-vs-emmett` is both as fast as they are known to go, ours with a handler of groups, which a reactor
 * there does not have; `-each` is ours per event; `-default` is both as they come. Live, its consumer is in the process that appends, and
 * ours in another one, at the end of a stream over gRPC.
 */
import type { PostgresEventStore, PostgreSQLEventStoreConsumerConfig } from "@event-driven-io/emmett-postgresql"
import * as Handler from "@sluice/core/Handler"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { once } from "../baseline/postgres.ts"
import { type Bench, quantile } from "../Bench.ts"
import { fields, Seen, tally } from "../events.ts"
import { database, versus } from "../foreign.ts"
import { Cart, load } from "../load.ts"
import { pace } from "../pace.ts"
import { now } from "../process.ts"
import { connect, storage, type Target } from "../Target.ts"
import * as append from "./append.ts"
import * as live from "./live.ts"

const adapters = ["postgres"] as const

/** A store with its tables made. */
const open = Effect.fnUntraced(function*(target: Target) {
  const url = yield* database(target)
  const store = yield* Effect.acquireRelease(
    Effect.tryPromise(async () => {
      // only who compares with it waits for its modules
      const { getPostgreSQLEventStore } = await import("@event-driven-io/emmett-postgresql")
      const store = getPostgreSQLEventStore(url)
      await store.schema.migrate()
      return store
    }),
    (store) => Effect.promise(() => store.close())
  )
  return { store, url }
})

const event = (n: number) => ({ type: "ItemAdded" as const, data: fields(n) })

export const emmettAppend: Bench = {
  name: "vs-emmett-append",
  adapters,
  notQuick: true,
  run: (setting) =>
    Effect.gen(function*() {
      const { store, url } = yield* open(yield* setting.place)
      let run = 0
      const theirs = (options: append.Options) =>
        Effect.suspend(() => {
          const name = `their${run++}`
          return append.promises(
            options,
            setting,
            (n) =>
              store.appendToStream(
                `${name}-${append.idAt(n, options.size)}`,
                append.numbersOf(n, options.size).map(event)
              ),
            (appended) =>
              Effect.map(
                Effect.promise(() =>
                  once(url, `SELECT message_data->'n' AS n FROM emt_messages WHERE starts_with(stream_id, '${name}-')`)
                ),
                (rows) => tally(appended.flatMap((n) => append.numbersOf(n, options.size)), rows.map(({ n }) => n))
              )
          )
        })
      return yield* Effect.forEach(
        [
          { bench: "append-32-vs-emmett", callers: 32, size: 1 },
          { bench: "append-512-vs-emmett", callers: 512, size: 1 },
          { bench: "append-batch-vs-emmett", callers: 4, size: 100 }
        ],
        (options) =>
          Effect.gen(function*() {
            const target = yield* setting.place
            const ours = append.ours(options, setting, yield* connect(target))
            const naming = { bench: options.bench, unit: "events/s" }
            return yield* versus(setting, "emmett", naming, ours, theirs(options)).pipe(Effect.provide(storage(target)))
          })
      )
    })
}

/** A consumer from the beginning, until the scope ends. */
const consume = (
  store: PostgresEventStore,
  config: PostgreSQLEventStoreConsumerConfig,
  handle: (n: number) => void
) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const consumer = store.consumer<ReturnType<typeof event>>(config as {})
      consumer.reactor<ReturnType<typeof event>>({
        processorId: crypto.randomUUID(),
        startFrom: "BEGINNING",
        eachMessage: ({ data }) => handle(data.n)
      })
      return { consumer, ended: consumer.start() }
    }),
    ({ consumer }) => Effect.promise(() => consumer.stop())
  )

export const emmettCatchUp: Bench = {
  name: "vs-emmett-catch-up",
  adapters,
  notQuick: true,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      const total = Math.ceil(100_000 * setting.size.scale)
      const theirTotal = Math.ceil(10_000 * setting.size.scale)
      const { store } = yield* open(target)
      yield* Effect.forEach(
        Array.from({ length: theirTotal / 5 }, (_, i) => i),
        (i) => Effect.promise(() => store.appendToStream(`cart-${i}`, append.numbersOf(i, 5).map(event))),
        { concurrency: 8, discard: true }
      )
      const theirs = (pulling: NonNullable<PostgreSQLEventStoreConsumerConfig["pulling"]>) =>
        Effect.scoped(Effect.gen(function*() {
          const seen = new Seen(theirTotal)
          const start = performance.now()
          let last = start
          let count = 0
          const { ended } = yield* consume(store, { pulling, stopWhen: { noMessagesLeft: true } }, (n) => {
            seen.see(n)
            count++
            last = performance.now()
          })
          yield* Effect.promise(() => ended)
          return { value: count / ((last - start) / 1000), ...seen.counts }
        }))
      return yield* Effect.gen(function*() {
        yield* load(total)
        let run = 0
        const ours = (isGrouped: boolean) =>
          Effect.scoped(Effect.gen(function*() {
            const seen = new Seen(total)
            const start = performance.now()
            const projection = Source.journal(Cart).pipe(Projection.atLeastOnce(
              `p${run++}`,
              isGrouped
                ? Handler.grouped({ size: 500, within: "10 millis" }, (envelopes) =>
                  Effect.sync(() => {
                    for (const { event } of envelopes) seen.see(event.n)
                  }))
                : ({ event }) => Effect.sync(() => seen.see(event.n))
            ))
            yield* Layer.build(Projection.layer(projection))
            yield* ProjectionStatus.caughtUp(projection.name)
            return { value: total / ((seen.at - start) / 1000), ...seen.counts }
          }))
        const tuned = theirs({ batchSize: 1000, pullingFrequencyInMs: 0 })
        return [
          yield* versus(setting, "emmett", { bench: "catch-up-vs-emmett", unit: "events/s" }, ours(true), tuned),
          yield* versus(setting, "emmett", { bench: "catch-up-vs-emmett-each", unit: "events/s" }, ours(false), tuned),
          yield* versus(
            setting,
            "emmett",
            { bench: "catch-up-vs-emmett-default", unit: "events/s" },
            ours(false),
            theirs({})
          )
        ]
      }).pipe(Effect.provide(storage(target)))
    })
}

export const emmettLive: Bench = {
  name: "vs-emmett-live",
  adapters,
  notQuick: true,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      yield* load(5).pipe(Effect.provide(storage(target)))
      const ours = live.sampling(yield* live.pair("processes", target, 1), setting.size.seconds)
      const { store } = yield* open(target)
      const seen = new Map<number, number>()
      const doubled: Array<number> = []
      yield* consume(store, {}, (n) => seen.has(n) ? void doubled.push(n) : void seen.set(n, now()))
      let next = 0
      const theirs = Effect.gen(function*() {
        const first = next
        const returned = yield* Effect.promise(() =>
          pace(50, setting.size.seconds * 1.5, async () => {
            const n = next++
            await store.appendToStream(`cart-${n}`, [event(n)])
            return [n, now()] as const
          })
        )
        const arrived = () => returned.flatMap(([n, at]) => seen.has(n) ? [Math.max(0, seen.get(n)! - at)] : [])
        // what is late counts, and what does not come is lost
        for (let waited = 0; arrived().length < returned.length && waited < 5000; waited += 50) yield* Effect.sleep(50)
        const latencies = arrived()
        const p50 = quantile(latencies, 0.5)
        return {
          value: p50,
          lost: returned.length - latencies.length,
          doubled: doubled.filter((n) => n >= first).length,
          extra: { p50, p99: quantile(latencies, 0.99) }
        }
      })
      const naming = { bench: "live-50-vs-emmett", unit: "ms", better: "lower" as const }
      return [yield* versus(setting, "emmett", naming, ours(50), theirs)]
    })
}
