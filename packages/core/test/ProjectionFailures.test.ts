import { assert } from "@effect/vitest"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import type { StorageError } from "@sluice/core/StorageError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as JumpingClock from "../../../test/kit/JumpingClock.ts"
import {
  after,
  Note,
  settle,
  sourceOf,
  start,
  statusOf,
  storedPositions,
  test,
  unavailable,
  withRandom,
  write
} from "./projectionKit.ts"
import { eventAt } from "./readingKit.ts"

test(
  "a handler that is interrupted from within is a failure like others: the worker does not vanish",
  Effect.gen(function*() {
    yield* write("a", "1", "2")
    yield* start(
      Source.journal(Note).pipe(
        Projection.exactlyOnce("notes", ({ event }) => event === "2" ? Effect.interrupt : Effect.void),
        Projection.recovery(RecoveryStrategy.fail)
      )
    )
    yield* settle
    const status = yield* statusOf("notes")
    assert.include(["Restarting", "Stopped"], status.state)
  })
)
test(
  "a worker looks again and again, and says so, while the commands are older than the offsets that they have set",
  Effect.gen(function*() {
    const store = yield* OffsetStore
    let isBehind = true
    let loads = 0
    const ahead = OffsetStore.of({
      ...store,
      load: (key, range) =>
        Effect.map(store.load(key, range), (stored) => {
          loads++
          return isBehind && stored.revision !== undefined ? { ...stored, revision: 3 } : stored
        })
    })
    yield* write("a", "1")
    yield* Effect.provideService(
      start(Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))),
      OffsetStore,
      ahead
    )
    for (let i = 0; i < 60; i++) yield* after(1_000)
    assert.isBelow(loads, 25)
    const { failure, restarts, state } = yield* statusOf("notes")
    assert.strictEqual(state, "Restarting")
    assert.isAbove(restarts, 3)
    assert.include(Cause.pretty(failure!.cause), "revision 3, and its newest command has revision 0")
    isBehind = false
    for (let i = 0; i < 40; i++) yield* after(1_000)
    assert.strictEqual((yield* statusOf("notes")).state, "Running")
  })
)
test(
  "a stage that is interrupted from within is a failure like others: the worker does not vanish",
  Effect.gen(function*() {
    yield* write("a", "1", "2")
    yield* start(
      Source.journal(Note).pipe(
        Source.tap(({ event }) => event === "2" ? Effect.interrupt : Effect.void),
        Projection.exactlyOnce("notes", () => Effect.void),
        Projection.recovery(RecoveryStrategy.fail)
      )
    )
    yield* settle
    const status = yield* statusOf("notes")
    assert.include(["Restarting", "Stopped"], status.state)
  })
)

test(
  "stores after saveWithin, also while a page of events is handled slowly",
  Effect.gen(function*() {
    const events = Array.from({ length: 50 }, (_, i) => `${i}`) as [string, ...Array<string>]
    yield* write("a", ...events)
    yield* start(Source.journal(Note).pipe(Projection.atLeastOnce("notes", () => Effect.sleep(100))))
    for (let i = 0; i < 11; i++) yield* after(100)
    const [position] = yield* storedPositions("notes")
    assert.isAtLeast(position ?? 0, 5)
  })
)

test(
  "a handler of groups that throws does not move the offsets of events that were not handled",
  Effect.gen(function*() {
    yield* write("a", "1")
    yield* write("b", "2")
    let broken = true
    const seen: Array<string> = []
    const projection = Source.journal(Note).pipe(
      Projection.exactlyOnce(
        "notes",
        Handler.grouped({ size: 2, within: 10 }, (envelopes: ReadonlyArray<{ readonly event: string }>) => {
          if (broken && envelopes.some(({ event }) => event === "2")) throw new Error("thrown, not failed")
          return Effect.sync(() => seen.push(...envelopes.map(({ event }) => event)))
        })
      ),
      Projection.recovery(RecoveryStrategy.fail)
    )
    yield* Effect.scoped(Effect.gen(function*() {
      yield* start(projection)
      yield* after(10)
      assert.strictEqual((yield* statusOf("notes")).state, "Stopped")
    }))
    broken = false
    yield* start(projection)
    yield* after(10)
    assert.deepStrictEqual(seen, ["1", "2"])
  })
)

