import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { isFull } from "../../testing/src/internal/isFull.ts"
import { after, Note, settle, start, statusOf, storedPositions, Test, test, write } from "./projectionKit.ts"

/** What was handled, in the transaction of the handler if it has one. */
const Done = EntityType.make("done", { codec: EventCodec.string })

const entities = 2
const Entity = Schema.Literals([0, 1])

const Write = Schema.Struct({ _tag: Schema.tag("Write"), entity: Entity, events: Schema.Literals([1, 2, 3]) })
const Step = Schema.Union([
  Write,
  Write,
  Write,
  Schema.Struct({ _tag: Schema.tag("Break"), entity: Entity, every: Schema.Literals([2, 3]) }),
  Schema.Struct({ _tag: Schema.tag("Mend"), entity: Entity }),
  Schema.Struct({ _tag: Schema.tag("Redrive") }),
  Schema.Struct({ _tag: Schema.tag("Discard"), entity: Entity, letter: Schema.Literals([0, 1, 2]) }),
  Schema.Struct({ _tag: Schema.tag("Skip"), entity: Entity, ahead: Schema.Literals([0, 0, 1, 3]) }),
  Schema.Struct({ _tag: Schema.tag("Kill") }),
  Schema.Struct({ _tag: Schema.tag("Overtake") })
])
/** What happens, and for how long nothing else does. */
const Steps = Schema.Array(Schema.Struct({ step: Step, pause: Schema.Literals(["none", "short", "long"]) })).check(
  Schema.isMinLength(40),
  Schema.isMaxLength(60)
)

/** What becomes of an event that fails. */
const recoveries = {
  "is put aside": RecoveryStrategy.deadLetter,
  "stops the projection": RecoveryStrategy.fail,
  "is tried again and again": RecoveryStrategy.retryAndFail({ retries: Number.MAX_SAFE_INTEGER, delay: 5 })
}
const Recovery = Schema.Literals(["is put aside", "stops the projection", "is tried again and again"])

type Handle = (envelope: Envelope<string>) => Effect.Effect<void, string, Journal.Journal>

/** What was handled of an entity, in order. */
const handledOf = (entity: number) =>
  Effect.map(Stream.runCollect(Journal.read(Done, `${entity}`)), (events) => events.map(({ event }) => Number(event)))

const inGroups = (handle: Handle, within = 10) =>
  Handler.grouped(
    { size: 4, within },
    (envelopes: ReadonlyArray<Envelope<string>>) => Effect.forEach(envelopes, handle, { discard: true })
  )

const deliveries = {
  "exactly once": (handle: Handle) => Projection.exactlyOnce("notes", handle),
  "exactly once, in groups": (handle: Handle) => Projection.exactlyOnce("notes", inGroups(handle)),
  "at least once": (handle: Handle) => Projection.atLeastOnce("notes", handle, { saveWithin: 20 }),
  "at least once, in groups": (handle: Handle) => Projection.atLeastOnce("notes", inGroups(handle), { saveWithin: 20 }),
  "at least once, at the same time": (handle: Handle) =>
    Projection.atLeastOnce("notes", handle, { parallelism: 3, saveWithin: 20 }),
  "at least once, in groups at the same time": (handle: Handle) =>
    Projection.atLeastOnce("notes", inGroups(handle, 0), { parallelism: 3, saveWithin: 20 }),
  "in a flow": (handle: Handle) =>
    Projection.flow(
      "notes",
      (envelopes: Stream.Stream<Envelope<string>>) =>
        Stream.mapEffect(envelopes, (envelope) => Effect.as(handle(envelope), envelope)),
      { saveWithin: 20 }
    ),
  "at most once": (handle: Handle) => Projection.atMostOnce("notes", handle)
}

