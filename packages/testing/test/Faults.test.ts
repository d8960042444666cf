import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Source from "@sluice/core/Source"
import * as Faults from "@sluice/testing/Faults"
import * as ProjectionTestKit from "@sluice/testing/ProjectionTestKit"
import * as TestSource from "@sluice/testing/TestSource"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Stream from "effect/Stream"

const Note = EntityType.make("note", { codec: EventCodec.string })
const Effects = EntityType.make("effects", { codec: EventCodec.string })

const patient = { timeout: "2 minutes" } as const
const Quiet = Layer.succeed(References.MinimumLogLevel, "None")
const Empty = Layer.mergeAll(Layer.fresh(MemoryStorage.layer), ProjectionRegistry.layer, Quiet)

type Handle<R = never> = (envelope: Envelope<string>) => Effect.Effect<void, unknown, R>

/** Writes in the transaction, as all storages have a journal. */
const record: Handle<Journal.Journal> = ({ event }) => Journal.append(Effects, { id: "all", events: [event] })

const recorded = Stream.runCollect(Stream.map(Journal.read(Effects, "all"), ({ event }) => event))

/** Handles `events` of one entity, by a handler that tells what it is called with, and then writes; and says what was told and written. */
const run = (
  faults: Faults.Faults,
  of: (handle: Handle<Journal.Journal>) => (
    source: TestSource.TestSource<string>
  ) => Projection.Projection<unknown, Projection.Stores | Journal.Journal>,
  events: TestSource.Publication<string>["events"] = ["1", "2", "3"]
) =>
  Effect.gen(function*() {
    const told: Array<string> = []
    const handle: Handle<Journal.Journal> = (envelope) =>
      Effect.andThen(Effect.sync(() => told.push(envelope.event)), record(envelope))
    const notes = yield* TestSource.make(Note)
    const kit = yield* ProjectionTestKit.start(
      of(handle)(notes).pipe(Projection.recovery(RecoveryStrategy.retryAndSkip({ retries: 2, delay: "1 second" }))),
      { faults }
    )
    yield* notes.publish({ id: "a", events })
    yield* kit.caughtUp(patient)
    const [worker] = yield* ProjectionStatus.status("faults")
    return { told, written: yield* recorded, restarts: worker?.restarts, skipped: worker?.skipped }
  }).pipe(Effect.scoped, Effect.provide(Empty))

const exactlyOnce = (handle: Handle<Journal.Journal>) => Projection.exactlyOnce("faults", handle)
const atLeastOnce = (handle: Handle<Journal.Journal>) => Projection.atLeastOnce("faults", handle, { saveAfter: 1 })
const atMostOnce = (handle: Handle<Journal.Journal>) => Projection.atMostOnce("faults", handle)

const grouped = (handle: Handle<Journal.Journal>) =>
  Projection.exactlyOnce(
    "faults",
    Handler.grouped(
      { size: 2, within: "1 second" },
      (group: ReadonlyArray<Envelope<string>>) => Effect.forEach(group, handle, { discard: true })
    )
  )
const flow = (handle: Handle<Journal.Journal>) =>
  Projection.flow("faults", (envelopes: Stream.Stream<Envelope<string>>) => Stream.tap(envelopes, handle), {
    saveAfter: 1
  })

const once = ["1", "2", "3"]
const twice = ["1", "2", "2", "3"]