test(
  "a function of an effectful stage that throws makes the event poison",
  Effect.gen(function*() {
    const seen: Array<string> = []
    yield* write("a", "1", "2", "3")
    yield* start(
      Source.journal(Note).pipe(
        Source.tap(({ event }) => {
          if (event === "2") throw new Error("thrown, not failed")
          return Effect.void
        }),
        Projection.exactlyOnce("notes", ({ event }) => Effect.sync(() => seen.push(event))),
        Projection.recovery(RecoveryStrategy.fail)
      )
    )
    yield* after(1000)
    const status = yield* statusOf("notes")
    assert.deepStrictEqual(seen, ["1"])
    assert.strictEqual(status.state, "Stopped")
  })
)

test(
  "a second projection of the same name is refused, by name, and leaves the first alone",
  Effect.gen(function*() {
    const projection = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))
    const first = yield* Scope.make()
    yield* Layer.build(Projection.layer(projection)).pipe(Scope.provide(first))
    const other = Source.journal(Note).pipe(Projection.atLeastOnce("notes", () => Effect.void))
    for (const second of [Effect.scoped(Layer.build(Projection.layer(projection))), Projection.run(other)]) {
      const exit = yield* Effect.exit(second)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(defect, ProjectionStatus.ProjectionAlreadyRuns)
      assert.include(defect.message, "'notes'")
    }
    assert.strictEqual((yield* ProjectionStatus.status("notes")).length, 1)
    yield* Scope.close(first, Exit.void)
    assert.strictEqual((yield* ProjectionStatus.status("notes")).length, 0)
    yield* start(projection)
    assert.strictEqual((yield* ProjectionStatus.status("notes")).length, 1)
  })
)

test(
  "placeholders alone do not wait for a group to fill",
  Effect.gen(function*() {
    yield* write("a", "1", "2", "3")
    const source = Source.journal(Note).pipe(Source.filter(() => false))
    yield* start(
      source.pipe(Projection.exactlyOnce("notes", Handler.grouped({ size: 10, within: 3_600_000 }, () => Effect.void)))
    )
    yield* settle
    assert.deepStrictEqual(yield* storedPositions("notes"), [3])
  })
)

test(
  "a worker that runs again has no failure",
  Effect.gen(function*() {
    let failures = 0
    yield* write("a", "1")
    yield* start(
      Source.journal(Note).pipe(
        Source.tap(() => failures++ === 0 ? Effect.fail(unavailable) : Effect.void),
        Projection.exactlyOnce("notes", () => Effect.void)
      )
    )
    yield* after(240)
    assert.deepInclude(yield* statusOf("notes"), { state: "Running", failure: undefined, restarts: 1 })
  })
)

test(
  "a conflict in one fiber of a transaction does not undo what another appends",
  Effect.gen(function*() {
    yield* write("a", "1")
    yield* Journal.transaction(Effect.forEach(
      Array.from({ length: 4000 }, (_, i) => i),
      (i) =>
        i % 2 === 0
          ? Effect.exit(Journal.append(Note, { id: "a", events: ["never"], expected: "none" }))
          : Effect.exit(write(`${i % 100}`, `${i}`)),
      { concurrency: "unbounded", discard: true }
    ))
    const journal = yield* Journal.Journal
    const heads = yield* journal.heads("note", SliceRange.full)
    assert.strictEqual(Offset.lag(heads, Offset.none), 2001)
  })
)

test(
  "whoever waited for a worker to catch up is forgotten",
  Effect.gen(function*() {
    let calls = 0
    yield* write("a", "1")
    yield* start(Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void)))
    const [worker] = (yield* ProjectionRegistry.ProjectionRegistry).workers("notes")
    yield* worker!.until(() => {
      calls++
      return true
    })
    yield* write("a", "2")
    yield* settle
    assert.strictEqual(calls, 1)
  })
)