describe("what fails, and what waits behind it, whatever is handled, discarded, skipped or killed meanwhile", () => {
  for (const [name, deliver] of Object.entries(deliveries)) {
    const isExactly = name.startsWith("exactly")
    const isAtMost = name === "at most once"
    const failsBefore = isAtMost || name === "in a flow"
    it.effect.prop(
      `keep the order of each entity, lose nothing and double nothing: ${name}`,
      { steps: Steps, recovery: Recovery },
      ({ recovery, steps }) =>
        Effect.gen(function*() {
          const broken = new Map<string, number>()
          const fails = (
            { persistenceId, sequenceNumber }: Pick<Envelope<string>, "persistenceId" | "sequenceNumber">
          ) => sequenceNumber % (broken.get(PersistenceId.entityId(persistenceId)) ?? Infinity) === 0
          const busy = new Set<string>()
          const handle: Handle = (envelope) => {
            const id = PersistenceId.entityId(envelope.persistenceId)
            return Effect.gen(function*() {
              assert.isFalse(busy.has(id), "an entity's events are handled one after the other")
              busy.add(id)
              yield* Effect.yieldNow
              if (!failsBefore && fails(envelope)) return yield* Effect.fail("broken")
              yield* Effect.orDie(Journal.append(Done, { id, events: [`${envelope.sequenceNumber}`] }))
            }).pipe(Effect.ensuring(Effect.sync(() => busy.delete(id))))
          }
          const projection = Source.journal(Note).pipe(
            // once handed over, an event is not put aside any more
            Source.tap((envelope) => failsBefore && fails(envelope) ? Effect.fail("broken") : Effect.void),
            deliver(handle),
            Projection.workers(2),
            Projection.recovery(recoveries[recovery])
          )
          const key = Projection.offsetKey(projection)
          const management = yield* ProjectionManagement.ProjectionManagement
          yield* management.register(key)
          const run = Effect.gen(function*() {
            const scope = yield* Scope.fork(yield* Effect.scope)
            // as in another process
            yield* Layer.build(Projection.layer(projection)).pipe(
              Effect.provide(Layer.fresh(ProjectionRegistry.layer)),
              Scope.provide(scope)
            )
            return scope
          })
          const redrive = Effect.ignore(Projection.handleDeadLetters(projection))
          const written = Array.from({ length: entities }, () => 0)
          const discarded = new Set<string>()
          /** Of each entity, what was to be skipped. */
          const skipped = Array.from({ length: entities }, () => new Set<number>())
          let worker = yield* run
          for (const { pause, step } of steps) {
            switch (step._tag) {
              case "Write": {
                const events = Array.from({ length: step.events }, () => `${++written[step.entity]!}`)
                yield* write(`${step.entity}`, ...events as [string])
                break
              }
              case "Break":
                broken.set(`${step.entity}`, step.every)
                break
              case "Mend":
                broken.delete(`${step.entity}`)
                yield* ProjectionManagement.resume(projection)
                break
              case "Skip": {
                const sequenceNumber = Math.max(0, ...yield* handledOf(step.entity), ...skipped[step.entity]!) + 1 +
                  step.ahead
                if (sequenceNumber > written[step.entity]!) break
                const event = { persistenceId: EntityType.persistenceId(Note, `${step.entity}`), sequenceNumber }
                const exit = yield* Effect.exit(ProjectionManagement.skip(projection, event))
                if (Exit.isSuccess(exit)) skipped[step.entity]!.add(sequenceNumber)
                break
              }
              case "Redrive":
                yield* Effect.forkScoped(redrive)
                break
              case "Discard": {
                const persistenceId = EntityType.persistenceId(Note, `${step.entity}`)
                const letters = yield* ProjectionManagement.deadLetters(projection)
                const letter = letters.filter(({ envelope }) => envelope.persistenceId === persistenceId)[step.letter]
                if (letter !== undefined && (yield* ProjectionManagement.discard(projection, letter)) !== undefined) {
                  discarded.add(`${step.entity} ${letter.envelope.sequenceNumber}`)
                }
                break
              }
              case "Kill":
                yield* Scope.close(worker, Exit.void)
                worker = yield* run
                break
              case "Overtake": {
                // for a while there are two
                if (!isExactly) break
                const before = worker
                worker = yield* run
                for (let i = 0; i < 20; i++) yield* Effect.yieldNow
                yield* Scope.close(before, Exit.void)
                break
              }
            }
            if (pause === "short") { for (let i = 0; i < 12; i++) yield* Effect.yieldNow }
            if (pause === "long") yield* after(25)
          }
          broken.clear()
          for (let i = 0; i < 3; i++) {
            yield* ProjectionManagement.resume(projection)
            yield* after(2_000)
            yield* redrive
          }
          yield* settle
          assert.deepStrictEqual(yield* ProjectionManagement.deadLetters(projection), [])
          assert.deepStrictEqual(yield* management.skips(key, SliceRange.full), [], "nothing is skipped later")
          for (let entity = 0; entity < entities; entity++) {
            const handled = yield* handledOf(entity)
            const first = [...new Set(handled)]
            const isDiscarded = (n: number) => discarded.has(`${entity} ${n}`)
            const all = Array.from({ length: written[entity]! }, (_, i) => i + 1)
            assert.deepStrictEqual(first, first.toSorted((a, b) => a - b), `the order of ${entity}`)
            const isGivenUp = (n: number) => isDiscarded(n) || skipped[entity]!.has(n)
            if (!isAtMost) assert.includeMembers(first, all.filter((n) => !isGivenUp(n)), `all of ${entity}`)
            if (isExactly || isAtMost) assert.deepStrictEqual(handled, first, `nothing twice of ${entity}`)
            if (isExactly) assert.deepStrictEqual(first.filter(isDiscarded), [], `nothing discarded of ${entity}`)
          }
        }).pipe(Effect.scoped, Effect.provide(Test)),
      { arbitrary: { runs: isFull ? 15 : 5 }, timeout: 300_000 }
    )
  }
})

