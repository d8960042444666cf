import { assert, layer } from "@effect/vitest"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import { type Handled, OffsetStore } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Verification from "@sluice/core/Verification"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as Wait from "@sluice/testing/Wait"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as AkkaProducer from "./kit/AkkaProducer.ts"
import { remote } from "./kit/Consumer.ts"
import { Cart, CartEvents, carts, quiet, serve } from "./kit/Producer.ts"
import { caughtUp, effectsOf, makeStorage, record, run } from "./kit/Recorder.ts"

const append = (id: string, events: NonEmptyReadonlyArray<string>, ...tags: ReadonlyArray<string>) =>
  Journal.append(Cart, { id, events, tags })

const withoutTests = EventFilter.passAll.pipe(EventFilter.excludeTags("test"))

/** Moves all offsets to the newest events, as a worker that has lost those. */
const goPast = (
  projection: Projection.Projection<any, any>,
  producer: Context.Context<Journal.Journal>,
  handled?: ReadonlyMap<Slice.Slice, ReadonlyMap<PersistenceId.PersistenceId, Handled>>
) =>
  Effect.gen(function*() {
    const store = yield* OffsetStore
    const key = Projection.offsetKey(projection)
    const { completeUpTo, journal, offsets, revision } = yield* store.load(key, SliceRange.full)
    const heads = yield* Effect.provide(
      Journal.Journal.use((journal) => journal.heads(Cart.name, SliceRange.full)),
      producer
    )
    const moves = Array.from(heads, ([slice, to]) => ({
      slice,
      from: offsets.get(slice),
      to,
      entities: handled?.get(slice) ?? (completeUpTo.has(slice) ? new Map() : undefined)
    }))
    yield* store.transact(key, { journal: journal ?? "", revision: revision! }, moves, Effect.void)
  })

/** A producer that keeps some events to itself. */
const publicOf = <E, R>(source: Source.Source<string, E, R>) =>
  serve(EventProducer.layer(CartEvents, source.pipe(Source.filter(({ event }) => event !== "secret"))))

const verify = (projection: Projection.Projection<any, any>, options?: Verification.Options) =>
  Effect.map(Verification.verify(projection, options), ([report]) => report!)