describe("a fault", () => {
  it.effect("fails the handler as often as it says, and not at another event", () =>
    Effect.gen(function*() {
      const retried = yield* run(Faults.none.pipe(Faults.fail(2, { times: 2 })), exactlyOnce)
      assert.deepStrictEqual([retried.told, retried.written, retried.skipped], [once, once, 0])
      const poison = yield* run(Faults.none.pipe(Faults.fail(2, { times: Infinity })), exactlyOnce)
      assert.deepStrictEqual([poison.written, poison.skipped], [["1", "3"], 1])
    }))

  it.effect("loses an answer: what an exactly-once handler has written is there, and others are called again", () =>
    Effect.gen(function*() {
      const faults = Faults.none.pipe(Faults.failAfterCommit(2))
      const exact = yield* run(faults, exactlyOnce)
      assert.deepStrictEqual([exact.told, exact.written, exact.restarts], [once, once, 1])
      const again = yield* run(faults, atLeastOnce)
      assert.deepStrictEqual([again.told, again.written, again.skipped], [twice, twice, 0])
      const lost = yield* run(faults, atMostOnce)
      assert.deepStrictEqual([lost.told, lost.written, lost.skipped], [once, once, 1])
    }))

  it.effect("repeats an event, which only an at-least-once handler sees", () =>
    Effect.gen(function*() {
      const faults = Faults.none.pipe(Faults.duplicate(2))
      for (const delivery of [exactlyOnce, atMostOnce]) {
        const shown: Array<string> = []
        const { restarts, told } = yield* run(faults, (handle) => (source) =>
          delivery(handle)(
            Source.tap(({ event }: Envelope<string>) => Effect.sync(() => shown.push(event)))(source)
          ))
        assert.deepStrictEqual([shown, told, restarts], [twice, once, 0])
      }
      assert.deepStrictEqual((yield* run(faults, atLeastOnce)).told, twice)
    }))

  it.effect("leaves out an event, which is found and asked for again", () =>
    Effect.gen(function*() {
      const { restarts, told } = yield* run(Faults.none.pipe(Faults.drop(2)), exactlyOnce)
      assert.deepStrictEqual([told, restarts], [once, 1])
    }))

  for (
    const [what, unmet, met] of [
      ["fail", Faults.fail(4), Faults.fail(3)],
      ["failAfterCommit", Faults.failAfterCommit(4), Faults.failAfterCommit(3)],
      ["duplicate", Faults.duplicate(4), Faults.duplicate(3)],
      ["drop", Faults.drop(4), Faults.drop(2)],
      ["crash", Faults.crash(4, { at: "afterCommit" }), Faults.crash(3, { at: "afterCommit" })],
      ["reorder", Faults.reorder(1), undefined]
    ] as const
  ) {
    it.effect(`that has not happened fails the test, and is named: ${what}`, () =>
      Effect.gen(function*() {
        const happened = Faults.none.pipe(Faults.fail(1))
        const exit = yield* Effect.exit(run(unmet(happened), exactlyOnce))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        assert.instanceOf(error, Faults.UnmetFaults)
        assert.deepStrictEqual([error.faults, error.given], [unmet(Faults.none).faults, 3])
        assert.include(error.message, `${Faults.describe(unmet(Faults.none))}. Its handler was given 3 events`)
        if (met !== undefined) assert.deepStrictEqual((yield* run(met(happened), exactlyOnce)).written, once)
      }))
  }

  it.effect("that has not happened yet, as the offset is not stored, fails the test as well", () =>
    Effect.gen(function*() {
      const notes = yield* TestSource.make(Note)
      const told: Array<string> = []
      const kit = yield* ProjectionTestKit.start(
        notes.pipe(
          Projection.atLeastOnce("faults", ({ event }) => Effect.sync(() => told.push(event)), { saveWithin: "1 hour" })
        ),
        { faults: Faults.none.pipe(Faults.crash(1, { at: "afterCommit" })) }
      )
      yield* notes.publish({ id: "a", events: ["1"] })
      yield* kit.until(Effect.sync(() => assert.deepStrictEqual(told, ["1"])), patient)
    }).pipe(
      Effect.scoped,
      Effect.exit,
      Effect.map((exit) => assert.instanceOf(Exit.isFailure(exit) && Cause.squash(exit.cause), Faults.UnmetFaults)),
      Effect.provide(Empty)
    ))

  it.effect("does not hide why the test fails", () =>
    Effect.map(
      Effect.exit(run(Faults.none.pipe(Faults.drop(9)), () => () => {
        throw new Error("another reason")
      })),
      (exit) => assert.match(String(exit), /another reason/)
    ))

  for (const at of Faults.CrashPoint.literals) {
    it.effect(`crashes ${at}: exactly once writes once, and another handler sees what was not stored again`, () =>
      Effect.gen(function*() {
        const faults = Faults.none.pipe(Faults.crash(2, { at, step: 1000 }))
        const isTwice = at === "inHandler" || at === "afterHandler"
        const exact = yield* run(faults, exactlyOnce)
        assert.deepStrictEqual(exact.written, once)
        assert.deepStrictEqual(
          exact.told,
          isTwice ? twice : once,
          "what a handler does beside its transaction is not undone"
        )
        assert.deepStrictEqual((yield* run(faults, atLeastOnce)).written, isTwice ? twice : once)
        const lost = yield* run(faults, atMostOnce)
        assert.deepStrictEqual(lost.written, at === "beforeHandler" ? ["1", "3"] : once)
      }))
  }

  it.effect("crashes in the middle of a handler, after any of its steps", () =>
    Effect.gen(function*() {
      const seen = new Set<string>()
      for (let step = 1; step < 100; step++) {
        const steps: Array<string> = []
        const { written } = yield* run(Faults.none.pipe(Faults.crash(1, { at: "inHandler", step })), () =>
          Projection.atLeastOnce("faults", (envelope: Envelope<string>) =>
            Effect.gen(function*() {
              for (let i = 1; i <= 3; i++) {
                steps.push(`${i}`)
                yield* Effect.yieldNow
              }
              yield* record(envelope)
            }), { saveAfter: 1 }), ["1"])
        seen.add(steps.join(""))
        if (steps.join("") === "123123" && written.length === 2) {
          break
        }
        assert.deepStrictEqual(written.length, 1)
      }
      for (const some of ["1123", "12123", "123123"]) {
        assert.isTrue(seen.has(some), `${some} of ${[...seen].join()}`)
      }
    }))

  it.effect("takes along the group that its event is part of", () =>
    Effect.gen(function*() {
      const { told, written } = yield* run(Faults.none.pipe(Faults.crash(2, { at: "afterHandler" })), grouped)
      assert.deepStrictEqual([told, written], [["1", "2", "1", "2", "3"], once])
    }))

  it.effect("reorders the events of entities, and leaves those of each in order", () =>
    Effect.gen(function*() {
      const orders = new Set<string>()
      for (let seed = 1; seed <= 10; seed++) {
        const notes = yield* TestSource.make(Note)
        yield* notes.publish({ id: "a", events: ["a1", "a2"] }, { id: "b", events: ["b1", "b2"] })
        const seen: Array<string> = []
        yield* Effect.gen(function*() {
          const kit = yield* ProjectionTestKit.start(
            notes.pipe(Projection.exactlyOnce("faults", ({ event }) => Effect.sync(() => void seen.push(event)))),
            { faults: Faults.none.pipe(Faults.reorder(seed)) }
          )
          yield* kit.caughtUp(patient)
        }).pipe(Effect.scoped, Effect.provide(Empty))
        assert.deepStrictEqual(seen.filter((event) => event.startsWith("a")), ["a1", "a2"])
        assert.deepStrictEqual(seen.filter((event) => event.startsWith("b")), ["b1", "b2"])
        orders.add(seen.join())
      }
      assert.isAbove(orders.size, 2)
    }))

  it.effect("is one of many: all of them happen", () =>
    Effect.gen(function*() {
      const faults = Faults.none.pipe(
        Faults.crash(1, { at: "afterHandler" }),
        Faults.fail(2),
        Faults.drop(2),
        Faults.failAfterCommit(3),
        Faults.crash(4, { at: "afterCommit" })
      )
      const { told, written } = yield* run(faults, exactlyOnce, ["1", "2", "3", "4"])
      assert.deepStrictEqual([told, written], [["1", "1", "2", "3", "4"], [...once, "4"]])
    }))

  it.effect("kills a flow that has emitted an event, before or after its offset is stored, and others are refused for it", () =>
    Effect.gen(function*() {
      const { written } = yield* run(Faults.none.pipe(Faults.crash(2, { at: "afterCommit" })), flow)
      assert.deepStrictEqual([...new Set(written)], once)
      const again = yield* run(Faults.none.pipe(Faults.crash(2, { at: "afterHandler" })), flow)
      assert.deepStrictEqual([...new Set(again.written)], once)
      assert.isAbove(again.written.filter((event) => event === "2").length, 1)
      for (const fault of [Faults.fail(2), Faults.duplicate(2), Faults.crash(2, { at: "inHandler" })]) {
        assert.match(String(yield* Effect.exit(run(Faults.none.pipe(fault), flow))), /has no calls that could fail/)
      }
    }))

  it("has to be at an event", () => {
    assert.throws(() => Faults.none.pipe(Faults.fail(0)), RangeError)
    assert.throws(() => Faults.none.pipe(Faults.crash(1, { at: "inHandler", step: 0.5 })), RangeError)
  })
})