test(
  "a worker that is still opening its source is paused",
  Effect.scoped(Effect.gen(function*() {
    yield* start(sourceOf(Effect.never).pipe(Projection.exactlyOnce("notes", () => Effect.void)))
    assert.strictEqual((yield* statusOf("notes")).state, "Starting")
    yield* ProjectionManagement.pause("notes")
    yield* after(2000)
    assert.strictEqual((yield* statusOf("notes")).state, "Paused")
    yield* ProjectionManagement.resume("notes")
    yield* after(2000)
    assert.strictEqual((yield* statusOf("notes")).state, "Starting")
  }))
)

/** What workers say, without the times and names that a logger adds. */
const lines: Array<{ readonly message: string; readonly cause: boolean }> = []
const remember = Logger.layer([
  Logger.make<unknown, void>(({ cause, message }) => {
    const [text, ...details] = Array.isArray(message) ? message : [message]
    lines.push({ message: String(text), cause: details.length > 0 || cause.reasons.length > 0 })
  })
])

const listening = <R>(effect: Effect.Effect<void, unknown, R>) =>
  effect.pipe(
    Effect.provide(remember),
    Effect.provideService(References.MinimumLogLevel, "Warn")
  )

/** One line with the text, and why. */
const assertSaidOnce = (text: string): void => {
  assert.deepStrictEqual(lines.map(({ cause, message }) => [message.includes(text), cause]), [[true, true]])
}

test(
  "commands that cannot be read are said once, and heeded when they can be again",
  Effect.gen(function*() {
    const management = yield* ProjectionManagement.ProjectionManagement
    let failure: Effect.Effect<never, StorageError> | undefined
    yield* start(Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))).pipe(
      Effect.provideService(ProjectionManagement.ProjectionManagement, {
        ...management,
        commanded: Effect.suspend(() => failure ?? management.commanded)
      })
    )
    lines.length = 0
    failure = Effect.fail(unavailable)
    yield* after(1000)
    failure = Effect.die("a defect")
    yield* ProjectionManagement.pause("notes")
    yield* after(3000)
    assert.strictEqual((yield* statusOf("notes")).state, "Running")
    assertSaidOnce("Cannot read the commands")
    failure = undefined
    yield* after(1000)
    assert.strictEqual((yield* statusOf("notes")).state, "Paused")
  }).pipe(listening)
)

test(
  "a worker whose source does not say its newest positions says so once, and asks again, also after a defect",
  Effect.gen(function*() {
    const { provider } = Source.journal(Note)
    const answers: Array<Effect.Effect<Offset.Offsets, StorageError>> = [
      Effect.fail(unavailable),
      Effect.die("a defect"),
      Effect.fail(unavailable)
    ]
    const source = Source.make({
      ...provider,
      heads: (range) => Effect.suspend(() => answers.shift() ?? provider.heads(range))
    })
    lines.length = 0
    yield* start(source.pipe(Projection.exactlyOnce("notes", () => Effect.void)))
    for (let i = 0; i < 10 && answers.length > 0; i++) {
      assert.strictEqual((yield* statusOf("notes")).state, "CatchingUp")
      yield* after(30_000)
    }
    yield* after(30_000)
    assert.strictEqual((yield* statusOf("notes")).state, "Running")
    assertSaidOnce("newest positions")
  }).pipe(listening)
)

