import { assert, layer } from "@effect/vitest"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { remote } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, Cart, CartEvents, serve } from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"
import { caughtUp, effectsOf, makeStorage, record, run } from "./kit/Recorder.ts"

const State = StateType.make("Cart", { codec: EventCodec.string })

const offered = EventProducer.layer(
  CartEvents,
  Source.fromSnapshots(Cart, State, ({ state }) => `all of ${state}`)
)

const save = (id: string, sequenceNumber: number, state: string) =>
  SnapshotStore.save(State, { id, sequenceNumber, state })

layer(Producer.quiet, { excludeTestServices: true })("a stream that begins at snapshots", (it) => {
  it.effect("is handled exactly once by a projection, and goes on with events", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const port = yield* serve(Layer.provide(offered, Layer.succeedContext(there)))
      yield* Effect.gen(function*() {
        yield* append("a", ["1", "2", "3", "4"])
        yield* append("b", ["1"])
        yield* save("a", 3, "3")
        yield* Journal.deleteEvents(Cart, "a", { to: 3 })
      }).pipe(Effect.provide(there))
      yield* run(remote(port).pipe(Projection.exactlyOnce("restored", record)), here)
      yield* caughtUp("restored")
      yield* Effect.provide(append("a", ["5"]), there)
      yield* caughtUp("restored")
      yield* Effect.gen(function*() {
        assert.deepStrictEqual(yield* effectsOf("a"), ["3 all of 3", "4 4", "5 5"])
        assert.deepStrictEqual(yield* effectsOf("b"), ["1 1"])
      }).pipe(Effect.provide(here))
    }))

  it.effect("has the snapshot of an entity whose earlier events were not selected, before its next event", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const port = yield* serve(Layer.provide(offered, Layer.succeedContext(there)))
      yield* Effect.gen(function*() {
        yield* append("a", ["1", "2", "3"])
        yield* save("a", 2, "2")
      }).pipe(Effect.provide(there))
      const tagged = EventFilter.excludeAll.pipe(EventFilter.includeTags("large"))
      yield* run(
        remote(port).pipe(EventConsumer.filter(tagged), Projection.exactlyOnce("selected", record)),
        here
      )
      yield* caughtUp("selected")
      assert.deepStrictEqual(yield* Effect.provide(effectsOf("a"), here), [])
      yield* Effect.provide(Journal.append(Cart, { id: "a", events: ["4"], tags: ["large"] }), there)
      const seen = Effect.provide(effectsOf("a"), here)
      yield* Wait.until("the event, and what was before it", Effect.map(seen, (seen) => seen.length > 2))
      assert.deepStrictEqual(yield* seen, ["2 all of 2", "3 3", "4 4"])
    }))

  it.effect("is sent to a plain consumer, whichever way it asks", () =>
    Effect.gen(function*() {
      const client = yield* Effect.flatMap(serve(offered), RawClient.client)
      yield* append("a", ["1", "2", "3"])
      yield* save("a", 2, "2")
      const seen = ["a 1 -", "a 2 all of 2", "a 3 3"]
      const call = yield* RawClient.eventsBySlices(client)
      call.send({ case: "init", value: { streamId: "cart", sliceMax: 1023 } })
      const answers = yield* RawClient.newAnswers(call, 3)
      assert.deepStrictEqual(answers.map(RawClient.shortly), seen)
      const entity = yield* RawClient.currentEventsByPersistenceId(client, {
        streamId: "cart",
        persistenceId: PersistenceId.make("Cart", "a"),
        fromSeqNr: 1n,
        toSeqNr: 100n
      })
      yield* RawClient.ended(entity)
      assert.deepStrictEqual(entity.messages.map(RawClient.shortly), seen)
      const { message } = yield* RawClient.loadEvent(client, { streamId: "cart", persistenceId: "Cart|a", seqNr: 2n })
      assert.strictEqual(RawClient.shortly({ message } as any), seen[1])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})
