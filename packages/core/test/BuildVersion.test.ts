import { assert, describe } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import { HeartbeatStore } from "@sluice/core/HeartbeatStore"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionHealth from "@sluice/core/ProjectionHealth"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as ProjectionWorker from "@sluice/core/ProjectionWorker"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { buildingKey, buildingReport } from "../src/internal/projection/Building.ts"
import { after, Note, start, test, warned, write } from "./projectionKit.ts"

const phases = Effect.map(
  ProjectionStatus.versions("p"),
  (versions) => versions.map(({ phase }) => phase).join(" ")
)

const none: Effect.Effect<void, string> = Effect.void

const isInUse = () => Effect.fail("in use")
const firstNeverEnds = (version: number) => version === 1 ? Effect.never : none
const firstCannotEnd = (version: number) => Effect.uninterruptible(firstNeverEnds(version))
const firstIsInUse = (version: number) => version === 1 ? isInUse() : none

/** A version that handles an event for each permit. */
const made = (version: number, { dropping = () => none, handling = Effect.void, permits, switching = none }: {
  readonly permits?: Semaphore.Semaphore
  readonly handling?: Effect.Effect<void>
  readonly switching?: Effect.Effect<void, string>
  readonly dropping?: (version: number) => Effect.Effect<void, string>
} = {}, source: Source.Source<string, any, any> = Source.journal(Note)) =>
  source.pipe(
    Projection.atLeastOnce("p", () => permits === undefined ? handling : Effect.asVoid(permits.take(1))),
    Projection.version(version, { switch: switching, drop: dropping })
  )

const noteAt = (id: string, sequenceNumber: number, time: number): Envelope.EncodedEnvelope => {
  const persistenceId = PersistenceId.make("note", id)
  return Envelope.encoded({
    persistenceId,
    sequenceNumber: SequenceNumber.make(sequenceNumber),
    slice: Slice.ofPersistenceId(persistenceId),
    position: undefined,
    timestamp: Timestamp.make(time)
  }, EventCodec.string.encodeUnsafe(`${id} ${sequenceNumber}`))
}

/** An event each 340 milliseconds. */
const busy = (times: number) =>
  Effect.gen(function*() {
    for (let i = 0; i < times; i++) {
      yield* after(170)
      yield* write("n-1", "next")
      yield* after(170)
    }
  })

