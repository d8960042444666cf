import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import * as Activations from "@sluice/entity/Activations"
import * as Decision from "@sluice/entity/Decision"
import * as EntityMetrics from "@sluice/entity/EntityMetrics"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Wait from "@sluice/testing/Wait"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"

const NoteType = EntityType.make("note", { codec: EventCodec.string })

const makeNote = (before: Effect.Effect<void>) =>
  EventSourced.make(NoteType, {
    state: Schema.Int,
    initial: 0,
    commands: [Rpc.make("Write", { success: Schema.Int })],
    decide: { Write: () => Effect.as(before, Decision.persist(["written"], (count: number) => count)) },
    evolve: (count) => count + 1
  })

const of = { entity_type: "note" }
const gauge = (metric: Metric.Gauge<number>) =>
  Effect.map(Metric.value(Metric.withAttributes(metric, of)), ({ value }) => value)
const counted = (metric: Metric.Counter<number>, attributes = {}) =>
  Effect.map(Metric.value(Metric.withAttributes(metric, { ...of, ...attributes })), ({ count }) => count)
const measured = (metric: Metric.Histogram<number>, attributes = {}) =>
  Effect.map(
    Metric.value(Metric.withAttributes(metric, { ...of, ...attributes })),
    ({ count, max }) => [count, max] as const
  )

const isolated = <A, E>(effect: Effect.Effect<A, E, Journal.Journal | SnapshotStore | Scope.Scope>) =>
  effect.pipe(
    Effect.scoped,
    Effect.provide(Layer.fresh(MemoryStorage.layer)),
    Effect.provideService(Metric.MetricRegistry, new Map())
  )

describe("the metrics of entities", () => {
  it.effect("say how many are active and recovering, and why others are no more", () =>
    isolated(Effect.gen(function*() {
      const scope = yield* Scope.make()
      const goOn = yield* Deferred.make<void>()
      const entered = yield* Deferred.make<void>()
      const journal = yield* Journal.Journal
      const slow = {
        ...journal,
        entity: (...args: Parameters<typeof journal.entity>) =>
          args[0].endsWith("slow")
            ? Effect.andThen(
              Effect.andThen(Deferred.succeed(entered, undefined), Deferred.await(goOn)),
              journal.entity(...args)
            )
            : journal.entity(...args)
      }
      const Note = makeNote(Effect.void)
      const activations = yield* Note.behaviour.pipe(
        Effect.flatMap((behaviour) => Activations.make(behaviour, { maxActive: 3, idleAfter: "10 seconds" })),
        Effect.provideService(Journal.Journal, slow),
        Scope.provide(scope)
      )
      const write = (id: string) => activations.send(id, { tag: "Write", payload: undefined, commandId: undefined })
      const reasons = Effect.map(
        Effect.forEach(
          ["idle", "room", "released", "abandoned"],
          (reason) => counted(EntityMetrics.entityPassivated, { reason })
        ),
        (counts) => counts.join(" ")
      )
      for (const id of ["a", "b", "c"]) yield* write(id)
      assert.strictEqual(yield* gauge(EntityMetrics.entityActive), 3)
      yield* write("d")
      assert.strictEqual(yield* gauge(EntityMetrics.entityActive), 3)
      assert.strictEqual(yield* reasons, "0 1 0 0")
      yield* activations.passivate((id) => id === "b")
      yield* activations.abandon((id) => id === "c")
      assert.strictEqual(yield* gauge(EntityMetrics.entityActive), 1)
      assert.strictEqual(yield* reasons, "0 1 1 1")
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual(yield* gauge(EntityMetrics.entityActive), 0)
      assert.strictEqual(yield* reasons, "1 1 1 1")

      for (let i = 0; i < 5; i++) yield* Journal.append(NoteType, { id: "slow", events: ["written"] })
      const fiber = yield* Effect.forkChild(write("slow"), { startImmediately: true })
      yield* Wait.end("the recovery to begin", Deferred.await(entered))
      assert.strictEqual(yield* gauge(EntityMetrics.entityRecovering), 1)
      yield* TestClock.adjust("2 seconds")
      yield* Deferred.succeed(goOn, undefined)
      yield* Wait.end("the command", Fiber.join(fiber))
      assert.strictEqual(yield* gauge(EntityMetrics.entityRecovering), 0)
      assert.deepStrictEqual(yield* measured(EntityMetrics.entityRecovery), [5, 2])
      assert.strictEqual(yield* counted(EntityMetrics.entityRecovered), 5)
      assert.strictEqual(yield* gauge(EntityMetrics.entityActive), 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* gauge(EntityMetrics.entityActive), 0)
    })))

  for (
    const [way, limit] of [["plain", 1_000], ["active", 2]] as const
  ) {
    it.effect(`say how many commands wait, and which there was no room for, where entities are ${way}`, () =>
      isolated(Effect.gen(function*() {
        let before: Effect.Effect<void> = Effect.void
        const Note = makeNote(Effect.suspend(() => before))
        const context = yield* Layer.build(
          way === "plain" ? EventSourced.layerPlain(Note) : EventSourced.layer(Note, { mailbox: limit })
        )
        const { Write } = (yield* Effect.provideContext(EventSourced.client(Note), context))("a")
        yield* Write()
        const goOn = yield* Deferred.make<void>()
        before = Deferred.await(goOn)
        const send = Effect.forkChild(Effect.exit(Write()), { startImmediately: true })
        const fibers = yield* Effect.replicateEffect(send, limit + 1)
        assert.deepStrictEqual(yield* measured(EntityMetrics.entityWaiting), [limit, limit - 1])
        const error = yield* Effect.flip(Write())
        assert.deepInclude(error, { _tag: "Overloaded", full: "mailbox", limit, isUnknown: false, isRetryable: true })
        assert.strictEqual(yield* counted(EntityMetrics.entityOverloaded, { full: "mailbox" }), 1)
        yield* TestClock.adjust("1 second")
        yield* Deferred.succeed(goOn, undefined)
        const exits = yield* Fiber.joinAll(fibers)
        assert.deepStrictEqual(exits, Array.from({ length: limit + 1 }, (_, n) => Exit.succeed(n + 2)))
        const outcome = (outcome: string) => measured(EntityMetrics.entityCommand, { command: "Write", outcome })
        assert.deepStrictEqual(yield* outcome("replied"), [limit + 2, 1])
        assert.deepStrictEqual(yield* outcome("Overloaded"), [1, 0])
      })))
  }
})
