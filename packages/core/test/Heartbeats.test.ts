import { assert, describe, it } from "@effect/vitest"
import * as HeartbeatStore from "@sluice/core/HeartbeatStore"
import * as Offset from "@sluice/core/Offset"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as ProjectionWorker from "@sluice/core/ProjectionWorker"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import type { ReportedWorker } from "@sluice/core/ReportedWorker"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import { reportedFailure } from "../src/internal/projection/reportedFailure.ts"
import { lagBehind } from "../src/internal/projection/WorkerLag.ts"
import { after, aStatus, Note, settle, start, test, unavailable, warned, write } from "./projectionKit.ts"

const notes = (handle: (event: string) => Effect.Effect<void, unknown> = () => Effect.void) =>
  Source.journal(Note).pipe(
    Projection.exactlyOnce("notes", ({ event }) => handle(event)),
    Projection.recovery(RecoveryStrategy.fail)
  )

const everywhere = ProjectionStatus.everywhere("notes")
const only = Effect.map(everywhere, (workers) => {
  assert.strictEqual(workers.length, 1)
  return workers[0]!
})

const startIn = (scope: Scope.Scope, range: SliceRange.SliceRange) =>
  ProjectionWorker.start(ProjectionWorker.make(notes(), range)).pipe(Scope.provide(scope))

const refusal = new StorageError({ operation: "report on workers", reason: "Failed", cause: new Error("out of range") })

const interval = 2_000
const minute = 60_000