test(
  "a projection that runs in two places says so in a line, ever more rarely, and what to do",
  Effect.gen(function*() {
    const notes = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))
    const key = Projection.offsetKey(notes)
    const store = yield* OffsetStore
    yield* start(notes)
    lines.length = 0
    // whatever this worker wants to move, somebody else has moved already
    let position = 0
    // in one transaction, as the worker is quick to handle what is written
    const move = Journal.transaction(Effect.gen(function*() {
      const { offsets, revision } = yield* store.load(key, SliceRange.full)
      const { position: to, slice, timestamp } = yield* write("a", `${++position}`)
      yield* store.transact(
        key,
        { journal: (yield* Journal.Journal).identity, revision: revision! },
        [{ slice, from: offsets.get(slice), to: Offset.make(to, timestamp) }],
        Effect.void
      )
    }))
    const overtake = Effect.andThen(move, settle)
    for (const backoff of [200, 400, 800, 1600, 3200, 5000, 5000]) {
      yield* overtake
      const [line] = lines.splice(0)
      assert.include(line!.message, `Looks again in ${backoff} ms`)
      assert.include(line!.message, "Another worker of projection 'notes'")
      assert.include(line!.message, "Let one process run it")
      assert.isFalse(line!.cause)
      yield* after(backoff)
      assert.strictEqual((yield* statusOf("notes")).state, "Running")
    }
    // alone for long enough
    yield* after(11_000)
    yield* overtake
    assert.include(lines.splice(0)[0]!.message, "Looks again in 200 ms")
  }).pipe(
    withRandom(0.5),
    listening
  )
)

test(
  "what is put aside is fetched before the offset moves, for so long: then the worker begins again, and nobody waits for it",
  Effect.gen(function*() {
    yield* write("a", "1")
    const journal = Source.journal(Note)
    let isMute = true
    const source = Source.make({
      ...journal.provider,
      entity: (...of) => isMute ? Stream.never : journal.provider.entity(...of)
    })
    yield* start(
      source.pipe(
        Projection.exactlyOnce("notes", () => Effect.fail("no")),
        Projection.recovery(RecoveryStrategy.deadLetter)
      )
    )
    // storage in memory has one transaction at a time
    yield* write("b", "1")
    yield* after(10_000)
    const { failure, skipped, state } = yield* statusOf("notes")
    assert.strictEqual(state, "Restarting")
    assert.instanceOf(Cause.squash(failure!.cause), Source.SourceTimeout)
    assert.strictEqual(skipped, 0)
    assert.deepStrictEqual(yield* storedPositions("notes"), [])
    isMute = false
    yield* after(1000)
    assert.deepInclude(yield* statusOf("notes"), { state: "Running", skipped: 2 })
    assert.deepStrictEqual(yield* storedPositions("notes"), [1, 1])
  })
)

test(
  "an at-least-once worker that crashes after it has put something aside has stored so",
  Effect.gen(function*() {
    yield* write("a", "1", "bad", "3")
    const notes = Source.journal(Note).pipe(
      Projection.atLeastOnce("notes", ({ event }) => event === "bad" ? Effect.fail("no") : Effect.void, {
        saveAfter: 1000,
        saveWithin: 3_600_000
      }),
      Projection.recovery(RecoveryStrategy.deadLetter)
    )
    const store = yield* OffsetStore
    let transactions = 0
    // the last one is the attempt to store what was handled since, when it ends
    const crashing = OffsetStore.of({
      ...store,
      transact: (key, basis, moves, effect) =>
        ++transactions > 2 ? Effect.fail(unavailable) : store.transact(key, basis, moves, effect)
    })
    yield* Effect.scoped(Effect.provideService(start(notes), OffsetStore, crashing))
    assert.deepStrictEqual(yield* storedPositions("notes"), [2])
    const letters = yield* ProjectionManagement.deadLetters(notes)
    assert.deepStrictEqual(letters.map(({ envelope }) => envelope.sequenceNumber as number), [2])
  })
)

