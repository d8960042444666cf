import { assert, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import type * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as Wait from "@sluice/testing/Wait"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { remote, shortly } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, at, Cart, carts, sliceOf } from "./kit/Producer.ts"

const makeStorage = Layer.build(Layer.fresh(MemoryStorage.layer))

/** What was handled, written in the transaction that moves the offset. */
const Handled = EntityType.make("handled", { codec: EventCodec.string })

const handle = (envelope: Envelope<string>) => Journal.append(Handled, { id: "all", events: [shortly(envelope)] })

const handledOf = (storage: Context.Context<Journal.Journal>) =>
  Stream.runCollect(Journal.read(Handled, "all")).pipe(
    Effect.map((envelopes) => envelopes.map(({ event }) => event)),
    Effect.provide(storage)
  )

const ids = ["a", "b", "c", "d", "e", "f"]

/** Runs the projection until it has caught up. */
const run = (
  port: number,
  storage: Context.Context<any>,
  onReplaced: EventConsumer.Options["onReplaced"],
  workers = 3
) =>
  Effect.gen(function*() {
    const projection = remote(port, { onReplaced }).pipe(
      Projection.exactlyOnce("replaced", handle),
      Projection.workers(workers)
    )
    yield* Layer.build(Projection.layer(projection)).pipe(Effect.provide(storage))
    yield* caughtUp
    return projection
  })

const caughtUp = Wait.until(
  "the projection to catch up",
  Effect.gen(function*() {
    const workers = yield* ProjectionStatus.status("replaced")
    const lag = yield* Effect.option(ProjectionStatus.lag("replaced"))
    return lag._tag === "Some" && lag.value === 0 && workers.every(({ state }) => state === "Running")
  })
)

const serve = (storage: Context.Context<any>, port = 0) =>
  Producer.serve(Layer.provide(carts, Layer.succeedContext(storage)), { port })

const writeTo = (storage: Context.Context<any>, prefix: string) =>
  Effect.forEach(ids, (id) => append(id, [`${prefix} ${id}`])).pipe(Effect.provide(storage))

const sorted = (texts: ReadonlyArray<string>) => texts.toSorted()