describe("a process that runs a projection", () => {
  for (const operations of [5, 7]) {
    test(
      `is one, also where its workers begin at the same time, a fiber that has its turn for ${operations} operations`,
      Effect.gen(function*() {
        const ranges = SliceRange.split(4)
        const scope = yield* Effect.scope
        yield* Effect.forEach(ranges, (range) => startIn(scope, range), { concurrency: "unbounded", discard: true })
          .pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, operations))
        yield* after(interval)
        const workers = yield* everywhere
        assert.deepStrictEqual(workers.map(({ range }) => range), ranges)
        assert.strictEqual(new Set(workers.map(({ owner }) => owner.incarnation)).size, 1)
      })
    )
  }

  test(
    "tells others how its workers are doing, every 2 seconds",
    Effect.gen(function*() {
      yield* write("a", "one", "two")
      yield* start(Projection.workers(2)(notes()))
      yield* after(interval)
      const [first, second] = yield* everywhere
      assert.deepStrictEqual(
        [first!, second!].map(({ lag, range, state, timeLag }) => [SliceRange.format(range), state, lag, timeLag]),
        [["0-511", "Running", 0, Duration.zero], ["512-1023", "Running", 0, Duration.zero]]
      )
      assert.deepStrictEqual(first!.owner, second!.owner)
      assert.match(first!.owner.name, new RegExp(`/${process.pid}$`))
      yield* after(interval)
      assert.strictEqual((yield* everywhere)[0]!.at - first!.at, interval * 1000)
    })
  )

  test(
    "says how far behind a worker is that has stopped, at what, and that it goes on",
    Effect.gen(function*() {
      let isBroken = true
      yield* start(notes((event) => isBroken && event === "bad" ? Effect.fail(new Error("out of ink")) : Effect.void))
      yield* write("a", "one", "bad", "three")
      yield* after(interval)
      const stopped = yield* only
      assert.deepInclude(stopped, { state: "Stopped", lag: 2, restarts: 0 })
      const { at, ...failure } = stopped.failure!
      assert.deepStrictEqual(failure, {
        tag: "Error",
        message: "out of ink",
        event: { persistenceId: "note|a", sequenceNumber: 2 }
      })
      assert.isAtMost(at, stopped.at)
      isBroken = false
      yield* ProjectionManagement.resume("notes")
      yield* after(interval)
      const running = yield* only
      assert.deepInclude(running, { state: "Running", lag: 0, eta: Duration.zero })
      // what was wrong last is still to be seen
      assert.deepStrictEqual(running.failure, stopped.failure)
    })
  )

  test(
    "says how fast a worker is",
    Effect.gen(function*() {
      yield* start(notes())
      for (let second = 0; second < 60; second++) {
        yield* write("a", "one", "two", "three")
        yield* after(1000)
      }
      assert.approximately((yield* only).rate!, 3, 0.5)
      yield* after(2 * minute)
      assert.strictEqual((yield* only).rate, 0)
    })
  )

  test(
    "does not know how far behind a worker is whose source does not say that",
    Effect.gen(function*() {
      const { provider, ...source } = Source.journal(Note)
      let isAway = false
      const heads: typeof provider.heads = (range) =>
        Effect.suspend(() => isAway ? Effect.fail(unavailable) : provider.heads(range))
      const mute = Object.assign(Object.create(Object.getPrototypeOf(Source.journal(Note))), {
        ...source,
        provider: { ...provider, key: "mute:note", heads }
      }) as typeof source & Source.Source<string, any, any>
      yield* start(mute.pipe(Projection.exactlyOnce("notes", () => Effect.void)))
      yield* after(interval)
      assert.deepInclude(yield* only, { state: "Running", lag: 0, timeLag: Duration.zero })
      isAway = true
      yield* after(interval)
      assert.deepInclude(yield* only, { state: "Running", lag: undefined, timeLag: undefined, eta: undefined })
      isAway = false
      yield* after(interval)
      assert.deepInclude(yield* only, { lag: 0 })
    })
  )

  test(
    "takes its workers with it when it ends, and those that end before",
    Effect.gen(function*() {
      const [low, high] = SliceRange.split(2) as [SliceRange.SliceRange, SliceRange.SliceRange]
      const ranges = Effect.map(everywhere, (workers) => workers.map(({ range }) => range))
      const [all, one] = [yield* Scope.make(), yield* Scope.make()]
      yield* startIn(all, low)
      yield* startIn(one, high)
      yield* after(interval)
      assert.deepStrictEqual(yield* ranges, [low, high])
      yield* Scope.close(one, Exit.void)
      yield* after(interval)
      assert.deepStrictEqual(yield* ranges, [low])
      yield* Scope.close(all, Exit.void)
      assert.deepStrictEqual(yield* ranges, [])
    })
  )

  test(
    "does not say how much is left of a worker whose offsets another worker moves",
    Effect.gen(function*() {
      const store = yield* HeartbeatStore.HeartbeatStore
      yield* start(notes())
      yield* start(notes()).pipe(
        Effect.provideService(ProjectionRegistry.ProjectionRegistry, ProjectionRegistry.make()),
        Effect.provideService(HeartbeatStore.HeartbeatStore, { ...store })
      )
      yield* after(100)
      assert.deepStrictEqual((yield* everywhere).map(({ lag, pastLag }) => [lag, pastLag]), [[0, 0], [0, 0]])
      const fenced: Array<ReportedWorker> = []
      for (let round = 0; round < 10; round++) {
        yield* write("a", "one")
        yield* after(100)
        fenced.push(...(yield* everywhere).filter(({ state }) => state === "Fenced"))
      }
      assert.isNotEmpty(fenced)
      for (const { lag, pastLag } of fenced) assert.deepStrictEqual([lag, pastLag], [undefined, undefined])
    }).pipe(
      Effect.provideService(HeartbeatStore.Heartbeat, HeartbeatStore.heartbeat({ interval: "100 millis" }))
    )
  )

  test(
    "says everything again within a minute if somebody has removed it",
    Effect.gen(function*() {
      yield* start(notes())
      yield* after(interval)
      const { owner } = yield* only
      yield* HeartbeatStore.HeartbeatStore.use((store) => store.leave(owner))
      assert.deepStrictEqual(yield* everywhere, [])
      yield* after(minute)
      assert.deepStrictEqual((yield* only).owner, owner)
    })
  )

  test(
    "goes by the name and the interval that are set, and may say nothing",
    Effect.gen(function*() {
      const name = "analytics-0"
      yield* Effect.gen(function*() {
        yield* start(notes())
        yield* after(500)
        const { at, owner } = yield* only
        assert.strictEqual(owner.name, name)
        yield* after(500)
        assert.strictEqual((yield* only).at - at, 500_000)
      }).pipe(
        Effect.scoped,
        Effect.provideService(HeartbeatStore.Heartbeat, HeartbeatStore.heartbeat({ name, interval: "500 millis" }))
      )
      yield* Effect.gen(function*() {
        yield* start(notes())
        yield* after(minute)
        assert.deepStrictEqual(yield* everywhere, [])
      }).pipe(
        Effect.scoped,
        Effect.provideService(HeartbeatStore.Heartbeat, HeartbeatStore.heartbeat({ interval: Duration.infinity }))
      )
    })
  )

  test(
    "that cannot say anything has workers that others do not know about, which it logs once",
    Effect.gen(function*() {
      const store = yield* HeartbeatStore.HeartbeatStore
      let isAway = false
      const cutOff = HeartbeatStore.HeartbeatStore.of({
        ...store,
        beat: (beat) => Effect.suspend(() => isAway ? Effect.fail(unavailable) : store.beat(beat))
      })
      const { provide, warnings } = warned()
      yield* Effect.gen(function*() {
        yield* start(notes())
        yield* after(interval)
        assert.strictEqual((yield* only).state, "Running")
        isAway = true
        yield* after(HeartbeatStore.missedIntervals * interval)
        assert.strictEqual((yield* only).state, "Running")
        yield* after(1)
        assert.deepInclude(yield* only, { state: "Unknown", lag: undefined, rate: undefined })
        yield* after(minute)
        assert.deepStrictEqual(warnings, ["Cannot store how its projections are doing"])
        isAway = false
        yield* after(interval)
        assert.strictEqual((yield* only).state, "Running")
      }).pipe(
        Effect.scoped,
        Effect.provideService(HeartbeatStore.HeartbeatStore, cutOff),
        provide
      )
    })
  )

  test(
    "removes a worker that has left, and shows the others as they are, also where the answer to what it said of them was lost",
    Effect.gen(function*() {
      const store = yield* HeartbeatStore.HeartbeatStore
      let losesAnswers = false
      const lossy = HeartbeatStore.HeartbeatStore.of({
        ...store,
        beat: (beat) => Effect.andThen(store.beat(beat), Effect.suspend(() => losesAnswers ? unavailable : Effect.void))
      })
      yield* Effect.gen(function*() {
        const [lower, upper] = SliceRange.split(2)
        yield* startIn(yield* Effect.scope, lower!)
        yield* after(interval)
        losesAnswers = true
        const scope = yield* Scope.make()
        yield* startIn(scope, upper!)
        yield* ProjectionManagement.pause("notes")
        yield* after(interval)
        assert.deepStrictEqual((yield* everywhere).map(({ state }) => state), ["Paused", "Paused"])
        losesAnswers = false
        yield* Scope.close(scope, Exit.void)
        yield* ProjectionManagement.resume("notes")
        yield* after(interval)
        assert.deepStrictEqual((yield* everywhere).map(({ state }) => state), ["Running"])
      }).pipe(Effect.scoped, Effect.provideService(HeartbeatStore.HeartbeatStore, lossy), warned().provide)
    })
  )

  test(
    "shows its other workers where the storage refuses one, which it logs once",
    Effect.gen(function*() {
      const store = yield* HeartbeatStore.HeartbeatStore
      let isRefused = false
      let beats = 0
      const picky = HeartbeatStore.HeartbeatStore.of({
        ...store,
        beat: (beat) =>
          Effect.suspend(() => {
            beats++
            return isRefused && beat.changed.some(({ range }) => range.min === 256)
              ? Effect.fail(refusal)
              : store.beat(beat)
          })
      })
      const { provide, warnings } = warned()
      yield* Effect.gen(function*() {
        yield* start(Projection.workers(4)(notes()))
        yield* after(interval)
        isRefused = true
        yield* after(2 * minute)
        assert.deepStrictEqual((yield* everywhere).map(({ range, state }) => [range.min, state]), [
          [0, "Running"],
          [512, "Running"],
          [768, "Running"]
        ])
        assert.deepStrictEqual(warnings, ["The storage refuses how a worker is doing"])
        beats = 0
        yield* after(10 * interval)
        assert.strictEqual(beats, 10, "what was refused is not said again in each beat")
        isRefused = false
        yield* after(minute)
        assert.strictEqual((yield* everywhere).length, 4)
      }).pipe(
        Effect.scoped,
        Effect.provideService(HeartbeatStore.HeartbeatStore, picky),
        provide
      )
    })
  )

  test(
    "that is long dead is forgotten by the others",
    Effect.gen(function*() {
      const store = yield* HeartbeatStore.HeartbeatStore
      const owner = { name: "dead", incarnation: "1" }
      const key = { projection: "other", source: "journal:note" }
      const worker = { key, range: SliceRange.full, state: "Running", revision: 0, lag: 0, timeLag: 0, rate: 0, eta: 0 }
      const changed = [{ ...worker, restarts: 0, filterVersion: undefined, failure: undefined } as const]
      yield* store.beat({ owner, interval, changed: changed as never, gone: [] })
      yield* start(notes())
      yield* after(HeartbeatStore.keptFor)
      assert.strictEqual((yield* store.reports(["other"])).length, 1)
      yield* after(minute + interval)
      assert.deepStrictEqual(yield* store.reports(["other"]), [])
      assert.strictEqual((yield* only).state, "Running")
      yield* settle
    })
  )
})

