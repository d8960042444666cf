/** Our producer, in a process of its own: it offers a journal, in a database or in memory, and appends to it when it is told to. */
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import { freePort } from "@sluice/testing/FreePort"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { idOf, item, Items, pastOf } from "../events.ts"
import { Cart, load } from "../load.ts"
import { type LiveOptions, pace } from "../pace.ts"
import { argument, cpu, now, rss, serve } from "../process.ts"
import { storage, type Target } from "../Target.ts"

const { events, tag, target } = argument<{ target?: Target; events?: number; tag?: string }>()
const tags = tag === undefined ? [] : [tag]

const program = Effect.gen(function*() {
  if (events !== undefined) yield* load(events)
  const port = yield* freePort
  yield* Layer.build(
    EventProducer.layer(Items, Source.journal(Cart)).pipe(Layer.provide(GrpcServer.layer({ port })))
  )
  const run = Effect.runPromiseWith(yield* Effect.context<Journal.Journal>())
  serve({ port }, {
    sleep: async ({ name, waking }: { name: string; waking: number }) => {
      await run(Effect.forEach(
        Array.from({ length: waking }, (_, n) => n),
        (n) => {
          const [first, ...rest] = pastOf(n).slice(0, -1).map(item)
          return Journal.append(Cart, { id: `${name}-past-${n}`, events: [first!, ...rest] })
        },
        { concurrency: 64, discard: true }
      ))
    },
    live: async ({ name, rate, seconds, waking }: LiveOptions) => {
      const before = cpu()
      const woken = pace(
        waking / seconds,
        seconds,
        (n) => run(Journal.append(Cart, { id: `${name}-past-${n}`, events: [item(pastOf(n).at(-1)!)], tags }))
      )
      const returned = await pace(
        rate,
        seconds,
        (n) => run(Effect.map(Journal.append(Cart, { id: `${name}-${idOf(n)}`, events: [item(n)], tags }), now))
      )
      await woken
      return { returned, cpu: cpu() - before }
    },
    append: ({ id, n }: { id: string; n: number }) =>
      run(Effect.asVoid(Journal.append(Cart, { id, events: [item(n)] }))),
    rss: async () => rss()
  })
  return yield* Effect.never
})

await Effect.runPromise(
  program.pipe(
    Effect.scoped,
    Effect.provide(target === undefined ? MemoryStorage.layer : storage(target))
  )
)
