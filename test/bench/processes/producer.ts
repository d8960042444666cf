/** Our producer, in a process of its own: it offers a journal, in a database or in memory, and appends to it when it is told to. */
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import { freePort } from "@sluice/testing/FreePort"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { idOf, item, Items } from "../events.ts"
import { Cart, load } from "../load.ts"
import { pace } from "../pace.ts"
import { argument, cpu, now, rss, serve } from "../process.ts"
import { storage, type Target } from "../Target.ts"

const { events, target } = argument<{ target?: Target; events?: number }>()

const program = Effect.gen(function*() {
  if (events !== undefined) yield* load(events)
  const port = yield* freePort
  yield* Layer.build(
    EventProducer.layer(Items, Source.journal(Cart)).pipe(Layer.provide(GrpcServer.layer({ port })))
  )
  const run = Effect.runPromiseWith(yield* Effect.context<Journal.Journal>())
  serve({ port }, {
    live: async ({ name, rate, seconds }: { name: string; rate: number; seconds: number }) => {
      const before = cpu()
      const returned = await pace(
        rate,
        seconds,
        (n) => run(Effect.map(Journal.append(Cart, { id: `${name}-${idOf(n)}`, events: [item(n)] }), now))
      )
      return { returned, cpu: cpu() - before }
    },
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
