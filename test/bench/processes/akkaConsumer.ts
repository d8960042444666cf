/** A projection of the stream of an Akka producer, whose handler does nothing: its offsets are in memory, or where it is told. */
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Handler from "@sluice/core/Handler"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Arrived } from "../Arrived.ts"
import { argument, cpu, serve } from "../process.ts"
import { storage, type Target } from "../Target.ts"

const { port, sink, total } = argument<{ port: number; sink?: Target; total: number }>()
const source = EventConsumer.source(EventStream.make("cart", { codec: EventCodec.string }), {
  address: `127.0.0.1:${port}`
})

const consume = (name: string, isExactlyOnce: boolean) =>
  Effect.gen(function*() {
    const arrived = new Arrived(total)
    let groups = 0
    const done = yield* Deferred.make<void>()
    const handler = Handler.grouped({ size: 500, within: "10 millis" }, (envelopes) =>
      Effect.sync(() => {
        groups++
        for (const { persistenceId, sequenceNumber } of envelopes) {
          if (arrived.see(persistenceId, sequenceNumber)) Deferred.doneUnsafe(done, Effect.void)
        }
      }))
    const start = performance.now()
    const worked = cpu()
    const projection = isExactlyOnce
      ? Projection.exactlyOnce(name, handler)(source)
      : Projection.atLeastOnce(name, handler)(source)
    yield* Layer.build(Projection.layer(projection as Projection.Projection<unknown, any>))
    yield* Deferred.await(done)
    const extra = { cpuMicrosPerEvent: (cpu() - worked) / total, eventsPerGroup: total / groups }
    return { value: total / ((performance.now() - start) / 1000), ...arrived.counts, extra }
  }).pipe(Effect.scoped)

const program = Effect.gen(function*() {
  const run = Effect.runPromiseWith(yield* Effect.context<any>())
  serve({}, {
    read: ({ isExactlyOnce, name }: { name: string; isExactlyOnce: boolean }) => run(consume(name, isExactlyOnce))
  })
  return yield* Effect.never
})

await Effect.runPromise(
  program.pipe(
    Effect.scoped,
    Effect.provide(sink === undefined ? MemoryStorage.layer : storage(sink))
  ) as Effect.Effect<never, unknown>
)