layer(Producer.quiet, { excludeTestServices: true })(
  "a projection that begins again where the journal is replaced",
  (it) => {
    it.effect("handles everything of the new journal, once", () =>
      Effect.gen(function*() {
        const [there, other, here] = yield* Effect.all([makeStorage, makeStorage, makeStorage])
        yield* writeTo(there, "old")
        const scope = yield* Scope.make()
        const port = yield* Scope.provide(serve(there), scope)
        const running = yield* Scope.make()
        yield* Scope.provide(run(port, here, "rewind"), running)
        yield* Scope.close(running, Exit.void)
        yield* Scope.close(scope, Exit.void)

        yield* writeTo(other, "new")
        yield* writeTo(other, "newer")
        yield* serve(other, port)
        const projection = yield* run(port, here, "rewind")
        assert.deepStrictEqual(
          sorted((yield* handledOf(here)).slice(ids.length)),
          sorted(ids.flatMap((id) => [
            `${id} 1 new ${id}`,
            `${id} 2 newer ${id}`
          ]))
        )
        const store = yield* Effect.provide(OffsetStore, here)
        const { journal } = yield* store.load(Projection.offsetKey(projection), SliceRange.full)
        assert.strictEqual(journal, `${(yield* Effect.provide(Journal.Journal, other)).identity}/events/Cart`)
        // and again from where it is now
        yield* writeTo(other, "newest")
        yield* Wait.until("the rest", Effect.map(handledOf(here), (handled) => handled.length === 4 * ids.length))
      }))

    it.effect("does so while it is running", () =>
      Effect.gen(function*() {
        const [there, other, here] = yield* Effect.all([makeStorage, makeStorage, makeStorage])
        yield* writeTo(there, "old")
        yield* writeTo(other, "new")
        const scope = yield* Scope.make()
        const port = yield* Scope.provide(serve(there), scope)
        yield* run(port, here, "rewind")
        yield* Scope.close(scope, Exit.void)
        yield* serve(other, port)
        yield* Wait.until("the rest", Effect.map(handledOf(here), (handled) => handled.length === 2 * ids.length))
        assert.deepStrictEqual(
          sorted((yield* handledOf(here)).slice(ids.length)),
          sorted(ids.map((id) => `${id} 1 new ${id}`))
        )
      }))

    it.effect("leaves alone what has begun again already, with other workers than those that began", () =>
      Effect.gen(function*() {
        const [there, other, here] = yield* Effect.all([makeStorage, makeStorage, makeStorage])
        yield* writeTo(there, "old")
        yield* writeTo(other, "new")
        const scope = yield* Scope.make()
        const port = yield* Scope.provide(serve(there), scope)
        const running = yield* Scope.make()
        const projection = yield* Scope.provide(run(port, here, "rewind"), running)
        yield* Scope.close(running, Exit.void)
        yield* Scope.close(scope, Exit.void)
        // as a worker of only some slices has left it
        const store = yield* Effect.provide(OffsetStore, here)
        const key = Projection.offsetKey(projection)
        const slice = sliceOf("a") as any
        const { offsets, revision } = yield* store.load(key, SliceRange.make(slice, slice))
        const { heads, identity } = yield* Effect.provide(Journal.Journal, other)
        const to = (yield* heads("Cart", SliceRange.full)).get(slice)!
        const basis = { journal: identity, revision: revision! }
        yield* store.transact(key, basis, [{ slice, from: offsets.get(slice), to }], Effect.void)

        yield* serve(other, port)
        yield* run(port, here, "rewind", 1)
        assert.deepStrictEqual(
          sorted((yield* handledOf(here)).slice(ids.length)),
          sorted(ids.slice(1).map((id) => `${id} 1 new ${id}`))
        )
      }))

    it.effect("reads the logs again that have lost events, and no others", () =>
      Effect.gen(function*() {
        const [there, here] = yield* Effect.all([makeStorage, makeStorage])
        yield* writeTo(there, "old")
        const port = yield* serve(there)
        const running = yield* Scope.make()
        const projection = yield* Scope.provide(run(port, here, "rewind"), running)
        yield* Scope.close(running, Exit.void)
        // offsets that were taken at events that are not there
        const store = yield* Effect.provide(OffsetStore, here)
        const key = Projection.offsetKey(projection)
        const { journal, offsets, revision } = yield* store.load(key, SliceRange.full)
        const moves = ["a", "b"].map((id) => sliceOf(id) as any).toSorted((a, b) => a - b).map((slice) => ({
          slice,
          from: offsets.get(slice),
          to: Offset.make(7, 12_345)
        }))
        yield* store.transact(key, { journal: journal!, revision: revision! }, moves, Effect.void)
        yield* run(port, here, "rewind", 1)
        const handled = yield* handledOf(here)
        assert.deepStrictEqual(sorted(handled.slice(ids.length)), ["a 1 old a", "b 1 old b"])
      }))

    it.effect("goes on with what is left where events were deleted, also from the beginning, to a lag of 0", () =>
      Effect.gen(function*() {
        const [there, here] = yield* Effect.all([makeStorage, makeStorage])
        for (const millis of [1000, 2000, 3000]) {
          yield* at(millis)(Effect.provide(append("a", [`${millis}`]), there))
        }
        yield* Effect.provide(Journal.prune(Cart, { before: 3_000_000 as any }), there)
        const port = yield* serve(there)
        yield* run(port, here, "rewind")
        assert.deepStrictEqual(yield* handledOf(here), ["a 3 3000"])
      }))

    it.effect("stops for a person unless it is told to", () =>
      Effect.gen(function*() {
        const [there, here] = yield* Effect.all([makeStorage, makeStorage])
        for (const millis of [1000, 2000, 3000]) {
          yield* at(millis)(Effect.provide(append("a", [`${millis}`]), there))
        }
        yield* Effect.provide(Journal.prune(Cart, { before: 3_000_000 as any }), there)
        const port = yield* serve(there)
        const projection = remote(port, { onReplaced: "fail" }).pipe(Projection.exactlyOnce("stops", handle))
        yield* Layer.build(Projection.layer(projection)).pipe(Effect.provide(here))
        yield* Wait.until(
          "the projection to stop",
          Effect.map(ProjectionStatus.status("stops"), ([worker]) => worker?.state === "Stopped")
        )
      }))
  }
)
