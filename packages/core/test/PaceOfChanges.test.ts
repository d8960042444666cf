import { assert, it } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import { ProjectionRegistry } from "@sluice/core/ProjectionRegistry"
import * as Source from "@sluice/core/Source"
import * as Simulation from "@sluice/testing/Simulation"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { paced } from "../src/internal/projection/paceOfChanges.ts"

/** A change that is made alone, or in the transaction that is open. */
const change = Effect.flatMap(
  ConsumerFilter.ConsumerFilter,
  ({ afterCommit }) => paced("stream:carts", () => true, Effect.void, afterCommit)
)

/** For how many seconds an effect waits. */
const waited = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const before = yield* Clock.currentTimeMillis
    const waiting = yield* Effect.forkChild(Effect.andThen(effect, Clock.currentTimeMillis))
    yield* TestClock.adjust("20 seconds")
    return ((yield* Fiber.join(waiting)) - before) / 1000
  })

it.effect("a change waits longer each time that the last one was not taken up, so that slow workers make progress", () => {
  let isCutOff = true
  const worker = {
    status: { revision: 1, restarts: 0 },
    until: () => isCutOff ? Effect.never : Effect.void
  }
  return Effect.gen(function*() {
    const waits: Array<number> = []
    for (let i = 0; i < 6; i++) waits.push(yield* waited(change))
    assert.deepStrictEqual(waits, [0, 1, 2, 4, 8, 8])
    isCutOff = false
    assert.strictEqual(yield* waited(change), 0)
    isCutOff = true
    assert.strictEqual(yield* waited(change), 1)
  }).pipe(
    Effect.provideService(ProjectionRegistry, { readers: () => [worker] } as any),
    Effect.provide(MemoryStorage.layer)
  )
})

it.effect("of several changes at once each waits until the one before is taken up", () => {
  const isTakenUp = Latch.makeUnsafe()
  const worker = { status: { revision: 1, restarts: 0 }, until: () => isTakenUp.await }
  let made = 0
  const several = Effect.all(Array.from({ length: 3 }, () => Effect.tap(change, () => Effect.sync(() => made++))), {
    concurrency: "unbounded"
  })
  return Effect.gen(function*() {
    const changing = yield* Effect.forkChild(several)
    for (let changes = 1; changes <= 3; changes++) {
      yield* TestClock.adjust("900 millis")
      assert.strictEqual(made, changes)
      // for those that wait by now
      yield* isTakenUp.release
    }
    yield* Fiber.join(changing)
  }).pipe(
    Effect.provideService(ProjectionRegistry, { readers: () => [worker] } as any),
    Effect.provide(MemoryStorage.layer)
  )
})

it.effect("of very many changes at once so many wait as may, and the others are refused", () => {
  const isTakenUp = Latch.makeUnsafe()
  const worker = { status: { revision: 1, restarts: 0 }, until: () => isTakenUp.await }
  return Effect.gen(function*() {
    const changing = yield* Effect.forEach(
      Array.from({ length: 1_100 }),
      () => Effect.forkChild(Effect.exit(change), { startImmediately: true })
    )
    yield* isTakenUp.open
    yield* TestClock.adjust("20 seconds")
    const exits = yield* Effect.forEach(changing, (fiber) => Fiber.join(fiber))
    const refused = exits.filter(Exit.isFailure)
    // the first of them may have been made before others came
    assert.isAtLeast(refused.length, 1)
    assert.isAtMost(refused.length, 100)
    for (const { cause } of refused) {
      assert.deepInclude(Cause.squash(cause), { _tag: "StorageError", reason: "Busy", isRetryable: true })
    }
    // there is room again
    yield* change
  }).pipe(
    Effect.provideService(ProjectionRegistry, { readers: () => [worker] } as any),
    Effect.provide(MemoryStorage.layer)
  )
})

