import { assert, describe, it, vi } from "@effect/vitest"
import { DurableStateStore } from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import { SnapshotStore } from "@sluice/core/SnapshotStore"
import * as StateType from "@sluice/core/StateType"
import * as Decision from "@sluice/entity/Decision"
import * as DurableState from "@sluice/entity/DurableState"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as Wait from "@sluice/testing/Wait"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { RememberedCommands } from "../src/internal/rememberedCommands.ts"

class Added extends Schema.TaggedClass<Added>()("Added", { amount: Schema.Int }) {}

const commands = [
  Rpc.make("Add", { payload: { amount: Schema.Int }, success: Schema.Int, error: Schema.Literal("no") })
]
const AddedType = EntityType.make("events", { event: Added })

const makeEvents = (options: { readonly snapshots?: SnapshotPolicy.SnapshotPolicy<number> } = {}) =>
  EventSourced.make(AddedType, {
    ...options,
    state: Schema.Int,
    initial: 0,
    commands,
    decide: {
      Add: ({ payload }) =>
        payload.amount < 0 ? Decision.fail("no" as const) : Decision.persist([new Added(payload)], (sum: number) => sum)
    },
    evolve: (sum, { amount }) => sum + amount
  })

const Events = makeEvents()

const States = DurableState.make(StateType.make("states", { state: Schema.Int }), {
  initial: 0,
  commands,
  decide: {
    Add: ({ payload: { amount }, state }) =>
      amount < 0 ? Decision.fail("no" as const) : Decision.update(state + amount, state + amount)
  }
})

/** What a read of the database does before it answers, and a write. */
let before: Effect.Effect<void> = Effect.void
let beforeWrite: Effect.Effect<void> = Effect.void

/** A database that reads so many events at a time. */
const Storage = (pageSize = 500) =>
  Layer.mergeAll(
    Layer.effect(
      Journal.Journal,
      Journal.Journal.useSync((journal) => ({
        ...journal,
        append: (request) => Effect.andThen(Effect.suspend(() => beforeWrite), journal.append(request)),
        entity: (id, from, to, limit) =>
          Effect.andThen(Effect.suspend(() => before), journal.entity(id, from, to, Math.min(limit, pageSize)))
      }))
    ),
    Layer.effect(
      DurableStateStore,
      DurableStateStore.useSync((store) => ({
        ...store,
        change: (request) => Effect.andThen(Effect.suspend(() => beforeWrite), store.change(request)),
        get: (id) => Effect.andThen(Effect.suspend(() => before), store.get(id))
      }))
    )
  ).pipe(Layer.provideMerge(MemoryStorage.layer))

const logged: Array<string> = []

const hangs = { lightly: Effect.never, "for good": Effect.uninterruptible(Effect.never) }

const kinds = {
  "events, plain": EventSourced.layerPlain(Events),
  "events, active": EventSourced.layer(Events),
  "a state, plain": DurableState.layerPlain(States),
  "a state, active": DurableState.layer(States)
}

const failing = (effect: Effect.Effect<any, any>) => Effect.forkChild(Effect.flip(effect), { startImmediately: true })

for (const [kind, way] of Object.entries(kinds)) {
  const client: Effect.Effect<any, never, any> = kind.startsWith("events")
    ? EventSourced.client(Events)
    : DurableState.client(States)
  const running: Effect.Effect<any, never, any> = Effect.flatMap(
    Layer.build(Layer.provide(way as Layer.Layer<any, never, any>, Storage())),
    (context) => Effect.provideContext(client, context)
  )

  describe(`an entity of ${kind}, whose database`, () => {
    for (const [how, hanging] of Object.entries(hangs)) {
      it.effect(`hangs ${how}, says so in time, and goes on when that is over`, () =>
        Effect.gen(function*() {
          const entities = yield* running
          yield* entities("a").Add({ amount: 1 })
          before = hanging
          const fiber = yield* failing(entities("b").Add({ amount: 2 }))
          yield* TestClock.adjust("29 seconds")
          assert.isUndefined(fiber.pollUnsafe())
          yield* TestClock.adjust("3 seconds")
          const error: any = yield* Fiber.join(fiber)
          assert.deepInclude(error, { _tag: "JournalUnavailable", id: "b", isUnknown: false, isRetryable: true })
          assert.include(error.message, "the database has not answered within 30s")
          before = Effect.void
          // it is left alone for a second at most
          yield* TestClock.adjust("1 second")
          assert.strictEqual(yield* entities("b").Add({ amount: 2 }), 2)
        }).pipe(Effect.scoped, Effect.ensuring(Effect.sync(() => before = Effect.void))) as Effect.Effect<void>)
    }

    for (const [how, hanging] of Object.entries(hangs)) {
      it.effect(`hangs ${how} when it is written to, says that nobody knows, and goes on when that is over`, () =>
        Effect.gen(function*() {
          const entities = yield* running
          yield* entities("a").Add({ amount: 1 })
          beforeWrite = hanging
          const fiber = yield* failing(entities("a").Add({ amount: 2 }, { commandId: "one" }))
          yield* TestClock.adjust("59 seconds")
          assert.isUndefined(fiber.pollUnsafe())
          yield* TestClock.adjust("3 seconds")
          const error: any = yield* Fiber.join(fiber)
          assert.deepInclude(error, { _tag: "JournalUnavailable", id: "a", isUnknown: true, isRetryable: true })
          assert.include(error.message, "the database has not answered within 1m")
          beforeWrite = Effect.void
          assert.strictEqual(yield* entities("a").Add({ amount: 2 }, { commandId: "one" }), 3)
        }).pipe(Effect.scoped, Effect.ensuring(Effect.sync(() => beforeWrite = Effect.void))) as Effect.Effect<void>)
    }

    it.effect("hangs when it is asked for anything newer before a rejection, says so as well", () =>
      Effect.gen(function*() {
        const entities = yield* running
        yield* entities("a").Add({ amount: 1 })
        before = hangs["for good"]
        const fiber = yield* failing(entities("a").Add({ amount: -2 }))
        yield* TestClock.adjust("32 seconds")
        assert.deepInclude(yield* Fiber.join(fiber), { _tag: "JournalUnavailable", id: "a", isUnknown: false })
      }).pipe(Effect.scoped, Effect.ensuring(Effect.sync(() => before = Effect.void))) as Effect.Effect<void>)
  })
}