describe("a heartbeat", () => {
  it("has a name that every storage keeps, and that may stand for who gives a command", () => {
    for (const name of ["a", "x".repeat(255), "host/1 é😀"]) {
      assert.strictEqual(HeartbeatStore.heartbeat({ name }).name, name)
    }
    for (const name of ["", "x".repeat(256), "a\0b", "\ud83d", 7 as never]) {
      assert.throws(() => HeartbeatStore.heartbeat({ name }), RangeError, /^No name of a process: /)
    }
    assert.strictEqual(HeartbeatStore.heartbeat().name, HeartbeatStore.heartbeat({ interval: 1 }).name)
  })

  it("has an interval of a millisecond or more", () => {
    assert.deepStrictEqual(HeartbeatStore.heartbeat().interval, Duration.seconds(2))
    assert.deepStrictEqual(HeartbeatStore.heartbeat({ interval: Duration.infinity }).interval, Duration.infinity)
    for (const interval of [0, 0.5, -1, NaN]) {
      assert.throws(() => HeartbeatStore.heartbeat({ interval }), RangeError, /at least a millisecond/)
    }
  })
})

const offsets = (
  ...all: ReadonlyArray<readonly [slice: number, position: number, seconds: number]>
): Offset.Offsets =>
  new Map(all.map(([slice, position, seconds]) => [Slice.make(slice), Offset.make(position, seconds * 1_000_000)]))

