/** Our consumer, in a process of its own: into nothing, or into a table, exactly once. */
import * as EventFilter from "@sluice/core/EventFilter"
import * as Handler from "@sluice/core/Handler"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { counting, countTable } from "../benches/exactlyOnce.ts"
import { Items, Seen } from "../events.ts"
import { rareBefore } from "../load.ts"
import { argument, now, rss, serve } from "../process.ts"
import { storage, type Target } from "../Target.ts"

const { port, sink, tag, total } = argument<{ port: number; sink?: Target; total: number; tag?: string }>()
const stream = EventConsumer.source(Items, { address: `127.0.0.1:${port}` })
const source = tag === undefined
  ? stream
  : stream.pipe(EventConsumer.filter(EventFilter.excludeAll.pipe(EventFilter.includeTags(tag))))
const numberOf = tag === undefined ? (n: number) => n : rareBefore
const groups = { size: 500, within: "10 millis" } as const

/** Until it has caught up. */
const catchUp = <E, R>(projection: Projection.Projection<E, R>) =>
  Effect.scoped(Effect.andThen(Layer.build(Projection.layer(projection)), ProjectionStatus.caughtUp(projection.name)))

const projectionOf = (name: string, isGrouped: boolean, seen: Seen) => {
  if (sink !== undefined) {
    const count = counting(sink.adapter, countTable(sink.adapter, sink.schema))
    const handle = (envelopes: Parameters<typeof count>[0]) => {
      for (const { event } of envelopes) seen.see(numberOf(event.n))
      return count(envelopes)
    }
    return source.pipe(Projection.exactlyOnce(
      name,
      isGrouped ? Handler.grouped(groups, handle) : (envelope) => handle([envelope])
    ))
  }
  return source.pipe(Projection.atLeastOnce(
    name,
    isGrouped
      ? Handler.grouped(groups, (envelopes) =>
        Effect.sync(() => {
          for (const { event } of envelopes) seen.see(numberOf(event.n))
        }))
      : ({ event }) => Effect.sync(() => seen.see(numberOf(event.n)))
  ))
}

const program = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const run = Effect.runPromiseWith(yield* Effect.context<any>())
  const build = (projection: Projection.Projection<unknown, any>) =>
    run(Scope.provide(Layer.build(Projection.layer(projection)), scope))
  const arrivals: Array<Array<readonly [number, number]>> = []
  const watch = async () => {
    const seen: Array<readonly [number, number]> = []
    const name = `watch${arrivals.push(seen)}`
    await build(source.pipe(
      Projection.atLeastOnce(name, ({ event }) => Effect.sync(() => void seen.push([event.n, now()])))
    ))
    await run(ProjectionStatus.caughtUp(name))
  }
  serve({}, {
    catchUp: async ({ isGrouped, name }: { name: string; isGrouped: boolean }) => {
      const seen = new Seen(total)
      const start = performance.now()
      await run(catchUp(projectionOf(name, isGrouped, seen) as Projection.Projection<unknown, any>))
      // into nothing it has caught up when all are handled, and later stores that it has
      const end = sink === undefined ? seen.at : performance.now()
      return { value: total / ((end - start) / 1000), ...seen.counts }
    },
    watch: async ({ consumers }: { consumers: number }) => {
      // all at once, they would all wait for each other
      for (let left = consumers; left > 0; left -= 10) {
        await Promise.all(Array.from({ length: Math.min(10, left) }, watch))
      }
    },
    arrivals: async () => arrivals.map((each) => each.splice(0)),
    follow: async () => {
      await build(projectionOf("follow", true, new Seen(0)))
    },
    followed: () => run(ProjectionStatus.caughtUp("follow")),
    rss: async () => rss()
  })
  return yield* Effect.never
})

await Effect.runPromise(
  program.pipe(
    Effect.scoped,
    Effect.provide(sink === undefined ? MemoryStorage.layer : storage(sink))
  ) as Effect.Effect<never, unknown>
)
