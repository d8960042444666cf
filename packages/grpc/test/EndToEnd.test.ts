import { assert, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import type { Receipt } from "@sluice/core/Receipt"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as StreamMetrics from "@sluice/grpc/StreamMetrics"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import { remote } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, Cart, CartEvents, carts } from "./kit/Producer.ts"
import { caughtUp, effectsOf, makeStorage, record, run } from "./kit/Recorder.ts"

const ids = Array.from({ length: 16 }, (_, i) => `entity-${i * 7919}`)

/** Another entity type of the same journal. */
const Order = EntityType.make("Order", { codec: EventCodec.string })

const reached = (projection: string, receipt: Receipt) =>
  ProjectionStatus.reached(projection, receipt, { timeout: "1 minute" })

const retyped = (port: number) => remote(port).pipe(Projection.exactlyOnce("retyped", record))

/** Appends the rounds from one number to another, both included: an event for every entity each. */
const writeRounds = (from: number, to: number) =>
  Effect.gen(function*() {
    for (let round = from; round <= to; round++) {
      for (const id of ids) yield* append(id, [`${id} ${round}`])
      // others have their turn
      yield* Effect.yieldNow
    }
  })

const random = (below: number): number => Math.floor(Math.random() * below)

const assertExact = (storage: Context.Context<Journal.Journal>, rounds: number) =>
  Effect.gen(function*() {
    for (const id of ids) {
      assert.deepStrictEqual(
        yield* effectsOf(id),
        Array.from({ length: rounds }, (_, i) => `${i + 1} ${id} ${i + 1}`),
        `events of '${id}' were handled once and in order`
      )
    }
  }).pipe(Effect.provide(storage))

const value = <Input, State>(metric: Metric.Metric<Input, State>) =>
  Metric.value(Metric.withAttributes(metric, { stream: CartEvents.id }))