it.effect("an entity of which there is much to read is at fault itself, and says meanwhile how far it has come", () =>
  Effect.gen(function*() {
    logged.length = 0
    const { Add } = (yield* EventSourced.client(Events))("a")
    yield* Journal.append(AddedType, { id: "a", events: Array.from({ length: 500 }, () => new Added({ amount: 1 })) })
    before = Effect.sleep("128 millis")
    const fiber = yield* Effect.forkChild(Effect.flip(Add({ amount: 1 })), { startImmediately: true })
    yield* TestClock.adjust("32 seconds")
    const error: any = yield* Fiber.join(fiber)
    assert.deepInclude(error, { _tag: "RecoveryFailed", isRetryable: false, events: 234 })
    assert.include(error.message, "it takes longer than 30s: save snapshots")
    assert.include(error.message, "(234 events were read)")
    assert.deepStrictEqual(
      logged.filter((message) => message.startsWith("Recovers")),
      [79, 158].map((n) => `Recovers events|a: ${n} events were read so far, up to number ${n}`)
    )
  }).pipe(
    Effect.provide([
      Layer.provideMerge(EventSourced.layerPlain(Events), Storage(1)),
      Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))])
    ]),
    Effect.ensuring(Effect.sync(() => before = Effect.void))
  ))

for (const way of ["plain", "active"] as const) {
  it.effect(`a database that is slow is at fault, also where it answers each time, and the entity goes on once it is well (${way})`, () =>
    Effect.gen(function*() {
      const { Add } = (yield* EventSourced.client(Events))("a")
      yield* Journal.append(AddedType, { id: "a", events: Array.from({ length: 4 }, () => new Added({ amount: 1 })) })
      // four pages, and the end
      before = Effect.sleep("7 seconds")
      const fiber = yield* failing(Add({ amount: 1 }))
      yield* TestClock.adjust("32 seconds")
      const error: any = yield* Fiber.join(fiber)
      assert.deepInclude(error, { _tag: "JournalUnavailable", id: "a", isUnknown: false, isRetryable: true })
      before = Effect.void
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Add({ amount: 1 }), 5)
    }).pipe(
      Effect.provide(Layer.provideMerge(
        way === "plain" ? EventSourced.layerPlain(Events) : EventSourced.layer(Events),
        Storage(1)
      )),
      Effect.ensuring(Effect.sync(() => before = Effect.void))
    ))
}

it.effect("the commands that a snapshot remembers are written out for one that is saved alone", () =>
  Effect.gen(function*() {
    const encode = vi.spyOn(RememberedCommands.prototype, "encode")
    yield* Effect.addFinalizer(() => Effect.sync(() => encode.mockRestore()))
    const Snapshotted = makeEvents({ snapshots: SnapshotPolicy.every(1) })
    const goOn = yield* Deferred.make<void>()
    const store: Partial<SnapshotStore["Service"]> = { save: () => Deferred.await(goOn) }
    const Stores = Layer.effect(SnapshotStore, SnapshotStore.useSync((all) => ({ ...all, ...store }))).pipe(
      Layer.provideMerge(MemoryStorage.layer)
    )
    const context = yield* Layer.build(Layer.provide(EventSourced.layer(Snapshotted), Stores))
    const { Add } = (yield* Effect.provideContext(EventSourced.client(Snapshotted), context))("a")
    for (let i = 1; i <= 10; i++) yield* Add({ amount: 1 }, { commandId: `${i}` })
    yield* Deferred.succeed(goOn, undefined)
    assert.strictEqual(encode.mock.calls.length, 1)
  }).pipe(Effect.scoped))

it.effect("a snapshot whose save does not let itself be stopped keeps neither the end of entities, nor other snapshots", () =>
  Effect.gen(function*() {
    const Snapshotted = makeEvents({ snapshots: SnapshotPolicy.every(1) })
    const saved: Array<string> = []
    const store: Partial<SnapshotStore["Service"]> = {
      save: ({ persistenceId }) =>
        Effect.suspend(() => {
          saved.push(persistenceId)
          return hangs["for good"]
        })
    }
    const scope = yield* Scope.make()
    const Stores = Layer.effect(SnapshotStore, SnapshotStore.useSync((all) => ({ ...all, ...store }))).pipe(
      Layer.provideMerge(MemoryStorage.layer)
    )
    const context = yield* Layer.buildWithScope(
      Layer.provide(EventSourced.layer(Snapshotted, { maxActive: 100 }), Stores),
      scope
    )
    const entities = yield* Effect.provideContext(EventSourced.client(Snapshotted), context)
    // more than are saved at a time
    for (let i = 0; i < 20; i++) yield* entities(`${i}`).Add({ amount: 1 })
    assert.strictEqual(saved.length, 16)
    yield* TestClock.adjust("62 seconds")
    yield* entities("17").Add({ amount: 1 })
    assert.strictEqual(saved.length, 17)
    const ending = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
    yield* TestClock.adjust("7 seconds")
    yield* Wait.end("the end", Fiber.join(ending))
  }))