layer(quiet, { excludeTestServices: true, timeout: 120_000 })("a projection of a stream that is verified", (it) => {
  it.effect("is given what is missing of what its consumer may see, and nothing else", () =>
    Effect.gen(function*() {
      const producer = yield* makeStorage
      const storage = yield* makeStorage
      const select = EventFilter.passAll.pipe(EventFilter.excludeTags("secret"))
      const port = yield* Effect.provide(
        serve(EventProducer.layer(CartEvents, Source.journal(Cart).pipe(Source.filter(() => true)), { select })),
        producer
      )
      const projection = remote(port).pipe(
        EventConsumer.filter(withoutTests),
        Projection.exactlyOnce("verified", record)
      )
      yield* Effect.provide(append("a", ["1"], "test"), producer)
      yield* Effect.provide(append("a", ["2"]), producer)
      yield* Effect.scoped(Effect.andThen(run(projection, storage), caughtUp("verified")))
      yield* Effect.provide(append("a", ["3", "4"]), producer)
      yield* Effect.provide(append("a", ["5"], "secret"), producer)
      yield* Effect.provide(append("a", ["6"], "test"), producer)
      yield* Effect.provide(goPast(projection, producer), storage)
      const before = yield* Effect.provide(verify(projection, { by: "ada", repair: true }), storage)
      assert.deepStrictEqual({ ...before.counts }, {
        proven: 0,
        handled: 1,
        leftOut: 3,
        deleted: 0,
        jumped: 0,
        pending: 0,
        missing: 2,
        unshown: 0
      })
      assert.deepStrictEqual(
        before.differences.map((one) => one._tag === "Missing" ? [one.persistenceId as string, one.from, one.to] : []),
        [["Cart|a", 3, 4]] as any
      )
      yield* Effect.scoped(Effect.gen(function*() {
        yield* run(projection, storage)
        yield* Effect.provide(append("b", ["1"]), producer)
        yield* caughtUp("verified")
        yield* Effect.repeat(Effect.provide(verify(projection), storage), {
          until: ({ counts }) => counts.pending === 0 && counts.missing === 0
        })
      }))
      assert.deepStrictEqual(yield* Effect.provide(effectsOf("a"), storage), ["1 1", "2 2", "3 3", "4 4"])
    }))

  it.effect("is ahead of a producer whose journal lacks what it has handled", () =>
    Effect.gen(function*() {
      const producer = yield* makeStorage
      const storage = yield* makeStorage
      const port = yield* Effect.provide(serve(carts), producer)
      const projection = remote(port).pipe(Projection.exactlyOnce("ahead", record))
      yield* Effect.provide(append("a", ["1", "2"]), producer)
      yield* Effect.provide(append("b", ["1", "2"]), producer)
      yield* Effect.scoped(Effect.andThen(run(projection, storage), caughtUp("ahead")))
      yield* Effect.gen(function*() {
        const store = yield* OffsetStore
        const key = Projection.offsetKey(projection)
        const { journal, offsets, revision } = yield* store.load(key, SliceRange.full)
        const moves = Array.from(offsets, ([slice, from], i) => ({
          slice,
          from,
          to: { position: from.position + i, timestamp: from.timestamp + 1 } as typeof from
        }))
        yield* store.transact(key, { journal: journal!, revision: revision! }, moves, Effect.void)
      }).pipe(Effect.provide(storage))
      const { counts, differences } = yield* Effect.provide(verify(projection), storage)
      assert.deepStrictEqual(differences.map(({ _tag }) => _tag), ["Ahead", "Ahead"])
      assert.strictEqual(counts.proven, 0)
    }))

  it.effect("cannot be, of a producer without positions", () =>
    Effect.gen(function*() {
      const akka = yield* AkkaProducer.make()
      const storage = yield* makeStorage
      akka.append("a", 2)
      const projection = remote(akka.network.port).pipe(Projection.atLeastOnce("plain", record))
      yield* Effect.provide(
        ProjectionManagement.ProjectionManagement.use((management) =>
          management.register(Projection.offsetKey(projection))
        ),
        storage
      )
      const fails = Effect.provide(Effect.flip(verify(projection)), storage)
      assert.instanceOf(yield* fails, Verification.VerificationUnsupported, "it is not known yet that it has none")
      yield* run(projection, storage)
      yield* Wait.until("the events", Effect.map(Effect.provide(effectsOf("a"), storage), ({ length }) => length === 2))
      assert.instanceOf(yield* fails, Verification.VerificationUnsupported)
    }))

  it.effect("is shown no payloads for that, and of what the producer drops no more than without, also where that passes a stream on", () =>
    Effect.gen(function*() {
      const producer = yield* makeStorage
      const first = yield* Effect.provide(serve(carts), producer)
      yield* Effect.provide(
        Journal.append(Cart, {
          id: "a",
          events: ["x".repeat(1000), "secret"],
          tags: ["large"],
          metadata: { by: "ada" }
        }),
        producer
      )
      const sources = [Effect.provide(publicOf(Source.journal(Cart)), producer), publicOf(remote(first))]
      for (const served of sources) {
        const port = yield* served
        const shown = Effect.fnUntraced(function*(placesOnly: boolean) {
          const start = { journal: undefined, offsets: new Map(), placesOnly }
          const { envelopes } = yield* remote(port).provider.open(SliceRange.full, start)
          return (yield* Stream.runCollect(Stream.take(envelopes, 2))) as ReadonlyArray<EncodedEnvelope>
        })
        const [place, dropped] = yield* shown(true)
        assert.deepStrictEqual([place!.persistenceId, place!.tags, place!.metadata], ["Cart|a", ["large"], {
          by: "ada"
        }])
        assert.strictEqual(place!.payload!.bytes.length, 0)
        assert.deepStrictEqual(dropped, (yield* shown(false))[1])
        assert.deepStrictEqual([dropped!.payload, dropped!.tags, dropped!.metadata], [undefined, [], {}])
      }
    }).pipe(Effect.scoped))

  it.effect("misses nothing that the producer drops", () =>
    Effect.gen(function*() {
      const producer = yield* makeStorage
      const storage = yield* makeStorage
      const port = yield* Effect.provide(
        serve(
          EventProducer.layer(CartEvents, Source.journal(Cart).pipe(Source.filter(({ event }) => event !== "secret")))
        ),
        producer
      )
      const projection = remote(port).pipe(Projection.exactlyOnce("verified", record))
      yield* Effect.provide(append("a", ["1"]), producer)
      yield* Effect.scoped(Effect.andThen(run(projection, storage), caughtUp("verified")))
      yield* Effect.provide(append("b", ["secret", "2"]), producer)
      const { slice } = yield* Effect.provide(append("c", ["secret", "secret"]), producer)
      const b = Slice.ofPersistenceId(PersistenceId.make(Cart.name, "b"))
      yield* Effect.provide(
        goPast(projection, producer, new Map([slice, b].map((slice) => [slice, new Map()]))),
        storage
      )
      const { differences } = yield* Effect.provide(verify(projection), storage)
      assert.deepStrictEqual(
        differences.map((one) => one._tag === "Missing" ? [one.persistenceId as string, one.from, one.to] : []),
        [["Cart|b", 2, 2]] as any
      )
    }).pipe(Effect.scoped))

  it.effect("may have 100,000 entities", () =>
    Effect.gen(function*() {
      const producer = yield* makeStorage
      const storage = yield* makeStorage
      const port = yield* Effect.provide(serve(carts), producer)
      const projection = remote(port).pipe(Projection.exactlyOnce("many", () => Effect.void))
      const many = 100_000
      const handled = new Map<Slice.Slice, Map<PersistenceId.PersistenceId, Handled>>()
      yield* Effect.gen(function*() {
        const { transaction } = yield* Journal.Journal
        for (let i = 0; i < many; i += 100) {
          yield* transaction(Effect.forEach(
            Array.from({ length: 100 }, (_, n) => i + n),
            (n) =>
              Effect.map(append(`c-${n}`, ["1"]), ({ persistenceId, sequenceNumber, slice }) => {
                const entities = handled.get(slice) ?? new Map()
                if (n % 2 === 0) entities.set(persistenceId, { first: sequenceNumber, last: sequenceNumber })
                handled.set(slice, entities)
              })
          ))
        }
      }).pipe(Effect.provide(producer))
      yield* Effect.gen(function*() {
        yield* ProjectionManagement.ProjectionManagement.use((management) =>
          management.register(Projection.offsetKey(projection))
        )
        yield* goPast(projection, producer, handled)
        const { counts, differences, hasMore } = yield* verify(projection, { limit: 10 })
        assert.deepStrictEqual([counts.proven, counts.handled, counts.missing], [0, many / 2, many / 2])
        assert.deepStrictEqual([differences.length, hasMore], [10, true])
      }).pipe(Effect.provide(storage))
    }))
})