layer(Producer.quiet, { excludeTestServices: true })("an exactly-once projection of a remote stream", (it) => {
  it.effect("handles every event once and in order while the producer is restarted", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const producer = yield* Producer.restartable(Layer.provide(carts, Layer.succeedContext(there)))
      const projection = remote(producer.port).pipe(
        Projection.exactlyOnce("restarts", record),
        Projection.workers(4)
      )
      yield* run(projection, here)
      const handled = Effect.map(
        ProjectionStatus.status("restarts"),
        (workers) => workers.reduce((sum, { handled }) => sum + handled, 0)
      )
      const [restarts, rounds] = [5, 60]
      for (let n = 0; n < restarts; n++) {
        const from = n * rounds / restarts
        const writing = yield* Effect.forkScoped(Effect.provide(writeRounds(from + 1, from + rounds / restarts), there))
        const behind = (from + rounds / restarts) * ids.length - (yield* handled)
        const until = (yield* handled) + 1 + random(behind - 1)
        yield* Wait.until("some events", Effect.map(handled, (handled) => handled >= until))
        yield* producer.stop
        yield* Fiber.join(writing)
        yield* producer.start
      }
      yield* caughtUp("restarts")
      yield* assertExact(here, rounds)
      const workers = yield* ProjectionStatus.status("restarts")
      assert.lengthOf(workers, 4)
      assert.strictEqual(workers.reduce((sum, { handled }) => sum + handled, 0), rounds * ids.length)
    }))

  it.effect("is counted and measured at both ends", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const producer = yield* Producer.restartable(Layer.provide(carts, Layer.succeedContext(there)))
      yield* Effect.provide(writeRounds(1, 10), there)
      yield* run(remote(producer.port).pipe(Projection.exactlyOnce("measured", record), Projection.workers(2)), here)
      yield* caughtUp("measured")
      yield* producer.stop
      yield* producer.start
      yield* Effect.provide(writeRounds(11, 20), there)
      yield* caughtUp("measured")
      const { count } = yield* value(StreamMetrics.received)
      assert.isAtLeast(count, 20 * ids.length)
      assert.isAtLeast((yield* value(StreamMetrics.sent)).count, count)
      assert.isAtLeast((yield* value(StreamMetrics.reconnects)).count, 2)
      assert.isAbove((yield* value(StreamMetrics.receivedBatch)).max, 1)
      assert.strictEqual((yield* value(StreamMetrics.consumers)).value, 2)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("does so in groups, restarted itself, and with other numbers of workers", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const producer = yield* Producer.restartable(Layer.provide(carts, Layer.succeedContext(there)))
      const rounds = 60
      const writing = yield* Effect.forkScoped(Effect.provide(writeRounds(1, rounds), there))
      let handled = 0
      for (const workers of [4, 1, 7]) {
        const scope = yield* Scope.make()
        const projection = remote(producer.port).pipe(
          Projection.exactlyOnce(
            "groups",
            Handler.grouped({ size: 20, within: "5 millis" }, (envelopes) =>
              Effect.andThen(
                Effect.forEach(envelopes, record, { discard: true }),
                Effect.sync(() => handled += envelopes.length)
              ))
          ),
          Projection.workers(workers)
        )
        yield* Scope.provide(run(projection, here), scope)
        const until = handled + 1 + random(250)
        yield* Wait.until("some events", () => handled >= until)
        yield* producer.stop
        yield* Scope.close(scope, Exit.void)
        yield* producer.start
      }
      yield* Fiber.join(writing)
      yield* run(remote(producer.port).pipe(Projection.exactlyOnce("groups", record), Projection.workers(2)), here)
      yield* caughtUp("groups")
      yield* assertExact(here, rounds)
    }))

  it.effect("catches up with a producer that drops most events, to a lag of 0", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const some = EventProducer.layer(
        CartEvents,
        Source.journal(Cart).pipe(Source.filter(({ event }) => event.endsWith(" 7")))
      )
      const port = yield* Producer.serve(Layer.provide(some, Layer.succeedContext(there)))
      yield* Effect.provide(writeRounds(1, 10), there)
      yield* run(remote(port).pipe(Projection.exactlyOnce("dropped", record), Projection.workers(4)), here)
      yield* caughtUp("dropped")
      for (const id of ids) {
        assert.deepStrictEqual(yield* Effect.provide(effectsOf(id), here), [`7 ${id} 7`])
      }
    }))

  it.effect("is no place to wait for a receipt of another entity type of the same journal", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const port = yield* Producer.serve(Layer.provide(carts, Layer.succeedContext(there)))
      const [cart, order] = yield* Effect.all([
        append("a", ["1"]),
        // whose log has the same number of events
        Journal.append(Order, { id: "a", events: ["1"] })
      ]).pipe(Effect.provide(there))
      yield* run(remote(port).pipe(Projection.exactlyOnce("typed", record)), here)
      yield* Effect.provide(reached("typed", cart), here)
      assert.instanceOf(
        yield* Effect.flip(Effect.provide(reached("typed", order), here)),
        ProjectionStatus.ReceiptNotRead
      )
    }))

  it.effect("stops when its stream is of another entity type now, though the journal is the same", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      yield* Effect.provide(append("a", ["1"]), there)
      yield* Effect.gen(function*() {
        const port = yield* Producer.serve(Layer.provide(carts, Layer.succeedContext(there)))
        yield* run(retyped(port), here)
        yield* caughtUp("retyped")
      }).pipe(Effect.scoped)
      const orders = EventProducer.layer(CartEvents, Source.journal(Order))
      const port = yield* Producer.serve(Layer.provide(orders, Layer.succeedContext(there)))
      yield* run(retyped(port), here)
      const stopped = Effect.map(ProjectionStatus.status("retyped"), ([worker]) => worker!)
      yield* Wait.until("the worker to stop", Effect.map(stopped, ({ state }) => state === "Stopped"))
      const { failure } = yield* stopped
      assert.instanceOf(failure!.cause.reasons.find(Cause.isFailReason)!.error, Journal.JournalReplaced)
    }))

  it.effect("stops, and waits for a person, when the producer's journal was replaced", () =>
    Effect.gen(function*() {
      const [there, other, here] = yield* Effect.all([makeStorage, makeStorage, makeStorage])
      const scope = yield* Scope.make()
      const port = yield* Scope.provide(
        Producer.serve(Layer.provide(carts, Layer.succeedContext(there))),
        scope
      )
      yield* Effect.provide(writeRounds(1, 2), there)
      const projection = remote(port).pipe(Projection.exactlyOnce("replaced", record))
      const first = yield* Scope.make()
      yield* Scope.provide(run(projection, here), first)
      yield* caughtUp("replaced")
      yield* Scope.close(first, Exit.void)
      yield* Scope.close(scope, Exit.void)

      yield* Effect.provide(writeRounds(1, 3), other)
      yield* Producer.serve(Layer.provide(carts, Layer.succeedContext(other)), { port })
      yield* run(projection, here)
      const stopped = Effect.map(ProjectionStatus.status("replaced"), ([worker]) => worker!)
      yield* Wait.until("the worker to stop", Effect.map(stopped, ({ state }) => state === "Stopped"))
      const { failure } = yield* stopped
      assert.instanceOf(failure!.cause.reasons.find(Cause.isFailReason)!.error, Journal.JournalReplaced)
      yield* assertExact(here, 2)
    }))
})
