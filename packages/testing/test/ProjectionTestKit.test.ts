import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import { WorkerStopped } from "@sluice/core/ProjectionError"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Source from "@sluice/core/Source"
import * as Faults from "@sluice/testing/Faults"
import * as ProjectionTestKit from "@sluice/testing/ProjectionTestKit"
import * as Simulation from "@sluice/testing/Simulation"
import * as TestSource from "@sluice/testing/TestSource"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Stream from "effect/Stream"

const Note = EntityType.make("note", { codec: EventCodec.string })
const Other = EntityType.make("other", { codec: EventCodec.string })

/** What a busy machine needs is not what is tested. */
const patient = { timeout: "2 minutes" } as const

const Quiet = Layer.succeed(References.MinimumLogLevel, "None")
const Empty = Layer.mergeAll(Layer.fresh(MemoryStorage.layer), ProjectionRegistry.layer, Quiet)

const write = (seen: Array<string>) => ({ event }: Envelope<string>) => Effect.sync(() => void seen.push(event))

const equals = (seen: ReadonlyArray<string>, expected: ReadonlyArray<string>) =>
  Effect.sync(() => assert.deepStrictEqual(seen, expected))

describe("a projection on a test source", () => {
  for (const [time, test] of [["a test clock", it.effect], ["the real clock", it.live]] as const) {
    test(`runs until an assertion holds, by ${time}`, () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const Notes = Source.journal(Note).pipe(
          Source.filter(({ event }) => event !== "2"),
          Projection.exactlyOnce("kit", write(seen))
        )
        const notes = yield* TestSource.make(Note)
        const kit = yield* ProjectionTestKit.start(Notes.pipe(ProjectionTestKit.withSource(notes)))
        yield* notes.publish({ id: "a", events: ["1", "2"] })
        yield* kit.until(equals(seen, ["1"]), patient)
        yield* notes.publish({ id: "a", events: ["3"] })
        yield* kit.until(equals(seen, ["1", "3"]), patient)
        yield* kit.caughtUp(patient)
        assert.strictEqual(yield* ProjectionStatus.lag("kit"), 0)
      }).pipe(Effect.provide(Empty)))

    test(`waits for a group that is not full, and for offsets that are stored after a while, by ${time}`, () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const notes = yield* TestSource.make(Note)
        const kit = yield* ProjectionTestKit.start(notes.pipe(
          Projection.atLeastOnce(
            "kit",
            Handler.grouped(
              { size: 100, within: "1 second" },
              (group) => Effect.sync(() => void seen.push(group.map(({ event }) => event).join("+")))
            ),
            { saveAfter: 1000, saveWithin: "1 second" }
          )
        ))
        yield* notes.publish({ id: "a", events: ["1", "2"] })
        yield* kit.until(equals(seen, ["1+2"]), patient)
        yield* kit.caughtUp(patient)
      }).pipe(Effect.provide(Empty)))
  }

  it.effect("does not move a test clock where nothing waits for it", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const notes = yield* TestSource.make(Note)
      const kit = yield* ProjectionTestKit.start(notes.pipe(Projection.exactlyOnce("kit", write(seen))))
      yield* notes.publish({ id: "a", events: ["1"] })
      let tries = 0
      yield* kit.until(Effect.suspend(() => ++tries < 5 ? Effect.fail("not yet") : equals(seen, ["1"])), patient)
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    }).pipe(Effect.provide(Empty)))

  it.effect("fails as the assertion did last", () =>
    Effect.gen(function*() {
      const notes = yield* TestSource.make(Note)
      const kit = yield* ProjectionTestKit.start(notes.pipe(Projection.exactlyOnce("kit", () => Effect.void)))
      let tries = 0
      const error = yield* Effect.flip(kit.until(Effect.suspend(() => Effect.fail(++tries)), { timeout: "50 millis" }))
      assert.strictEqual(error, tries)
      assert.isAbove(tries, 1)
      const exit = yield* Effect.exit(
        kit.until(Effect.sync(() => assert.strictEqual(1, 2, "one is two")), { timeout: 1 })
      )
      assert.match(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), /one is two/)
    }).pipe(Effect.provide(Empty)))

  it.effect("does not wait for a worker that has stopped, and says why it has", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const notes = yield* TestSource.make(Note)
      const kit = yield* ProjectionTestKit.start(notes.pipe(
        Projection.exactlyOnce("kit", () => Effect.fail("broken")),
        Projection.recovery(RecoveryStrategy.fail)
      ))
      yield* notes.publish({ id: "a", events: ["1"] })
      // for ever, if it did
      const exit = yield* Effect.exit(kit.until(equals(seen, ["1"]), { timeout: "1 day" }))
      const [first, why] = Exit.isFailure(exit)
        ? exit.cause.reasons.map((reason) => Cause.isDieReason(reason) && reason.defect)
        : []
      assert.match(String(first), /deeply equal/)
      assert.instanceOf(why, WorkerStopped)
    }).pipe(Effect.provide(Empty)))

  it.effect("says of a projection that does not catch up how its workers are, what they have failed with, and the faults", () =>
    Effect.gen(function*() {
      const notes = yield* TestSource.make(Note)
      const kit = yield* ProjectionTestKit.start(
        notes.pipe(Projection.exactlyOnce("kit", () => Effect.fail("no such table"))),
        { faults: Faults.none.pipe(Faults.duplicate(1)) }
      )
      yield* notes.publish({ id: "a", events: ["1"] })
      const failed = Effect.map(
        ProjectionRegistry.ProjectionRegistry,
        (registry) => assert.isDefined(registry.workers("kit")[0]!.reading.lastFailure)
      )
      yield* kit.until(failed, patient)
      const exit = yield* Effect.exit(kit.caughtUp({ timeout: 1 }))
      assert.match(
        String(Exit.isFailure(exit) && Cause.squash(exit.cause)),
        /'kit' has yet to handle 1 event: .*0-1023.* event 1 of 'note\|a'.*no such table.*repeats event 1/
      )
      const others = yield* Effect.exit(kit.until(Effect.fail("not yet"), { timeout: 1 }))
      assert.match(String(others), /not yet.*0-1023.*no such table/s)
    }).pipe(Effect.provide(Empty)))

  it.effect("goes on after a crash from the offset that is stored", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const started: Array<string> = []
      const notes = yield* TestSource.make(Note)
      const kit = yield* ProjectionTestKit.start(notes.pipe(
        Projection.atLeastOnce(
          "kit",
          Handler.scoped(() => Effect.as(Effect.sync(() => started.push("start")), write(seen))),
          { saveAfter: 1000, saveWithin: "1 hour" }
        )
      ))
      yield* notes.publish({ id: "a", events: ["1", "2"] })
      yield* kit.until(equals(seen, ["1", "2"]), patient)
      yield* kit.crash
      yield* kit.until(equals(seen, ["1", "2", "1", "2"]), patient)
      assert.deepStrictEqual(started, ["start", "start"])
    }).pipe(Effect.provide(Empty)))

  it.effect("crashes where a handler sleeps uninterruptibly", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const notes = yield* TestSource.make(Note)
      const kit = yield* ProjectionTestKit.start(notes.pipe(
        Projection.atLeastOnce("kit", ({ event }) =>
          Effect.andThen(
            Effect.sync(() => seen.push(event)),
            Effect.uninterruptible(Effect.sleep("1 second"))
          ))
      ))
      yield* notes.publish({ id: "a", events: ["1"] })
      yield* kit.until(equals(seen, ["1"]), patient)
      yield* kit.crash
      yield* kit.until(equals(seen, ["1", "1"]), patient)
      yield* kit.caughtUp(patient)
    }).pipe(Effect.provide(Empty)))

  it.effect("makes a projection again after a crash, with nothing in its memory", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const notes = yield* TestSource.make(Note)
      const kit = yield* ProjectionTestKit.start(() => {
        let calls = 0
        return notes.pipe(
          Projection.exactlyOnce("kit", ({ event }) => Effect.sync(() => void seen.push(`${event} ${++calls}`)))
        )
      })
      yield* notes.publish({ id: "a", events: ["1", "2"] })
      yield* kit.caughtUp(patient)
      yield* kit.crash
      yield* notes.publish({ id: "a", events: ["3"] })
      yield* kit.until(equals(seen, ["1 1", "2 2", "3 1"]), patient)
    }).pipe(Effect.provide(Empty)))

  it.effect("replaces several sources in their order, and nothing by what has another codec", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const Both = Source.mergeAll([
        Source.journal(Note).pipe(Source.map(({ event }) => `note ${event}`)),
        Source.journal(Other).pipe(Source.map(({ event }) => `other ${event}`))
      ]).pipe(Projection.exactlyOnce("kit", write(seen)))
      const notes = yield* TestSource.make(Note)
      const others = yield* TestSource.make(Other)
      const kit = yield* ProjectionTestKit.start(Both.pipe(ProjectionTestKit.withSource(notes, others)))
      yield* notes.publish({ id: "a", events: ["1"] })
      yield* others.publish({ id: "a", events: ["1"] })
      yield* kit.until(Effect.sync(() => assert.deepStrictEqual(seen.toSorted(), ["note 1", "other 1"])), patient)
      assert.throws(() => Both.pipe(ProjectionTestKit.withSource(notes)), /has 2 sources, and 1 test sources/)
      const unlike = yield* TestSource.make(
        EntityType.make("note", {
          codec: EventCodec.make({
            ...EventCodec.string,
            encode: EventCodec.string.encodeUnsafe,
            decode: EventCodec.string.decodeUnsafe
          })
        })
      )
      assert.throws(() => Both.pipe(ProjectionTestKit.withSource(unlike, others)), /not of the codec/)
    }).pipe(Effect.provide(Empty)))

  it.effect("runs a flow", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const notes = yield* TestSource.make(Note)
      const kit = yield* ProjectionTestKit.start(notes.pipe(
        Projection.flow("kit", (envelopes) => Stream.tap(envelopes, write(seen)))
      ))
      yield* notes.publish({ id: "a", events: ["1", "2"] })
      yield* kit.until(equals(seen, ["1", "2"]), patient)
      yield* kit.caughtUp(patient)
    }).pipe(Effect.provide(Empty)))
})

it("runs in a simulation, by its time", () => {
  const program = Effect.gen(function*() {
    const seen: Array<string> = []
    const notes = yield* TestSource.make(Note)
    const kit = yield* ProjectionTestKit.start(notes.pipe(
      Projection.exactlyOnce(
        "kit",
        Handler.grouped(
          { size: 10, within: "1 minute" },
          (group: ReadonlyArray<Envelope<string>>) =>
            Effect.sync(() => void seen.push(...group.map(({ event }) => event)))
        )
      )
    ))
    yield* notes.publish({ id: "a", events: ["1", "2"] })
    yield* kit.until(equals(seen, ["1", "2"]), { timeout: "2 minutes" })
    yield* kit.crash
    yield* kit.caughtUp({ timeout: "2 minutes" })
    return seen
  }).pipe(Effect.scoped, Effect.provide(Empty))
  for (const seed of [1, 2, 3]) {
    const { exit } = Simulation.run(program, { seed })
    assert.deepStrictEqual(exit, Exit.succeed(["1", "2"]))
  }
})
