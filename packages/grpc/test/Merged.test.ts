import { assert, layer } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as Wait from "@sluice/testing/Wait"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { remote, shortly } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, carts } from "./kit/Producer.ts"

const makeStorage = Layer.build(Layer.fresh(MemoryStorage.layer))

const Order = EntityType.make("order", { codec: EventCodec.string })

const long = { timeout: "2 minutes" } as const

const name = "merged"
const [eu, us] = [{ projection: name, source: "stream:carts-eu" }, { projection: name, source: "stream:carts-us" }]

const serve = (storage: Context.Context<Journal.Journal>) =>
  Producer.restartable(Layer.provide(carts, Layer.succeedContext(storage)))

/** Two producers of one stream, with storages and ports of their own, and a consumer that has a journal of its own. */
const setStage = Effect.gen(function*() {
  const [euStorage, usStorage, here] = yield* Effect.all([makeStorage, makeStorage, makeStorage])
  const [euProducer, usProducer] = [yield* serve(euStorage), yield* serve(usStorage)]
  const handled: Array<string> = []
  const projection = Source.mergeAll([
    remote(euProducer.port, { name: "carts-eu" }).pipe(Source.map(({ event }) => `eu ${event}`)),
    remote(usProducer.port, { name: "carts-us" }).pipe(
      EventConsumer.filter(EventFilter.passAll.pipe(EventFilter.excludeEntityIds("hidden"))),
      Source.map(({ event }) => `us ${event}`)
    ),
    Source.journal(Order)
  ]).pipe(
    Projection.exactlyOnce(name, (envelope) => Effect.sync(() => void handled.push(shortly(envelope)))),
    Projection.workers(2)
  )
  return {
    eu: { ...euProducer, append: (id: string, event: string) => Effect.provide(append(id, [event]), euStorage) },
    us: { ...usProducer, append: (id: string, event: string) => Effect.provide(append(id, [event]), usStorage) },
    order: (id: string, event: string) => Effect.provide(Journal.append(Order, { id, events: [event] }), here),
    handled,
    here: Effect.provide(here),
    projection,
    start: Effect.provide(Layer.build(Projection.layer(projection)), here)
  }
})

layer(Producer.quiet, { excludeTestServices: true })("a projection of several producers and a journal", (it) => {
  it.effect("handles what the others have while one is away, from the start on, and that once it is back", () =>
    Effect.gen(function*() {
      const { eu: euProducer, handled, here, order, start, us: usProducer } = yield* setStage
      const first = yield* euProducer.append("a", "one")
      yield* usProducer.stop
      yield* start
      // nobody knows yet which of the streams shows it
      yield* here(ProjectionStatus.reached(name, first, long))
      yield* here(ProjectionStatus.reached(name, yield* order("a", "two"), long))
      // entities of the same name are of different producers
      const there = yield* usProducer.append("a", "three")
      assert.deepStrictEqual(handled.splice(0), ["a 1 eu one", "a 1 two"])
      assert.instanceOf(
        yield* Effect.flip(here(ProjectionStatus.reached(name, there, { timeout: "100 millis" }))),
        ProjectionStatus.NotReached
      )
      const statesOf = (key: typeof eu) =>
        Effect.map(ProjectionStatus.status(key), (workers) => workers.map(({ state }) => state))
      yield* ProjectionStatus.caughtUp(eu)
      assert.deepStrictEqual(yield* statesOf(eu), ["Running", "Running"])
      assert.notInclude(yield* statesOf(us), "Running")
      yield* usProducer.start
      yield* here(ProjectionStatus.reached(name, there, long))
      assert.deepStrictEqual(handled.splice(0), ["a 1 us three"])
      // and the other way round, while it runs
      yield* ProjectionStatus.caughtUp(name)
      yield* euProducer.stop
      yield* Wait.until("it to be noticed", Effect.map(statesOf(eu), (states) => !states.includes("Running")))
      const behind = yield* euProducer.append("a", "four")
      yield* here(ProjectionStatus.reached(name, yield* usProducer.append("b", "five"), long))
      yield* here(ProjectionStatus.reached(name, yield* order("b", "six"), long))
      assert.deepStrictEqual(handled.splice(0), ["b 1 us five", "b 1 six"])
      yield* euProducer.start
      yield* here(ProjectionStatus.reached(name, behind, long))
      assert.deepStrictEqual(handled, ["a 2 eu four"])
    }))

  it.effect("filters each stream by itself, also as that changes", () =>
    Effect.gen(function*() {
      const { eu: euProducer, handled, here, start, us: usProducer } = yield* setStage
      yield* start
      const receipts = [
        yield* euProducer.append("hidden", "one"),
        yield* usProducer.append("hidden", "two"),
        yield* usProducer.append("b", "three")
      ]
      const { leftOut } = yield* here(ProjectionStatus.reached(name, receipts, long))
      assert.deepStrictEqual(leftOut, [receipts[1]!])
      assert.sameMembers(handled.splice(0), ["hidden 1 eu one", "b 1 us three"])
      yield* here(ConsumerFilter.update(us, () => EventFilter.passAll, { by: "ada" }))
      yield* here(ProjectionStatus.reached(name, yield* usProducer.append("hidden", "four"), long))
      assert.deepStrictEqual(handled, ["hidden 1 us two", "hidden 2 us four"])
    }))

  it.effect("does not read one stream twice under one name", () =>
    Effect.sync(() => {
      assert.throws(
        () => Source.mergeAll([remote(1), remote(2)]),
        /^Two of the sources to merge have the key 'stream:cart'.*option name of EventConsumer.source/
      )
      assert.throws(() => Source.mergeAll([]), /^There is no source to merge/)
    }))
})