it.effect("a change waits for a worker that begins again after a failure, until that has taken it up or failed once more", () => {
  const status = { state: "Restarting", revision: 1, restarts: 1 }
  const reading = { status, takenUp: 1 }
  const happened = Latch.makeUnsafe()
  const worker = {
    status,
    reading,
    until: (predicate: (now: typeof status) => boolean) =>
      Effect.forever(Effect.suspend(() => predicate(status) ? Effect.fail("holds") : happened.await)).pipe(
        Effect.ignore
      )
  }
  const happens = (now: Partial<typeof status>, takenUp = reading.takenUp) =>
    Effect.andThen(
      Effect.sync(() => {
        Object.assign(status, now)
        reading.takenUp = takenUp
      }),
      happened.release
    )
  return Effect.gen(function*() {
    yield* change
    let made = 1
    const next = Effect.forkChild(Effect.tap(change, () => Effect.sync(() => made++)))
    const passes = TestClock.adjust("200 millis")
    const first = yield* next
    yield* Effect.andThen(happens({ revision: 2 }), passes)
    assert.strictEqual(made, 1, "it has yet to store an offset")
    yield* Effect.andThen(happens({}, 2), passes)
    assert.strictEqual(made, 2)
    const second = yield* next
    yield* Effect.andThen(happens({ revision: 3 }), passes)
    assert.strictEqual(made, 2)
    yield* Effect.andThen(happens({ restarts: 2 }), passes)
    assert.strictEqual(made, 3, "it waits before it begins again")
    yield* Fiber.join(first)
    yield* Fiber.join(second)
  }).pipe(
    Effect.provideService(ProjectionRegistry, { readers: () => [worker] } as any),
    Effect.provide(MemoryStorage.layer)
  )
})

const Note = EntityType.make("note", { codec: EventCodec.string })

/** A journal that is read as another service's stream is, which leaves out what does not pass the filter. */
const notes = Source.make<string, any, Journal.Journal>({
  ...Source.journal(Note).provider,
  key: "stream:note",
  filter: EventFilter.passAll,
  open: (range, { filter = EventFilter.passAll, ...start }) => {
    const passes = EventFilter.compile(filter)
    return Source.openEncoded(Source.journal(Note), Note.codec, {
      range,
      start,
      selection: { isOpen: false, isSelected: (envelope) => passes(envelope) }
    }) as any
  }
})

/**
 * So many that write an event and change the filter, again and again, as soon as they can. Returns how many changes at most have come in a row without a commit of the
 * worker.
 */
const changing = (updaters: number) =>
  Effect.gen(function*() {
    const registry = yield* ProjectionRegistry
    let written = 0
    let changes = 0
    let before = { written: 0, passed: 0 }
    let fruitless = 0
    let most = 0
    /** Within the transaction of a change, which nothing passes. */
    const look = () => {
      const [worker] = registry.workers("p")
      const passed = [...worker!.status.offsets.values()].reduce((sum, { position }) => sum + position, 0)
      fruitless = passed > before.passed || passed >= before.written ? 0 : fruitless + 1
      most = Math.max(most, fruitless)
      before = { written, passed }
    }
    const change = Effect.gen(function*() {
      yield* Journal.append(Note, { id: `${written % 6}`, events: ["x"] })
      written++
      yield* ConsumerFilter.update("p", () => {
        look()
        return EventFilter.passAll.pipe(EventFilter.excludeEntityIds(`${changes % 3}`))
      }, { by: "ada" })
      changes++
    })
    const updating = Effect.andThen(
      Effect.eventually(ConsumerFilter.get("p")),
      Effect.whileLoop({ while: () => changes < 50, body: () => change, step: () => {} })
    )
    yield* Effect.all(Array.from({ length: updaters }, () => updating), { concurrency: "unbounded" }).pipe(
      Effect.provide(Layer.provideMerge(
        Projection.layer(Projection.exactlyOnce("p", () => Effect.void)(notes)),
        MemoryStorage.layer
      ))
    )
    return most
  })

it("a worker commits between two changes, however fast they come, on whatever machine", () => {
  for (let seed = 1; seed <= 8; seed++) {
    const { exit } = Simulation.run(changing(seed % 2 === 0 ? 8 : 1), { seed })
    // the waits for it are doubled four times where the machine is slower than that
    assert(Exit.isSuccess(exit), `with seed ${seed}: ${String(exit)}`)
    assert.isAtMost(exit.value, 4, `with seed ${seed}`)
  }
})

it.effect("changes in a transaction do not wait while it holds its locks, and later ones wait from its commit", () => {
  const worker = { status: { revision: 1, restarts: 0 }, until: () => Effect.never }
  return Effect.gen(function*() {
    const several = Effect.replicateEffect(change, 4)
    assert.strictEqual(yield* waited(Journal.transaction(several)), 0)
    assert.strictEqual(yield* waited(change), 1)
    // nothing is to be taken up of what was rolled back
    assert.strictEqual(yield* waited(Effect.flip(Journal.transaction(Effect.andThen(several, Effect.fail("no"))))), 0)
    assert.strictEqual(yield* waited(change), 2)
  }).pipe(
    Effect.provideService(ProjectionRegistry, { readers: () => [worker] } as any),
    Effect.provide(MemoryStorage.layer)
  )
})