test(
  "a clock that is set back, or ahead, holds nothing up",
  Effect.gen(function*() {
    const clock = yield* JumpingClock.make
    const groups: Array<number> = []
    yield* Effect.all([
      start(
        Source.journal(Note).pipe(Projection.exactlyOnce(
          "grouped",
          Handler.grouped(
            { size: 100, within: 300 },
            (envelopes) => Effect.sync(() => void groups.push(envelopes.length))
          )
        ))
      ),
      start(Source.journal(Note).pipe(Projection.atLeastOnce("single", () => Effect.void, { saveWithin: 300 })))
    ]).pipe(clock.provide)
    for (const jump of [-3_600_000, 7_200_000]) {
      yield* write("a", "1")
      yield* after(10)
      clock.jump(jump)
      yield* write("a", "2")
      yield* after(289)
      assert.deepStrictEqual(groups, [], "not before its time")
      yield* after(2)
      assert.deepStrictEqual(groups.splice(0), [2])
      assert.strictEqual(yield* ProjectionStatus.lag("grouped"), 0)
      assert.strictEqual(yield* ProjectionStatus.lag("single"), 0)
    }
  })
)

/** Reads two events, and is told then that the second one is lost. Says with which offsets the source was opened. */
const forked = (goesBack: boolean) =>
  Effect.gen(function*() {
    const slice = Slice.make(3)
    const stored = yield* OffsetStore
    const isLost = Latch.makeUnsafe()
    const begun: Array<Array<number>> = []
    const fork = new Journal.JournalForked({ entityType: "note", slice, offset: Offset.make(2, 20) })
    const source = Source.make({
      ...sourceOf(Effect.never).provider,
      open: (_range, { offsets }) =>
        Effect.sync(() => {
          begun.push([...offsets.values()].map(({ position }) => position as number))
          const events = begun.length > 1 ? Stream.empty : Stream.fromIterable([1, 2].map((position) => ({
            ...eventAt(slice, position, 10 * position),
            payload: EventCodec.string.encodeUnsafe(`${position}`)
          })))
          const end = begun.length > 1 ? Effect.never : Effect.andThen(isLost.await, Effect.fail(fork))
          return { journal: "j", envelopes: Stream.concat(events, Stream.fromEffect(end)) }
        })
    })
    yield* start(source.pipe(Projection.exactlyOnce("notes", () => Effect.void))).pipe(
      Effect.provideService(OffsetStore, {
        ...stored,
        load: (key, range) =>
          Effect.map(stored.load(key, range), (found) =>
            goesBack && begun.length > 0 ? { ...found, offsets: new Map([[slice, Offset.make(1, 10)]]) } : found)
      })
    )
    assert.strictEqual((yield* statusOf("notes")).handled, 2)
    yield* isLost.open
    yield* settle
    return { begun, fork, worker: yield* statusOf("notes") }
  })

test(
  "a journal that has lost events is no reason to stop where the stored offsets went back with it",
  Effect.gen(function*() {
    const { begun, fork, worker } = yield* forked(true)
    assert.strictEqual(worker.state, "Restarting")
    assert.strictEqual(worker.failure && Cause.squash(worker.failure.cause), fork)
    yield* after(300)
    assert.deepStrictEqual(begun, [[], [1]])
    assert.strictEqual((yield* statusOf("notes")).state, "Running")
  })
)

test(
  "a journal that has lost events is a reason to stop where the stored offsets are of them",
  Effect.gen(function*() {
    const { worker } = yield* forked(false)
    assert.strictEqual(worker.state, "Stopped")
  })
)

test(
  "a journal that has lost events of which no offset is stored is waited for, as there is nothing to move back",
  Effect.gen(function*() {
    const fork = new Journal.JournalForked({ entityType: "note", slice: Slice.make(3), offset: Offset.make(2, 20) })
    let opened = 0
    const source = Source.make({
      ...sourceOf(Effect.suspend(() => {
        opened++
        return Effect.fail(fork)
      })).provider,
      onReplaced: "rewind"
    })
    yield* start(source.pipe(Projection.exactlyOnce("notes", () => Effect.void)))
    yield* settle
    assert.strictEqual(opened, 1)
    assert.strictEqual((yield* statusOf("notes")).state, "Restarting")
    yield* after(300)
    assert.strictEqual(opened, 2)
  })
)