/** Where offsets are once a worker has ended while the operation was under way. */
const endsMeanwhile = (operation: "putAside" | "queue", events: readonly [string, ...Array<string>]) =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement.ProjectionManagement
    const projection = Source.journal(Note).pipe(
      Projection.atLeastOnce("notes", ({ event }) => event === "poison" ? Effect.fail("poison") : Effect.void),
      Projection.recovery(RecoveryStrategy.deadLetter)
    )
    const scope = yield* Scope.fork(yield* Effect.scope)
    yield* Layer.build(Projection.layer(projection)).pipe(
      Effect.provideService(ProjectionManagement.ProjectionManagement, {
        ...management,
        [operation]: () => Effect.never
      }),
      Scope.provide(scope)
    )
    yield* write("a", ...events)
    yield* after(1_000)
    yield* Scope.close(scope, Exit.void)
    return yield* storedPositions("notes")
  })

describe("a worker that ends while something is put aside leaves it before its offset", () => {
  test(
    "the event that has failed",
    Effect.gen(function*() {
      assert.notInclude(yield* endsMeanwhile("putAside", ["poison"]), 1)
    })
  )

  test(
    "an event that waits behind it",
    Effect.gen(function*() {
      assert.notInclude(yield* endsMeanwhile("queue", ["poison", "good"]), 2)
    })
  )
})

describe("dead letters without room, at least once, in groups", () => {
  test(
    "stop the worker, and no event is handed over again when it is resumed",
    Effect.gen(function*() {
      let isBroken = true
      const handled: Array<string> = []
      const many = (envelopes: ReadonlyArray<Envelope<string>>) =>
        Effect.suspend(() => {
          if (isBroken && envelopes.some(({ event }) => event === "bad")) return Effect.fail("broken")
          for (const { event } of envelopes) handled.push(event)
          return Effect.void
        })
      const projection = Source.journal(Note).pipe(
        Projection.atLeastOnce("notes", Handler.grouped({ size: 50, within: 100 }, many)),
        Projection.recovery(RecoveryStrategy.retryAndDeadLetter({ retries: 0, delay: 0, queue: { capacity: 2 } }))
      )
      yield* start(projection)
      yield* write("a", "bad", "a2", "a3")
      yield* after(1_000)
      yield* write("b", "b1", "b2")
      yield* write("a", "a4")
      yield* write("b", "b3")
      yield* after(1_000)
      for (let i = 0; i < 3; i++) {
        assert.strictEqual((yield* statusOf("notes")).state, "Stopped")
        assert.deepStrictEqual(handled, ["b1", "b2"])
        yield* ProjectionManagement.resume("notes")
        yield* after(1_000)
      }
      isBroken = false
      yield* Projection.handleDeadLetters(projection)
      yield* ProjectionManagement.resume("notes")
      yield* after(1_000)
      assert.deepStrictEqual(handled, ["b1", "b2", "bad", "a2", "a3", "a4", "b3"])
    })
  )
})
