import { assert, layer } from "@effect/vitest"
import type { Envelope, Place } from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Source from "@sluice/core/Source"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import type { Visible } from "@sluice/grpc/Visibility"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { remote, shortly } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, Cart, CartEvents, carts } from "./kit/Producer.ts"
import { caughtUp, makeStorage, run } from "./kit/Recorder.ts"

type Handle = (envelope: Envelope<string>) => Effect.Effect<void, string>

const deliveries = {
  "exactly once": (handle: Handle) => Projection.exactlyOnce("aside", handle),
  "at least once": (handle: Handle) => Projection.atLeastOnce("aside", handle),
  "at least once, at the same time": (handle: Handle) => Projection.atLeastOnce("aside", handle, { parallelism: 3 })
}

layer(Producer.quiet, { excludeTestServices: true })("dead letters of another service's stream", (it) => {
  for (const [name, deliver] of Object.entries(deliveries)) {
    it.effect(`have the later events of their entities wait: ${name}`, () =>
      Effect.gen(function*() {
        const [there, here] = yield* Effect.all([makeStorage, makeStorage])
        const port = yield* Producer.serve(Layer.provide(carts, Layer.succeedContext(there)))
        const handled: Array<string> = []
        let broken = 2
        const projection = remote(port).pipe(
          deliver((envelope) =>
            envelope.sequenceNumber === broken
              ? Effect.fail("broken")
              : Effect.sync(() => void handled.push(shortly(envelope)))
          ),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* Effect.provide(append("a", ["x", "x", "x", "x"]), there)
        yield* Effect.gen(function*() {
          yield* run(projection, here)
          yield* caughtUp("aside")
          assert.deepStrictEqual(handled, ["a 1 x"])
          const counts = ProjectionManagement.deadLetterCounts("aside")
          assert.deepStrictEqual(yield* counts, { entities: 1, failed: 1, queued: 2 })
          const failedAgain = yield* Projection.handleDeadLetters(projection)
          assert.deepStrictEqual(failedAgain, { handled: 0, failed: 1, obsolete: 0, excluded: 0 })
          broken = 3
          const mended = yield* Projection.handleDeadLetters(projection)
          assert.deepStrictEqual(mended, { handled: 1, failed: 1, obsolete: 0, excluded: 0 })
          assert.deepStrictEqual(yield* counts, { entities: 1, failed: 1, queued: 1 })
          broken = 0
          yield* Projection.handleDeadLetters(projection)
          yield* Effect.provide(append("a", ["x"]), there)
          yield* caughtUp("aside")
          assert.deepStrictEqual(handled, ["a 1 x", "a 2 x", "a 3 x", "a 4 x", "a 5 x"])
        }).pipe(Effect.provide(here))
      }))
  }

  for (const [name, deliver] of Object.entries(deliveries)) {
    it.effect(`are handled that a topic includes, by the prefix that its producer has for topics: ${name}`, () =>
      Effect.gen(function*() {
        const [there, here] = yield* Effect.all([makeStorage, makeStorage])
        const offered = EventProducer.layer(CartEvents, Source.journal(Cart), { topicPrefix: "thème=" })
        const port = yield* Producer.serve(Layer.provide(offered, Layer.succeedContext(there)))
        const handled: Array<string> = []
        let isBroken = true
        // each as a program of its own would have it, without what the others have been told
        const projection = () =>
          remote(port).pipe(
            EventConsumer.filter(EventFilter.excludeAll.pipe(EventFilter.includeTopics("home/#"))),
            deliver((envelope) =>
              isBroken ? Effect.fail("broken") : Effect.sync(() => void handled.push(shortly(envelope)))
            ),
            Projection.recovery(RecoveryStrategy.deadLetter)
          )
        yield* Effect.provide(Journal.append(Cart, { id: "a", events: ["x"], tags: ["thème=home/kitchen"] }), there)
        yield* Effect.gen(function*() {
          yield* run(projection(), here)
          yield* caughtUp("aside")
          isBroken = false
          assert.deepInclude(yield* Projection.handleDeadLetters(projection()), { handled: 1, excluded: 0 })
          assert.deepStrictEqual(handled, ["a 1 x"])
        }).pipe(Effect.provide(here))
      }))
  }

  const hiding: Record<string, readonly [all: Visible, others: Visible]> = {
    "their entities by a filter": [EventFilter.passAll, EventFilter.passAll.pipe(EventFilter.excludeEntityIds("a"))],
    "their entities by a predicate": [() => true, ({ persistenceId }: Place) => persistenceId !== "Cart|a"],
    "their events alone": [() => true, ({ sequenceNumber }: Place) => sequenceNumber !== 2],
    "all but the last event of their entities": [() => true, ({ sequenceNumber }: Place) => sequenceNumber === 3]
  }
  /** A projection of three events whose second one fails, and what its producer shows of them. */
  const failing = Effect.fnUntraced(
    function*(all: Visible, before: (select: SubscriptionRef.SubscriptionRef<Visible>) => Effect.Effect<void>) {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const select = yield* SubscriptionRef.make<Visible>(all)
      const offered = EventProducer.layer(CartEvents, Source.journal(Cart), { select })
      const port = yield* Producer.serve(Layer.provide(offered, Layer.succeedContext(there)))
      const handled: Array<string> = []
      const state = { isBroken: true }
      const projection = remote(port).pipe(
        Projection.exactlyOnce("aside", (envelope: Envelope<string>) =>
          state.isBroken && envelope.sequenceNumber === 2
            ? Effect.andThen(before(select), Effect.fail("broken"))
            : Effect.sync(() => void handled.push(shortly(envelope)))),
        Projection.recovery(RecoveryStrategy.deadLetter)
      )
      yield* Effect.provide(append("a", ["x", "x", "x"]), there)
      yield* run(projection, here)
      yield* Effect.provide(caughtUp("aside"), here)
      const redrive = Projection.handleDeadLetters(projection)
      /** Mends the handler, and has the producer show all again. */
      const allHandled = Effect.gen(function*() {
        state.isBroken = false
        yield* SubscriptionRef.set(select, all)
        yield* Wait.until("all to be handled", Effect.map(redrive, () => handled.length === 3))
        assert.deepStrictEqual(handled, ["a 1 x", "a 2 x", "a 3 x"])
      })
      return { allHandled, here, redrive, select, state }
    }
  )

  for (const [what, [all, others]] of Object.entries(hiding)) {
    it.effect(`stay while the producer hides ${what}, and are handled when it shows them again`, () =>
      Effect.gen(function*() {
        const { allHandled, here, redrive, select } = yield* failing(all, () => Effect.void)
        yield* Effect.gen(function*() {
          yield* SubscriptionRef.set(select, others)
          yield* Wait.until("the entity to be hidden", Effect.map(redrive, ({ excluded }) => excluded === 1))
          const waiting = yield* ProjectionManagement.deadLetterCounts("aside")
          assert.deepStrictEqual(waiting, { entities: 1, failed: 1, queued: 1 })
          yield* allHandled
        }).pipe(Effect.provide(here))
      }))
  }

  it.effect("stay where their events are hidden alone before they are put aside", () =>
    Effect.gen(function*() {
      const [all, others] = hiding["their events alone"]!
      const { allHandled, here, redrive, state } = yield* failing(all, (select) => SubscriptionRef.set(select, others))
      yield* Effect.gen(function*() {
        state.isBroken = false
        assert.deepStrictEqual(yield* redrive, { handled: 0, failed: 0, obsolete: 0, excluded: 1 })
        yield* allHandled
      }).pipe(Effect.provide(here))
    }))

  it.effect("are obsolete once their events are deleted, or dropped, at the producer", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      let isDropped = false
      const offered = EventProducer.layer(
        CartEvents,
        Source.journal(Cart).pipe(Source.filter(({ persistenceId }) => !isDropped || persistenceId !== "Cart|b"))
      )
      const port = yield* Producer.serve(Layer.provide(offered, Layer.succeedContext(there)))
      const handled: Array<string> = []
      let isBroken = true
      const projection = remote(port).pipe(
        Projection.exactlyOnce("aside", (envelope: Envelope<string>) =>
          isBroken && envelope.sequenceNumber === 2
            ? Effect.fail("broken")
            : Effect.sync(() => void handled.push(shortly(envelope)))),
        Projection.recovery(RecoveryStrategy.deadLetter)
      )
      for (const id of ["a", "b"]) yield* Effect.provide(append(id, ["x", "x", "x"]), there)
      yield* Effect.gen(function*() {
        yield* run(projection, here)
        yield* caughtUp("aside")
        yield* Effect.provide(Journal.deleteEvents(Cart, "a", { to: SequenceNumber.make(2) }), there)
        isDropped = true
        isBroken = false
        assert.deepStrictEqual(
          yield* Projection.handleDeadLetters(projection),
          { handled: 1, failed: 0, obsolete: 3, excluded: 0 }
        )
        assert.sameMembers(handled, ["a 1 x", "b 1 x", "a 3 x"])
      }).pipe(Effect.provide(here))
    }))
})