describe("the lag of a worker", () => {
  const heads = offsets([1, 10, 100], [2, 5, 90], [10, 1000, 200])
  const lagOf = (change: Partial<ProjectionStatus.WorkerStatus>, of = heads) =>
    lagBehind(of, SliceRange.make(0, 9), aStatus(change))

  it("counts the events of its own slices, and how much newer than its newest one they are", () => {
    assert.deepStrictEqual(lagOf({ offsets: offsets([1, 8, 70], [2, 5, 90]) }), { events: 2, millis: 10_000 })
    assert.deepStrictEqual(lagOf({ offsets: offsets([1, 10, 100], [2, 5, 90]) }), { events: 0, millis: 0 })
    assert.deepStrictEqual(lagOf({ offsets: offsets([1, 12, 101], [2, 5, 90]) }), { events: 0, millis: 0 })
    assert.deepStrictEqual(lagOf({}), { events: 15, millis: undefined })
  })

  it("is a time alone where there are no positions", () => {
    const times = offsets([1, 0, 100], [2, 0, 100])
    assert.deepStrictEqual(lagOf({ offsets: offsets([1, 0, 97]) }, times), { events: undefined, millis: 3_000 })
    const waits = { offsets: offsets([1, 0, 100]), waitsFrom: Timestamp.make(95_000_001) }
    assert.deepStrictEqual(lagOf(waits, times), { events: undefined, millis: 5_000 })
  })

  it("is not known while it does not know its offsets", () => {
    const unknown = { events: undefined, millis: undefined }
    assert.deepStrictEqual(lagOf({ revision: undefined }), unknown)
    assert.deepStrictEqual(lagOf({ state: "Starting" }), unknown)
    assert.deepStrictEqual(lagOf({ state: "Fenced" }), unknown)
  })
})

const told = (cause: Cause.Cause<unknown>) => {
  const { message, tag } = reportedFailure({ cause, event: undefined })
  return [tag, message]
}

describe("what others are told of a failure", () => {
  it("is the tag of the error, and its message without secrets", () => {
    assert.deepStrictEqual(told(Cause.fail(unavailable)), ["StorageError", unavailable.message])
    assert.deepStrictEqual(told(Cause.die(new TypeError("x is no function"))), ["TypeError", "x is no function"])
    assert.deepStrictEqual(told(Cause.fail("no")), ["Error", "no"])
    assert.deepStrictEqual(told(Cause.interrupt(1)), ["Interrupted", ""])
    const url = new Error("cannot reach postgres://app:hunter2@db:5432/x, password=hunter3; token: abc")
    assert.deepStrictEqual(told(Cause.fail(url)), ["Error", "cannot reach postgres://…@db:5432/x, password=… token: …"])
    const query = new Error("\nFailed query: insert into users\nparams: ada,hunter2")
    assert.deepStrictEqual(told(Cause.fail(query)), ["Error", "Failed query: insert into users"])
  })

  it("is a text that every storage keeps", () => {
    const [, message] = told(Cause.fail(new Error(`\0${"\ud83d".repeat(2)}${"😀".repeat(1_000)}`)))
    assert.isAtMost(message!.length, HeartbeatStore.maxMessageLength + 2)
    assert.isTrue(message!.isWellFormed())
    assert.notInclude(message, "\0")
  })
})