describe("the building of a version", () => {
  test(
    "goes on where another version cannot be dropped, and switches to none that stays behind",
    Effect.gen(function*() {
      const permits = yield* Semaphore.make(0)
      yield* start(made(1))
      yield* after(1_000)
      yield* start(made(2, { dropping: isInUse }))
      yield* after(1_000)
      assert.strictEqual(yield* phases, "Retired Live")
      yield* write("n-1", "1", "2", "3", "4")
      yield* start(made(3, { dropping: isInUse, permits }))
      for (let i = 0; i < 70; i++) {
        yield* write("n-1", "next")
        yield* permits.release(1)
        yield* after(500)
      }
      assert.strictEqual(yield* phases, "Retired Live Building")
      yield* permits.release(100)
      yield* after(1_000)
      assert.strictEqual(yield* phases, "Retired Retired Live")
    })
  )

  test(
    "is not well once its switch has failed for a minute, and is again once that is done",
    Effect.gen(function*() {
      let isReady = false
      const switching = Effect.suspend(() => isReady ? Effect.void : Effect.fail("no such view"))
      const kinds = Effect.map(ProjectionHealth.all(), ({ problems }) => problems.map(({ _tag }) => _tag).join())
      yield* start(made(1))
      yield* after(1_000)
      yield* start(made(2, { switching }))
      for (let i = 0; i < 50; i++) yield* after(1_000)
      assert.strictEqual(yield* kinds, "")
      for (let i = 0; i < 45; i++) yield* after(1_000)
      const { problems: [problem, ...others] } = yield* ProjectionHealth.of("p@2")
      assert.deepStrictEqual(others, [])
      assert.deepInclude(problem, { _tag: "NotSwitched", projection: "p@2", source: "journal:note" })
      assert.match(
        problem!.message,
        /switched to, and version 1 stays live: that has failed \d+ times since .* with Error: no such view/
      )
      assert.deepStrictEqual((yield* ProjectionHealth.of("p")).problems, [], "the one before is well")
      assert.strictEqual(yield* kinds, "NotSwitched")
      isReady = true
      for (let i = 0; i < 45; i++) yield* after(1_000)
      assert.match(yield* phases, /^(Retired|Dropped) Live$/)
      assert.strictEqual(yield* kinds, "")
    })
  )

  test(
    "says that no version is live, where its switch fails and there was none before",
    Effect.gen(function*() {
      const { provide, warnings } = warned()
      yield* Effect.scoped(Effect.gen(function*() {
        yield* start(made(1, { switching: Effect.fail("no such view") }))
        for (let i = 0; i < 100; i++) yield* after(1_000)
        const { problems: [problem] } = yield* ProjectionHealth.of("p")
        assert.match(
          problem!.message,
          /^Version 1 of projection 'p' is not switched to, and no version is live: that has/
        )
      })).pipe(provide)
      assert.strictEqual(warnings[0], "Cannot switch to version 1 of projection 'p'")
    })
  )

  test(
    "counts the failures of its switch, and waits longer after each, also where it is too early for another in between",
    Effect.gen(function*() {
      let [tries, isReady] = [0, false]
      const switching = Effect.suspend(() => ++tries && isReady ? Effect.void : Effect.fail("no such view"))
      const problems = Effect.map(ProjectionHealth.all(), ({ problems }) => problems.map(({ _tag }) => _tag))
      const failed = Effect.map(ProjectionStatus.versions("p"), ([, two]) => two?.failedSwitch?.tries)
      yield* start(made(1))
      yield* after(1_000)
      yield* start(made(2, { switching, handling: Effect.sleep(150) }))
      yield* busy(90)
      assert.deepStrictEqual(yield* problems, [])
      yield* busy(330)
      assert.deepStrictEqual(yield* problems, ["NotSwitched"])
      assert.isAtMost(tries, 12)
      assert.strictEqual(yield* failed, tries)
      isReady = true
      yield* busy(120)
      assert.match(yield* phases, /^(Retired|Dropped) Live$/)
      assert.deepStrictEqual(yield* problems, [])
    })
  )

  test(
    "is well while it is behind, though a switch has failed before that",
    Effect.gen(function*() {
      let tries = 0
      const permits = yield* Semaphore.make(0)
      const switching = Effect.suspend(() => tries++ > 1 ? Effect.void : Effect.fail("busy"))
      yield* start(made(1))
      yield* after(1_000)
      yield* start(made(2, { switching, permits }))
      // once after half a second, and after half a second more
      yield* after(500)
      yield* after(600)
      yield* write("n-1", "1")
      for (let i = 0; i < 100; i++) yield* after(2_000)
      assert.strictEqual((yield* ProjectionStatus.versions("p"))[1]?.failedSwitch?.tries, 2)
      // its handler does not go on
      assert.deepStrictEqual((yield* ProjectionHealth.all()).problems.map(({ _tag }) => _tag), ["StandsStill"])
      yield* permits.release(1)
      yield* after(1_000)
      yield* after(1_000)
      assert.match(yield* phases, /^(Retired|Dropped) Live$/)
    })
  )

  test(
    "is well once it has been behind for long, though its switch had failed for a minute, and fails anew then",
    Effect.gen(function*() {
      let [isGone, tries] = [false, 0]
      const { provider } = Source.journal(Note)
      const source = Source.make({
        ...provider,
        heads: (range) => Effect.suspend(() => isGone ? Effect.fail("gone") : provider.heads(range))
      })
      const permits = yield* Semaphore.make(0)
      const switching = Effect.suspend(() => Effect.fail(`no such view ${++tries}`))
      const failed = Effect.map(ProjectionStatus.versions("p"), ([, two]) => two?.failedSwitch)
      const kinds = Effect.map(ProjectionHealth.all(), ({ problems }) => problems.map(({ _tag }) => _tag).join())
      yield* start(made(1))
      yield* after(1_000)
      yield* start(made(2, { switching, permits }, source))
      for (let i = 0; i < 100; i++) yield* after(1_000)
      assert.strictEqual(yield* kinds, "NotSwitched")
      yield* write("n-1", "1")
      for (let i = 0; i < 100; i++) yield* after(1_000)
      const before = yield* failed
      assert.strictEqual(before?.tries, tries)
      // a look that fails is told beside it, until there is one that does not
      isGone = true
      yield* after(4_000)
      assert.deepInclude(yield* failed, { tries: tries + 1, since: before!.since })
      assert.strictEqual((yield* failed)?.failure.message, "gone")
      isGone = false
      for (let i = 0; i < 60; i++) yield* after(1_000)
      assert.deepStrictEqual([(yield* failed)?.tries, (yield* failed)?.failure.message], [
        tries,
        `no such view ${tries}`
      ])
      for (let i = 0; i < 240; i++) yield* after(1_000)
      assert.isUndefined(yield* failed)
      assert.strictEqual(yield* kinds, "StandsStill")
      isGone = true
      yield* after(4_000)
      const anew = yield* failed
      assert.isTrue(anew!.tries > 1 && anew!.tries < tries, "it is tried again soon, and counted from the beginning")
      assert.isAbove(anew!.since, before!.since + 400_000_000)
    })
  )

  test(
    "is told once by a process that builds it for several ranges",
    Effect.gen(function*() {
      const store = yield* HeartbeatStore
      const told: Array<string> = []
      const counted = HeartbeatStore.of({
        ...store,
        beat: (beat) => {
          told.push(beat.changed.filter(({ key }) => key.source === "").map(({ restarts }) => restarts).join())
          return store.beat(beat)
        }
      })
      let tries = 0
      const switching = Effect.suspend(() => Effect.fail(`no such view ${++tries}`))
      yield* start(made(1))
      yield* after(1_000)
      yield* Effect.gen(function*() {
        for (const [min, max] of [[0, 511], [512, 1023]] as const) {
          yield* ProjectionWorker.start(ProjectionWorker.make(made(2, { switching }), SliceRange.make(min, max)))
        }
        for (let i = 0; i < 10; i++) yield* after(1_000)
      }).pipe(Effect.provideService(HeartbeatStore, counted))
      assert.deepStrictEqual(told.filter((told) => told.includes(",")), [])
      const [, two] = yield* ProjectionStatus.versions("p")
      assert.deepInclude(two!.failedSwitch, { tries })
      assert.strictEqual(two!.failedSwitch!.failure.message, `no such view ${tries}`)
    })
  )

  test(
    "is well again once a source answers that did not, though it is too early for the switch",
    Effect.gen(function*() {
      let isThere = false
      const { provider } = Source.journal(Note)
      const source = Source.make({
        ...provider,
        heads: (range) => Effect.suspend(() => isThere ? provider.heads(range) : Effect.fail("gone"))
      })
      const failed = Effect.map(ProjectionStatus.versions("p"), ([, two]) => two?.failedSwitch?.failure.message)
      yield* write("n-1", "1")
      yield* start(made(1))
      yield* after(1_000)
      yield* start(made(2, { permits: yield* Semaphore.make(0) }, source))
      yield* after(4_000)
      assert.strictEqual(yield* failed, "gone")
      isThere = true
      for (let i = 0; i < 10; i++) yield* after(1_000)
      assert.strictEqual(yield* phases, "Live Building")
      assert.isUndefined(yield* failed)
    })
  )

  test(
    "tries a switch again that was interrupted from within, and says so",
    Effect.gen(function*() {
      yield* start(made(1))
      yield* after(1_000)
      yield* start(made(2, { switching: Effect.interrupt }))
      yield* after(8_000)
      const [, two] = yield* ProjectionStatus.versions("p")
      assert.isAtLeast(two?.failedSwitch?.tries ?? 0, 3)
      assert.strictEqual(two?.failedSwitch?.failure.tag, "Interrupted")
    })
  )

  test(
    "is not done, of a source without positions, while an event waits in another process",
    Effect.gen(function*() {
      const store = yield* HeartbeatStore
      const owner = { name: "other", incarnation: "other" }
      const says = (waits: boolean) =>
        store.beat({
          owner,
          interval: 2_000,
          changed: [{
            key: buildingKey("p@2"),
            range: SliceRange.full,
            ...buildingReport(waits, 0),
            failure: undefined,
            stuck: undefined
          }],
          gone: []
        })
      const { provider } = Source.journal(Note)
      const timed = Source.make({
        ...provider,
        heads: (range) =>
          Effect.map(
            provider.heads(range),
            (heads) =>
              new Map(Array.from(heads, ([slice, { timestamp }]) => [slice, Offset.make(0, timestamp)] as const))
          )
      })
      yield* write("n-1", "1")
      yield* start(made(1))
      yield* after(1_000)
      assert.strictEqual(yield* phases, "Live")
      yield* says(true)
      yield* start(made(2, {}, timed))
      for (let i = 0; i < 20; i++) {
        yield* after(1_000)
        yield* says(true)
      }
      assert.strictEqual(yield* phases, "Live Building")
      yield* says(false)
      yield* after(1_000)
      assert.match(yield* phases, /^(Retired|Dropped) Live$/)
    })
  )

  test(
    "interrupts a switch that never ends, says so, and lets others write",
    Effect.gen(function*() {
      let isReady = false
      const switching = Effect.suspend(() => isReady ? Effect.void : Effect.never)
      yield* start(made(1))
      yield* after(1_000)
      yield* start(made(2, { switching }))
      yield* after(1_000)
      const writing = yield* Effect.forkChild(write("n-1", "one"), { startImmediately: true })
      for (let i = 0; i < 61; i++) yield* after(1_000)
      assert.isTrue(writing.pollUnsafe() !== undefined)
      // the switch holds up whoever asks while it is tried
      const looking = yield* ProjectionHealth.all().pipe(
        Effect.map(({ problems }) => problems.find(({ _tag }) => _tag === "NotSwitched")),
        Effect.repeat({ until: (problem) => problem !== undefined, schedule: Schedule.spaced("200 millis") }),
        Effect.forkChild({ startImmediately: true })
      )
      for (let i = 0; i < 600 && looking.pollUnsafe() === undefined; i++) yield* after(1_000)
      assert.match(
        (yield* Fiber.join(looking))!.message,
        /SwitchTooSlow: The switch to version 2 of projection 'p' was interrupted: 60000 ms have gone by/
      )
      isReady = true
      for (let i = 0; i < 95; i++) yield* after(1_000)
      yield* after(1_000)
      assert.match(yield* phases, /^(Retired|Dropped) Live$/)
    })
  )

  test(
    "leaves a switch that cannot be interrupted to itself, lets others write, and says so until it has ended",
    Effect.gen(function*() {
      const end = yield* Semaphore.make(0)
      let tries = 0
      const switching = Effect.suspend(() => tries++ === 0 ? Effect.uninterruptible(end.take(1)) : Effect.void)
      yield* start(made(1))
      yield* after(1_000)
      yield* start(made(2, { switching: Effect.asVoid(switching) }))
      yield* after(1_000)
      const writing = yield* Effect.forkChild(write("n-1", "one"), { startImmediately: true })
      for (let i = 0; i < 70; i++) yield* after(1_000)
      assert.isDefined(writing.pollUnsafe())
      const failure = Effect.map(
        ProjectionStatus.versions("p"),
        (versions) => versions[1]!.failedSwitch!.failure.message
      )
      assert.match(yield* failure, /the switch that was interrupted has not ended since/)
      for (let i = 0; i < 60; i++) yield* after(1_000)
      const { problems: [problem] } = yield* ProjectionHealth.all()
      assert.strictEqual(problem?._tag, "NotSwitched")
      assert.match(problem!.message, /the switch that was interrupted has not ended since/)
      assert.strictEqual(tries, 1)
      yield* end.release(1)
      for (let i = 0; i < 40; i++) yield* after(1_000)
      assert.strictEqual(tries, 2)
      assert.match(yield* phases, /^(Retired|Dropped) Live$/)
    })
  )

  test(
    "drops others though the drop of a version never ends",
    Effect.gen(function*() {
      for (const version of [1, 2, 3]) {
        yield* start(made(version, { dropping: firstNeverEnds }))
        yield* after(2_000)
      }
      for (let i = 0; i < 70; i++) yield* after(10_000)
      assert.strictEqual(yield* phases, "Retired Dropped Live")
    })
  )

  test(
    "drops others, and ends, though the drop of a version cannot be interrupted",
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      for (const version of [1, 2, 3]) {
        yield* start(made(version, { dropping: firstCannotEnd })).pipe(Scope.provide(scope))
        yield* after(2_000)
      }
      for (let i = 0; i < 70; i++) yield* after(10_000)
      assert.strictEqual(yield* phases, "Retired Dropped Live")
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      for (let i = 0; i < 60; i++) yield* after(1_000)
      assert.isDefined(closing.pollUnsafe())
    })
  )

  test(
    "ends when a drop that it has interrupted has ended",
    Effect.gen(function*() {
      const said: Array<string> = []
      const dropping = (version: number) =>
        version > 1 ? none : Effect.onInterrupt(
          Effect.sync(() => void said.push("begins")).pipe(Effect.andThen(Effect.never)),
          () => Effect.andThen(Effect.sleep(2_000), Effect.sync(() => void said.push("is undone")))
        )
      const scope = yield* Scope.make()
      for (const version of [1, 2]) {
        yield* start(made(version, { dropping })).pipe(Scope.provide(scope))
        yield* after(2_000)
      }
      yield* after(60_000)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      for (let i = 0; i < 60 && closing.pollUnsafe() === undefined; i++) yield* after(1_000)
      assert.deepStrictEqual(said, ["begins", "is undone"])
    })
  )

  test(
    "is not done, of a source without positions, while an event waits here, though none has when the source was asked",
    Effect.gen(function*() {
      const queue = yield* Queue.unbounded<Envelope.EncodedEnvelope>()
      const handled: Array<string> = []
      let head = 100_000_000
      const { provider } = Source.journal(Note)
      const source = Source.make({
        ...provider,
        key: "stream:timed",
        open: () => Effect.succeed({ journal: Source.timestamps, envelopes: Stream.fromQueue(queue) }),
        heads: () => Effect.succeed(new Map([[Slice.make(0), Offset.make(0, head)]])),
        entity: () => Stream.never,
        written: () => Effect.never
      })
      yield* start(source.pipe(
        Projection.exactlyOnce("p", ({ event }) => Effect.sync(() => void handled.push(event))),
        Projection.version(1, { switch: Effect.void })
      ))
      yield* after(2_600)
      head = 101_000_000
      // the first of x is missing
      yield* Queue.offerAll(queue, [noteAt("x", 2, 100_000_000), noteAt("y", 1, 101_000_000)])
      for (let i = 0; i < 10; i++) yield* after(100)
      assert.deepStrictEqual(handled, ["y 1"])
      assert.strictEqual(yield* phases, "Building")
      yield* Queue.offer(queue, noteAt("x", 1, 102_000_000))
      for (let i = 0; i < 30; i++) yield* after(100)
      assert.deepStrictEqual(handled, ["y 1", "x 1", "x 2"])
      assert.strictEqual(yield* phases, "Live")
    })
  )

  test(
    "goes by where the sources are now after a switch that has failed",
    Effect.gen(function*() {
      let isReady = false
      const permits = yield* Semaphore.make(1)
      const switching = Effect.suspend(() => isReady ? Effect.void : Effect.fail("no such view"))
      yield* start(made(1))
      yield* after(1_000)
      yield* write("n-1", "1")
      yield* start(made(2, { switching, permits }))
      yield* after(120_000)
      isReady = true
      yield* write("n-1", "2")
      yield* after(29_000)
      yield* after(29_000)
      assert.strictEqual(yield* phases, "Live Building")
      yield* permits.release(1)
      yield* after(30_000)
      assert.match(yield* phases, /^(Retired|Dropped) Live$/)
    })
  )

  test(
    "may be cancelled, and its process be gone: the process of the live version drops it",
    Effect.gen(function*() {
      const dropped: Array<number> = []
      const dropping = (version: number) => Effect.sync(() => void dropped.push(version))
      yield* start(made(1, { dropping }))
      yield* after(60_000)
      yield* write("n-1", "1")
      yield* Effect.scoped(Effect.gen(function*() {
        yield* start(made(2, { dropping, permits: yield* Semaphore.make(0) }))
        yield* after(1_000)
      }))
      yield* ProjectionManagement.cancelRebuild("p")
      assert.strictEqual(yield* phases, "Live Retired")
      yield* after(60_000)
      assert.strictEqual(yield* phases, "Live Dropped")
      assert.deepStrictEqual(dropped, [2])
    })
  )

  test(
    "drops what it can, also after a version that cannot be dropped",
    Effect.gen(function*() {
      for (const version of [1, 2, 3]) {
        yield* start(made(version, { dropping: firstIsInUse }))
        yield* after(2_000)
      }
      yield* after(60_000)
      assert.strictEqual(yield* phases, "Retired Dropped Live")
    })
  )

  test(
    "takes no commands to one that is retired, though its sources are known",
    Effect.gen(function*() {
      const [first] = [made(1, { dropping: isInUse })]
      yield* start(first)
      yield* after(1_000)
      yield* start(made(2, { dropping: isInUse }))
      yield* after(2_000)
      assert.strictEqual(yield* phases, "Retired Live")
      for (const ref of ["p", first]) {
        const error = yield* Effect.flip(ProjectionManagement.rewind(ref, "beginning"))
        assert.deepStrictEqual([error._tag, (error as ProjectionManagement.UnknownProjection).live], [
          "UnknownProjection",
          "p@2"
        ])
      }
      let undone = 0
      const undo = Effect.sync(() => void undone++)
      // a definition without versions is the first one
      const old = Source.journal(Note).pipe(Projection.atLeastOnce("p", () => Effect.void))
      for (const one of [first, old]) {
        const error = yield* Effect.flip(Projection.rewind(one, "beginning", { undo }))
        assert.deepInclude(error, { _tag: "UnknownProjection", live: "p@2" })
      }
      assert.strictEqual(undone, 0)
      assert.deepStrictEqual((yield* ProjectionManagement.history("p")).map(({ command }) => command), [
        "Switch",
        "Switch",
        "Build"
      ])
    })
  )

  test(
    "says that one does not run any more also where none is live, as the first build was cancelled",
    Effect.gen(function*() {
      let inUse = true
      const dropping = () => Effect.suspend(() => inUse ? isInUse() : none)
      const first = made(1, { dropping, permits: yield* Semaphore.make(0) })
      yield* write("n-1", "1")
      yield* start(first)
      yield* after(1_000)
      yield* ProjectionManagement.cancelRebuild("p")
      for (const phase of ["Retired", "Dropped"]) {
        yield* after(60_000)
        assert.strictEqual(yield* phases, phase)
        for (
          const command of [
            ProjectionManagement.rewind("p", "beginning"),
            ProjectionManagement.pause("p"),
            Projection.rewind(first, "beginning")
          ]
        ) {
          const error = yield* Effect.flip(command)
          assert.deepInclude(error, { _tag: "UnknownProjection", isRetired: true, live: undefined })
          assert.strictEqual(
            (error as ProjectionManagement.UnknownProjection).message,
            "Projection 'p' is a version that does not run any more, and none is live: start one with the next number, or name one that is being built"
          )
        }
        inUse = false
      }
    })
  )

  test(
    "says which one is live, where one is rewound that was dropped",
    Effect.gen(function*() {
      const first = made(1)
      yield* start(first)
      yield* after(1_000)
      yield* start(made(2))
      yield* after(60_000)
      assert.strictEqual(yield* phases, "Dropped Live")
      assert.deepInclude(yield* Effect.flip(Projection.rewind(first, "beginning")), {
        _tag: "UnknownProjection",
        live: "p@2"
      })
    })
  )

  test(
    "does not let one be rewound that is retired just before its rewind",
    Effect.gen(function*() {
      const first = made(1, { dropping: isInUse })
      yield* start(first)
      yield* after(1_000)
      const management = yield* ProjectionManagement.ProjectionManagement
      const second = { of: "p", version: 2 }
      const complete = Effect.andThen(
        Effect.ignore(management.declare(second)),
        Effect.catchTag(management.complete(second, () => true, Effect.void), "SwitchTooSlow", Effect.die)
      )
      const late = ProjectionManagement.ProjectionManagement.of({
        ...management,
        rewind: (...args) => Effect.andThen(complete, management.rewind(...args))
      })
      let undone = 0
      const undo = Effect.sync(() => void undone++)
      const error = yield* Effect.flip(Projection.rewind(first, "beginning", { undo })).pipe(
        Effect.provideService(ProjectionManagement.ProjectionManagement, late)
      )
      assert.deepInclude(error, { _tag: "UnknownProjection", live: "p@2" })
      assert.strictEqual(undone, 0)
      assert.strictEqual(yield* phases, "Retired Live")
    })
  )

  test(
    "is not begun by a rewind that fails, and is not rewound by its first command",
    Effect.gen(function*() {
      yield* start(made(1))
      yield* after(1_000)
      const since = Timestamp.make(9e15)
      const error = yield* Effect.flip(Projection.rewind(made(2), { since }, { by: "ada" }))
      assert.strictEqual(error._tag, "SinceInFuture")
      assert.strictEqual(yield* phases, "Live")
      yield* Projection.rewind(made(2), "beginning", { by: "ada", reason: "a test" })
      assert.strictEqual(yield* phases, "Live Building")
      const commands = yield* ProjectionManagement.history("p@2")
      assert.deepStrictEqual(commands.map(({ by, command, reason, target }) => [command, target, by, reason]), [
        ["Rewind", "beginning", "ada", "a test"],
        ["Build", undefined, "ada", "a test"]
      ])
    })
  )
})
