import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import { type EncodedEnvelope, nothing } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import { InvalidInput } from "@sluice/core/InvalidInput"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { type OffsetKey, OffsetStore } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { unlessSilent } from "../src/internal/projection/unlessSilent.ts"
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

describe("a projection", () => {
  it("is described in a line", () => {
    const source = Source.journal(Note).pipe(Source.filter(() => true))
    assert.strictEqual(
      Projection.describe(source.pipe(Projection.exactlyOnce("notes", () => Effect.void), Projection.workers(4))),
      "journal of note | filter | exactly once 'notes' × 4"
    )
    assert.strictEqual(
      Projection.describe(source.pipe(Projection.atLeastOnce("notes", () => Effect.void))),
      "journal of note | filter | at least once 'notes' × 1"
    )
  })

  it("is refused without a name, workers, or room in a group", () => {
    const source = Source.journal(Note)
    const named = (name: string) => source.pipe(Projection.exactlyOnce(name, () => Effect.void))
    for (const wrong of ["", "x".repeat(256), "a\0", "a\ud800", "a@2"]) assert.throws(() => named(wrong), RangeError)
    assert.strictEqual(named("x".repeat(255)).name.length, 255)
    for (const wrong of [0, -1, 1025, 1.5, NaN]) {
      assert.throws(() => Projection.workers(wrong)(named("notes")), RangeError)
    }
    for (const size of [0, -1, 1.5, NaN, Infinity]) {
      assert.throws(() => Handler.grouped({ size, within: 1 }, () => Effect.void), RangeError)
    }
    const groups: any = Handler.grouped({ size: 2, within: 1 }, () => Effect.void)
    assert.throws(() => source.pipe(Projection.atLeastOnce("notes", groups, { parallelism: 2 })), RangeError)
  })

  test(
    "has a status per worker while it runs, and none afterwards",
    Effect.gen(function*() {
      yield* write("a", "1")
      const projection = Source.journal(Note).pipe(
        Projection.exactlyOnce("notes", () => Effect.void),
        Projection.workers(3)
      )
      yield* Effect.scoped(Effect.gen(function*() {
        yield* start(projection)
        const workers = yield* ProjectionStatus.status("notes")
        assert.deepStrictEqual(workers.map(({ range }) => range), SliceRange.split(3))
        assert.deepStrictEqual(workers.map(({ state }) => state), ["Running", "Running", "Running"])
        assert.strictEqual(workers.reduce((sum, { handled }) => sum + handled, 0), 1)
        assert.strictEqual(yield* ProjectionStatus.lag("notes"), 0)
      }))
      assert.deepStrictEqual(yield* ProjectionStatus.status("notes"), [])
    })
  )

  test(
    "that runs as an effect fails as the worker that stopped",
    Effect.gen(function*() {
      yield* write("a", "1")
      const failing = Source.journal(Note).pipe(
        Projection.exactlyOnce("notes", () => Effect.fail("no" as const)),
        Projection.recovery(RecoveryStrategy.fail),
        Projection.workers(4)
      )
      assert.strictEqual(yield* Effect.flip(Projection.run(failing)), "no")
      assert.deepStrictEqual(yield* ProjectionStatus.status("notes"), [])
    })
  )
})

describe("a projection of a source without positions", () => {
  test(
    "handles its events, and passes those that were deleted by",
    Effect.gen(function*() {
      const stored = [1, 2, 3].map((n): EncodedEnvelope => ({
        persistenceId: EntityType.persistenceId(Note, "a"),
        sequenceNumber: SequenceNumber.make(n),
        slice: Slice.ofPersistenceId("note|a"),
        position: undefined,
        timestamp: Timestamp.make(n),
        ...nothing,
        payload: n === 2 ? undefined : EventCodec.string.encodeUnsafe(`${n}`)
      }))
      const source = sourceOf(Effect.succeed({
        journal: "j",
        envelopes: Stream.concat(Stream.fromIterable(stored), Stream.never)
      }))
      const seen: Array<string> = []
      yield* start(source.pipe(Projection.exactlyOnce("notes", ({ event }) => Effect.sync(() => seen.push(event)))))
      assert.deepStrictEqual(seen, ["1", "3"])
      assert.deepInclude(yield* statusOf("notes"), { state: "Running", handled: 2, skipped: 0 })
      assert.deepStrictEqual(yield* storedPositions("notes", source), [])
    })
  )

  test(
    "throws the dead letter of an event away that comes again and is handled",
    Effect.gen(function*() {
      const event: EncodedEnvelope = {
        persistenceId: EntityType.persistenceId(Note, "a"),
        sequenceNumber: SequenceNumber.make(1),
        slice: Slice.ofPersistenceId("note|a"),
        position: undefined,
        timestamp: Timestamp.make(1),
        ...nothing,
        payload: EventCodec.string.encodeUnsafe("1")
      }
      const feed = Effect.succeed({ journal: "j", envelopes: Stream.concat(Stream.make(event), Stream.never) })
      const source = Source.make({ ...sourceOf(feed).provider, entity: () => Stream.make(event) })
      let isBroken = true
      const projection = source.pipe(
        Projection.exactlyOnce("notes", () => isBroken ? Effect.fail("no") : Effect.void),
        Projection.recovery(RecoveryStrategy.deadLetter)
      )
      const letters = ProjectionManagement.deadLetters(Projection.offsetKey(projection))
      yield* Effect.scoped(start(projection))
      assert.strictEqual((yield* letters).length, 1)
      isBroken = false
      yield* Effect.scoped(start(projection))
      assert.deepStrictEqual(yield* letters, [])
    })
  )
})

describe("ProjectionStatus.caughtUp", () => {
  test(
    "waits until everything that is in the source now is stored",
    Effect.gen(function*() {
      yield* write("a", "1", "2", "3")
      const projection = Source.journal(Note).pipe(
        Projection.atLeastOnce("notes", () => Effect.void, { saveWithin: 500 }),
        Projection.workers(2)
      )
      yield* start(projection)
      const waiting = yield* Effect.forkChild(ProjectionStatus.caughtUp("notes"))
      yield* after(499)
      assert.isUndefined(waiting.pollUnsafe())
      yield* after(1)
      yield* Fiber.join(waiting)
      assert.strictEqual(yield* ProjectionStatus.lag("notes"), 0)
      yield* ProjectionStatus.caughtUp("notes")
    })
  )

  test(
    "fails as a worker that stops, or where none runs",
    Effect.gen(function*() {
      yield* write("a", "1", "2", "3")
      const projection = Source.journal(Note).pipe(
        Projection.exactlyOnce("notes", ({ event }) => event === "2" ? Effect.fail("two") : Effect.void),
        Projection.recovery(RecoveryStrategy.retryAndFail({ retries: 1, delay: 100 }))
      )
      yield* start(projection)
      const waiting = yield* Effect.forkChild(ProjectionStatus.caughtUp("notes"))
      yield* after(100)
      for (const effect of [Fiber.join(waiting), ProjectionStatus.caughtUp("notes")]) {
        const error = yield* Effect.flip(effect)
        assert.instanceOf(error, ProjectionStatus.WorkerStopped)
        assert.deepInclude(error, { event: { persistenceId: "note|a", sequenceNumber: 2 }, cause: "two" })
        assert.include(error.message, "at event 2 of 'note|a'")
      }
      for (const asked of [ProjectionStatus.caughtUp("other"), ProjectionStatus.lag("other")]) {
        const error = yield* Effect.flip<unknown, unknown, never>(asked)
        assert.instanceOf(error, ProjectionStatus.ProjectionNotRunning)
        assert.include(error.message, "'other'")
      }
    })
  )
})

describe("a projection that ends", () => {
  test(
    "says so to those who wait until it has caught up",
    Effect.gen(function*() {
      yield* write("a", "1")
      const scope = yield* Scope.make()
      const projection = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.never))
      yield* Scope.provide(start(projection), scope)
      const waiting = yield* Effect.forkChild(Effect.flip(ProjectionStatus.caughtUp("notes")))
      yield* settle
      yield* Scope.close(scope, Exit.void)
      assert.instanceOf(yield* Fiber.join(waiting), ProjectionStatus.ProjectionNotRunning)
    })
  )
})

const notesOf = (type: EntityType.EntityType<string>) =>
  Layer.build(Projection.layer(Source.journal(type).pipe(Projection.exactlyOnce("notes", () => Effect.void))))

describe("a projection that starts", () => {
  test(
    "does not wait for a database that is busy, and is known once that is free",
    Effect.gen(function*() {
      const management = yield* ProjectionManagement.ProjectionManagement
      const free = yield* Deferred.make<void>()
      const busy = {
        ...management,
        register: (key: OffsetKey) => Effect.andThen(Deferred.await(free), management.register(key))
      }
      const projection = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))
      const started = yield* Effect.forkScoped(
        Effect.provideService(
          Layer.build(Projection.layer(projection)),
          ProjectionManagement.ProjectionManagement,
          busy
        )
      )
      yield* after(1000)
      assert.isTrue(started.pollUnsafe() !== undefined)
      assert.deepStrictEqual(yield* ProjectionManagement.list, [])
      yield* Deferred.succeed(free, undefined)
      yield* settle
      assert.deepStrictEqual(yield* ProjectionManagement.list, [Projection.offsetKey(projection)])
    })
  )

  test(
    "is known once its layer is there, and not where another runs under its name",
    Effect.gen(function*() {
      yield* notesOf(Note)
      const listed = [{ projection: "notes", source: "journal:note" }]
      assert.deepStrictEqual(yield* ProjectionManagement.list, listed)
      const second = yield* Effect.exit(Effect.scoped(notesOf(EntityType.make("other", { codec: EventCodec.string }))))
      assert.isTrue(Exit.isFailure(second))
      assert.deepStrictEqual(yield* ProjectionManagement.list, listed)
    })
  )
})

describe("a projection that handles events at the same time", () => {
  test(
    "shows at once that it has failed, and waits so long and no longer for calls that do not end",
    Effect.gen(function*() {
      let calls = 0
      let interrupted = 0
      const projection = Source.journal(Note).pipe(
        Projection.atLeastOnce("notes", ({ event }) => {
          calls++
          return event === "hangs"
            ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted++))
            : Effect.fail("poison" as const)
        }, { parallelism: 4 }),
        Projection.recovery(RecoveryStrategy.fail)
      )
      yield* write("a", "hangs")
      yield* write("b", "poison")
      yield* start(projection)
      yield* Wait.until("both calls", () => calls === 2)
      const worker = Effect.map(ProjectionStatus.status("notes"), ([worker]) => worker!)
      yield* Wait.until("the failure", Effect.map(worker, ({ failure }) => failure !== undefined))
      const failing = yield* worker
      assert.strictEqual(failing.state, "Restarting")
      assert.strictEqual(failing.failure!.event!.persistenceId, EntityType.persistenceId(Note, "b"))
      yield* TestClock.adjust(4_900)
      yield* settle
      assert.strictEqual((yield* worker).state, "Restarting")
      assert.strictEqual(interrupted, 0)
      yield* TestClock.adjust(200)
      yield* Wait.until("its end", Effect.map(worker, ({ state }) => state === "Stopped"))
      assert.strictEqual(interrupted, 1)
      assert.strictEqual((yield* worker).restarts, 0)
    })
  )
})

describe("a projection that is rewound to a time", () => {
  test(
    "goes by the times that events have, where the clock was set back",
    Effect.gen(function*() {
      yield* TestClock.setTime(3_600_000)
      yield* write("a", "1")
      yield* TestClock.setTime(1_800_000)
      const { timestamp } = yield* Journal.append(Note, { id: "a", events: ["2"] })
      const seen: Array<string> = []
      const projection = Source.journal(Note).pipe(
        Projection.exactlyOnce("notes", ({ event }) => Effect.sync(() => void seen.push(event)))
      )
      const key = Projection.offsetKey(projection)
      const { register } = yield* ProjectionManagement.ProjectionManagement
      yield* register(key)
      for (
        const rewind of [
          ProjectionManagement.rewind(key, { since: timestamp }),
          Projection.rewind(projection, { since: timestamp })
        ]
      ) {
        yield* rewind
        yield* Effect.scoped(Effect.andThen(start(projection), ProjectionStatus.caughtUp("notes")))
        assert.deepStrictEqual(seen.splice(0), ["2"])
      }
      const later = { since: Timestamp.make(timestamp + 1) }
      for (
        const error of [
          yield* Effect.flip(ProjectionManagement.rewind(projection, later)),
          yield* Effect.flip(Projection.rewind(projection, later))
        ]
      ) assert.instanceOf(error, ProjectionManagement.SinceInFuture)
    })
  )

  test(
    "is not rewound to a time in milliseconds",
    Effect.gen(function*() {
      const millis = Date.UTC(2026, 10, 28)
      yield* TestClock.setTime(millis)
      const projection = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))
      yield* ProjectionManagement.ProjectionManagement.use(({ register }) => register(Projection.offsetKey(projection)))
      const rewinds = (since: Timestamp.Timestamp) =>
        [
          ProjectionManagement.rewind("notes", { since }),
          Projection.rewind(projection, { since })
        ] as const
      const [early, earlyToo] = rewinds(Timestamp.make(millis))
      for (const error of [yield* Effect.flip(early), yield* Effect.flip(earlyToo)]) {
        assert.instanceOf(error, InvalidInput)
        for (const part of ["`since`", "1970-01-21", "Timestamp.fromMillis"]) assert.include(error.message, part)
      }
      const [late, lateToo] = rewinds(Timestamp.fromMillis(millis + 1))
      for (const error of [yield* Effect.flip(late), yield* Effect.flip(lateToo)]) {
        assert.instanceOf(error, ProjectionManagement.SinceInFuture)
        assert.include(error.message, "Timestamp.fromMillis")
      }
      for (const rewind of rewinds(Timestamp.fromMillis(millis))) yield* rewind
    })
  )

  test(
    "goes by the times of another service's events",
    Effect.gen(function*() {
      const there = Source.make({
        ...sourceOf(Effect.never).provider,
        heads: () => Effect.succeed(new Map([[Slice.make(3), Offset.make(1, 5000)]]))
      }).pipe(Projection.exactlyOnce("notes", () => Effect.void))
      yield* Projection.rewind(there, { since: Timestamp.make(5000) })
      const error = yield* Effect.flip(Projection.rewind(there, { since: Timestamp.make(5001) }))
      assert.instanceOf(error, ProjectionManagement.SinceInFuture)
    })
  )
})

describe("a projection that begins again when its journal is replaced", () => {
  test(
    "does not so for what its handler says of another journal",
    Effect.gen(function*() {
      const provider = Source.journal(Note).provider
      yield* write("a", "1", "2")
      const replaced = new Journal.JournalReplaced({ expected: "one", actual: "another", entityType: "note" })
      yield* start(
        Source.make({ ...provider, onReplaced: "rewind" }).pipe(
          Projection.exactlyOnce("notes", ({ event }) => event === "2" ? Effect.fail(replaced) : Effect.void),
          Projection.recovery(RecoveryStrategy.fail)
        )
      )
      const { failure, restarts, state } = yield* statusOf("notes")
      assert.deepStrictEqual([state, restarts], ["Stopped", 0])
      assert.strictEqual<number>(failure!.event!.sequenceNumber, 2)
      assert.deepStrictEqual(yield* storedPositions("notes"), [1])
    })
  )
})

describe("a slice at its beginning, of whose entities a replay has shown events", () => {
  const key = { projection: "notes", source: Source.journal(Note).provider.key }
  const persistenceId = PersistenceId.make("note", "a")
  const known = OffsetStore.use((_) => _.sequenceNumbers(key, [persistenceId]))
  const readInAnother = Effect.gen(function*() {
    yield* write("a", "1", "2")
    yield* (yield* ProjectionManagement.ProjectionManagement).register(key)
    const store = yield* OffsetStore
    const { revision } = yield* store.load(key, SliceRange.full)
    const slice = Slice.ofPersistenceId(persistenceId)
    const entities = new Map([[persistenceId, { first: SequenceNumber.make(1), last: SequenceNumber.make(2) }]])
    const move = { slice, from: undefined, to: Offset.beginning, entities }
    yield* store.transact(key, { journal: "another", revision: revision! }, [move], Effect.void)
  })

  test(
    "stops its projection when the journal is replaced",
    Effect.gen(function*() {
      yield* readInAnother
      yield* start(Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void)))
      const { failure, state } = yield* statusOf("notes")
      assert.strictEqual(state, "Stopped")
      assert.instanceOf(Cause.squash(failure!.cause), Journal.JournalReplaced)
      assert.strictEqual((yield* known).size, 1)
    })
  )

  test(
    "is begun anew with what the other journal has, where the projection is to begin again",
    Effect.gen(function*() {
      yield* readInAnother
      const handled: Array<string> = []
      yield* start(
        Source.make({ ...Source.journal(Note).provider, onReplaced: "rewind" }).pipe(
          Projection.exactlyOnce("notes", ({ event }) => Effect.sync(() => void handled.push(event)))
        )
      )
      yield* after(1_000)
      assert.deepStrictEqual(handled, ["1", "2"])
      assert.strictEqual((yield* known).size, 0)
    })
  )
})

describe("an event that its source has deleted while it was handled", () => {
  test(
    "is put aside without a word of it",
    Effect.gen(function*() {
      const { provider } = Source.journal(Note)
      yield* write("a", "secret")
      // of another service: what is deleted there, nobody deletes here
      const source = Source.make({ ...provider, key: "stream:notes" })
      const projection = source.pipe(
        Projection.exactlyOnce("notes", ({ event }) => Effect.fail(`cannot read ${event}`)),
        Projection.recovery(RecoveryStrategy.deadLetter)
      )
      const store = yield* OffsetStore
      const outside = {
        ...store,
        transact: (...[key, basis, moves, effect]: Parameters<typeof store.transact>) =>
          Effect.tapError(
            store.transact(key, basis, moves, effect),
            () => Effect.orDie(Journal.deleteEvents(Note, "a"))
          )
      }
      yield* Effect.provideService(start(projection), OffsetStore, outside as typeof store)
      const [letter] = yield* ProjectionManagement.deadLetters(projection)
      assert.notInclude(JSON.stringify(letter), "secret")
      assert.strictEqual(letter!.error, ProjectionManagement.deletedError)
    })
  )
})

describe("dead letters of an at-least-once projection", () => {
  const putAside = Effect.fnUntraced(function*(handled: Effect.Effect<void>) {
    yield* write("a", "1")
    let isBroken = true
    const projection = Source.journal(Note).pipe(
      Projection.atLeastOnce("notes", () => isBroken ? Effect.fail("no") : handled),
      Projection.recovery(RecoveryStrategy.deadLetter)
    )
    yield* Effect.scoped(Effect.andThen(start(projection), settle))
    isBroken = false
    return Projection.handleDeadLetters(projection)
  })

  for (
    const [operation, handled] of [
      ["claim", Effect.void],
      ["renew", Effect.never],
      ["release", Effect.never],
      ["discard", Effect.void]
    ] as const
  ) {
    test(
      `are left soon by whoever is interrupted, though the database says nothing to their ${operation}`,
      Effect.gen(function*() {
        const handle = yield* putAside(handled)
        const management = yield* ProjectionManagement.ProjectionManagement
        const asked = yield* Latch.make()
        const silent = {
          ...management,
          [operation]: () => Effect.uninterruptible(Effect.andThen(asked.open, Effect.never))
        }
        const handling = yield* Effect.forkChild(
          Effect.provideService(handle, ProjectionManagement.ProjectionManagement, silent)
        )
        yield* after(ProjectionManagement.claimTime / 3)
        if (operation !== "release") yield* asked.await
        const interrupting = yield* Effect.forkChild(Fiber.interrupt(handling))
        yield* settle
        yield* asked.await
        assert.isUndefined(interrupting.pollUnsafe())
        yield* after(3_000)
        assert.isDefined(interrupting.pollUnsafe())
      })
    )
  }

  test(
    "are waited for again once the database has been silent for a while, however often somebody has not waited",
    Effect.gen(function*() {
      const store = yield* OffsetStore
      const interrupted = <A>(effect: Effect.Effect<A>) =>
        Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(unlessSilent(store, effect))
          yield* settle
          return yield* Effect.forkChild(Fiber.interrupt(fiber))
        })
      yield* interrupted(Effect.uninterruptible(Effect.never))
      yield* after(2_000)
      let answers = 0
      // one that takes a moment, as any does
      const save = Effect.uninterruptible(Effect.andThen(Effect.sleep(1), Effect.sync(() => void answers++)))
      for (let i = 0; i < 3; i++) {
        const interrupting = yield* interrupted(save)
        yield* settle
        assert.strictEqual(interrupting.pollUnsafe() === undefined, i === 2, `the ${i + 1}th`)
        yield* after(6_000)
      }
      assert.isAbove(answers, 0)
    })
  )

  test(
    "are given back by whoever is interrupted while claiming them",
    Effect.gen(function*() {
      const handle = yield* putAside(Effect.void)
      const management = yield* ProjectionManagement.ProjectionManagement
      const asked = yield* Latch.make()
      const answered = yield* Latch.make()
      const slow = {
        ...management,
        claim: (...args: Parameters<typeof management.claim>) =>
          Effect.tap(management.claim(...args), () => Effect.andThen(asked.open, answered.await))
      }
      const handling = yield* Effect.forkChild(
        Effect.provideService(handle, ProjectionManagement.ProjectionManagement, slow)
      )
      yield* asked.await
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(handling))
      yield* settle
      yield* answered.open
      yield* Fiber.join(interrupting)
      assert.deepStrictEqual(yield* handle, { handled: 1, failed: 0, obsolete: 0, excluded: 0 })
    })
  )

  test(
    "leave nothing behind of what was queued while they were handled",
    Effect.gen(function*() {
      yield* write("a", "1")
      yield* write("b", "1")
      let isBroken = true
      const mended = yield* Latch.make()
      const projection = Source.journal(Note).pipe(
        Projection.atLeastOnce("notes", () => isBroken ? Effect.fail("no") : mended.await),
        Projection.recovery(RecoveryStrategy.deadLetter)
      )
      yield* start(projection)
      yield* settle
      isBroken = false
      const handling = yield* Effect.forkChild(Projection.handleDeadLetters(projection))
      yield* settle
      yield* write("a", "2")
      yield* after(1_000)
      assert.deepStrictEqual(yield* ProjectionManagement.deadLetterCounts(projection), {
        entities: 2,
        failed: 2,
        queued: 1
      })
      yield* mended.open
      assert.deepStrictEqual(yield* Fiber.join(handling), { handled: 3, failed: 0, obsolete: 0, excluded: 0 })
      assert.deepStrictEqual(yield* ProjectionManagement.deadLetters(projection), [])
    })
  )

  for (const claimFor of [undefined, "30 seconds"] as const) {
    test(
      `are claimed for as long as they are handled${claimFor ? ", also by claims that are short" : ""}`,
      Effect.gen(function*() {
        yield* write("a", "1")
        let isBroken = true
        const projection = Source.journal(Note).pipe(
          Projection.atLeastOnce("notes", () => isBroken ? Effect.fail("no") : Effect.sleep("1 hour")),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* start(projection)
        // late enough for a claim to be as old as it has to be
        yield* after(ProjectionManagement.claimTime)
        isBroken = false
        const handling = yield* Effect.forkChild(Projection.handleDeadLetters(projection, { claimFor }))
        yield* settle
        for (let minutes = 0; minutes < 59; minutes++) {
          yield* after(60_000)
          assert.deepStrictEqual(yield* Projection.handleDeadLetters(projection, { claimFor }), {
            handled: 0,
            failed: 0,
            obsolete: 0,
            excluded: 0
          })
        }
        yield* after(60_000)
        assert.deepStrictEqual(yield* Fiber.join(handling), { handled: 1, failed: 0, obsolete: 0, excluded: 0 })
        assert.deepStrictEqual(yield* ProjectionManagement.deadLetters(projection), [])
      })
    )
  }

  test(
    "are left for as long as is said by whoever does not go on, and no other process has them meanwhile",
    Effect.gen(function*() {
      yield* write("a", "1")
      let isBroken = true
      let isStuck = true
      const projection = Source.journal(Note).pipe(
        Projection.atLeastOnce("notes", () => isBroken ? Effect.fail("no") : isStuck ? Effect.never : Effect.void),
        Projection.recovery(RecoveryStrategy.deadLetter)
      )
      yield* start(projection)
      yield* after(ProjectionManagement.claimTime)
      isBroken = false
      const management = yield* ProjectionManagement.ProjectionManagement
      const stuck = { ...management, renew: () => Effect.succeed(undefined) }
      yield* Effect.forkChild(Effect.provideService(
        Projection.handleDeadLetters(projection, { claimFor: "30 seconds" }),
        ProjectionManagement.ProjectionManagement,
        stuck
      ))
      yield* settle
      isStuck = false
      yield* after(29_000)
      assert.deepInclude(yield* Projection.handleDeadLetters(projection), { handled: 0 })
      yield* after(1_000)
      assert.deepInclude(yield* Projection.handleDeadLetters(projection), { handled: 1 })
    })
  )

  it("are claimed for 1 second to 5 minutes", () => {
    const projection = Source.journal(Note).pipe(Projection.atLeastOnce("notes", () => Effect.void))
    for (const claimFor of [0, 999, "301 seconds", "Infinity"] as const) {
      assert.throws(() => Projection.handleDeadLetters(projection, { claimFor }), RangeError)
    }
    for (const claimFor of [1000, "5 minutes"] as const) {
      assert.isTrue(Effect.isEffect(Projection.handleDeadLetters(projection, { claimFor })))
    }
  })
})

describe("dead letters of an exactly-once projection", () => {
  for (const [refusals, error] of [[3, undefined], [99, "Busy"]] as const) {
    test(
      `are handled again where the storage refuses the transaction ${refusals} times${error ? ", up to a limit" : ""}`,
      Effect.gen(function*() {
        yield* write("a", "1")
        let isBroken = true
        const projection = Source.journal(Note).pipe(
          Projection.exactlyOnce("notes", () => isBroken ? Effect.fail("no") : Effect.void),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* Effect.scoped(Effect.andThen(start(projection), settle))
        isBroken = false
        const store = yield* OffsetStore
        let left: number = refusals
        const handling = yield* Projection.handleDeadLetters(projection).pipe(
          Effect.provideService(OffsetStore, {
            ...store,
            transact: (key, basis, moves, effect) =>
              left-- > 0
                ? Effect.fail(new StorageError({ operation: "test", reason: "Busy", cause: new Error("deadlock") }))
                : store.transact(key, basis, moves, effect)
          }),
          Effect.exit,
          Effect.forkChild
        )
        yield* after(10_000)
        const exit = yield* Fiber.join(handling)
        if (error === undefined) {
          assert.deepStrictEqual(exit, Exit.succeed({ handled: 1, failed: 0, obsolete: 0, excluded: 0 }))
        } else assert.isTrue(Exit.isFailure(exit))
        assert.lengthOf(yield* ProjectionManagement.deadLetters(projection), error === undefined ? 0 : 1)
      })
    )
  }
})

describe("a source that is cut off", () => {
  test(
    "shows in the status of its worker, and that it is back",
    Effect.gen(function*() {
      let health: Source.Health | undefined
      const source = sourceOf(Effect.gen(function*() {
        health = yield* Source.Health
        return { journal: "j", envelopes: Stream.never }
      }))
      yield* start(source.pipe(Projection.exactlyOnce("notes", () => Effect.void)))
      health!.disrupted(Cause.fail("cut off"))
      const cut = yield* statusOf("notes")
      assert.strictEqual(cut.state, "Disrupted")
      assert.deepStrictEqual(cut.failure?.cause, Cause.fail("cut off"))
      health!.restored()
      assert.deepInclude(yield* statusOf("notes"), { state: "Running", failure: undefined })
    })
  )
})

describe("a worker that is starting", () => {
  test(
    "is waited for, while the lag is known already",
    Effect.gen(function*() {
      const opened = yield* Deferred.make<void>()
      const source = sourceOf(Effect.as(Deferred.await(opened), { journal: "j", envelopes: Stream.never }))
      yield* start(source.pipe(Projection.exactlyOnce("notes", () => Effect.void)))
      const waiting = yield* Effect.forkChild(ProjectionStatus.caughtUp("notes"))
      yield* settle
      assert.isUndefined(waiting.pollUnsafe())
      assert.strictEqual(yield* ProjectionStatus.lag("notes"), 0)
      yield* Deferred.succeed(opened, undefined)
      yield* Fiber.join(waiting)
    })
  )
})

describe("a worker that is catching up", () => {
  test(
    "does so until it has stored what there was when it opened its source, whatever came since",
    Effect.gen(function*() {
      const gate = Latch.makeUnsafe()
      yield* write("a", "1", "2")
      yield* start(
        Source.journal(Note).pipe(
          Projection.atLeastOnce(
            "notes",
            ({ sequenceNumber }) => sequenceNumber === 1 ? Effect.void : gate.await,
            { saveAfter: 1 }
          )
        )
      )
      yield* write("a", "3")
      yield* settle
      assert.deepStrictEqual(yield* storedPositions("notes"), [1])
      assert.strictEqual((yield* statusOf("notes")).state, "CatchingUp")
      yield* gate.release
      yield* settle
      assert.deepStrictEqual(yield* storedPositions("notes"), [2])
      assert.strictEqual((yield* statusOf("notes")).state, "Running")
    })
  )

  test(
    "is not known to be done until its source says what there is",
    Effect.gen(function*() {
      const { provider } = Source.journal(Note)
      let asked = 0
      const source = Source.make({
        ...provider,
        heads: (range) => Effect.suspend(() => asked++ === 0 ? Effect.fail(unavailable) : provider.heads(range))
      })
      yield* write("a", "1")
      yield* start(source.pipe(Projection.exactlyOnce("notes", () => Effect.void)))
      assert.deepInclude(yield* statusOf("notes"), { state: "CatchingUp", failure: undefined, handled: 1 })
      yield* after(1000)
      assert.deepInclude(yield* statusOf("notes"), { state: "Running", restarts: 0 })
    })
  )
})

describe("a worker that fails", () => {
  test(
    "starts again after a time that doubles, up to half a minute",
    Effect.gen(function*() {
      let opened = 0
      const source = sourceOf(Effect.suspend(() => {
        opened++
        return Effect.fail(unavailable)
      }))
      yield* start(source.pipe(Projection.exactlyOnce("notes", () => Effect.void))).pipe(withRandom(0.5))
      assert.strictEqual(opened, 1)
      for (const [i, backoff] of [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000].entries()) {
        const status = yield* statusOf("notes")
        assert.deepInclude(status, { state: "Restarting", restarts: i + 1 })
        assert.strictEqual(Cause.squash(status.failure!.cause), unavailable)
        yield* after(backoff - 1)
        assert.strictEqual(opened, i + 1, `not before ${backoff} ms`)
        yield* after(1)
        assert.strictEqual(opened, i + 2, `after ${backoff} ms`)
      }
    })
  )

  for (const [random, backoff] of [[0, 160], [1, 240]] as const) {
    test(
      `starts again at a time of its own: after ${backoff} ms, when chance is ${random}`,
      Effect.gen(function*() {
        let opened = 0
        const source = sourceOf(Effect.suspend(() => {
          opened++
          return Effect.fail(unavailable)
        }))
        yield* start(source.pipe(Projection.exactlyOnce("notes", () => Effect.void))).pipe(withRandom(random))
        yield* after(backoff - 1)
        assert.strictEqual(opened, 1)
        yield* after(1)
        assert.strictEqual(opened, 2)
      })
    )
  }

  test(
    "begins with the shortest time again when it has processed something since",
    Effect.gen(function*() {
      let opened = 0
      const journal = Source.journal(Note)
      const source = Source.make({
        ...journal.provider,
        open: (range, start) =>
          Effect.suspend(() => ++opened < 3 ? Effect.fail(unavailable) : journal.provider.open(range, start))
      }).pipe(Source.tap(({ event }) => event === "4" ? Effect.fail(unavailable) : Effect.void))
      yield* write("a", "1", "2", "3", "4")
      yield* start(source.pipe(Projection.exactlyOnce("notes", () => Effect.void))).pipe(withRandom(0.5))
      // the third time it processes three events before it fails
      for (const [i, backoff] of [200, 400, 200, 400, 800].entries()) {
        assert.deepStrictEqual(yield* storedPositions("notes"), i < 2 ? [] : [3])
        yield* after(backoff - 1)
        assert.strictEqual(opened, i + 1)
        yield* after(1)
        assert.strictEqual(opened, i + 2)
      }
    })
  )

  test(
    "is running again when the fault is over",
    Effect.gen(function*() {
      let failures = 0
      const journal = Source.journal(Note)
      const source = Source.make({
        ...journal.provider,
        open: (range, start) =>
          Effect.suspend(() => failures++ < 3 ? Effect.fail(unavailable) : journal.provider.open(range, start))
      })
      const seen: Array<string> = []
      yield* write("a", "1", "2")
      yield* start(
        source.pipe(Projection.exactlyOnce("notes", ({ event }) => Effect.sync(() => seen.push(String(event)))))
      )
      yield* after(200 * 1.2 + 400 * 1.2 + 800 * 1.2)
      assert.deepInclude(yield* statusOf("notes"), { state: "Running", restarts: 3 })
      assert.deepStrictEqual(seen, ["1", "2"])
    })
  )

  for (const reason of ["Busy", "Unavailable", "Full", "ReadOnly"] as const) {
    test(
      `for its storage is ${reason} does not blame the event`,
      Effect.gen(function*() {
        const error = new StorageError({ operation: "test", reason, cause: new Error("no") })
        let calls = 0
        yield* write("a", "1", "2")
        yield* start(
          Source.journal(Note).pipe(
            Projection.exactlyOnce("notes", () => Effect.suspend(() => ++calls < 4 ? Effect.fail(error) : Effect.void)),
            Projection.recovery(RecoveryStrategy.skip)
          )
        )
        assert.strictEqual((yield* statusOf("notes")).state, "Restarting")
        yield* after(200 * 1.2 + 400 * 1.2 + 800 * 1.2)
        assert.strictEqual(calls, 5)
        assert.deepInclude(yield* statusOf("notes"), { state: "Running", handled: 2, skipped: 0, restarts: 3 })
      })
    )
  }
})

describe("a handler that fails", () => {
  test(
    "is tried again after the delay, as often as the strategy says",
    Effect.gen(function*() {
      let calls = 0
      yield* write("a", "1")
      yield* start(
        Source.journal(Note).pipe(
          Projection.exactlyOnce("notes", () =>
            Effect.suspend(() => {
              calls++
              return Effect.fail("no")
            })),
          Projection.recovery(RecoveryStrategy.retryAndFail({ retries: 2, delay: "1 second" }))
        )
      )
      assert.strictEqual(calls, 1)
      yield* after(999)
      assert.strictEqual(calls, 1)
      yield* after(1)
      assert.strictEqual(calls, 2)
      assert.strictEqual((yield* statusOf("notes")).state, "CatchingUp")
      yield* after(999)
      assert.strictEqual(calls, 2)
      yield* after(1)
      assert.strictEqual(calls, 3)
      assert.deepInclude(yield* statusOf("notes"), { state: "Stopped", restarts: 0 })
      yield* after(1_000_000)
      assert.strictEqual(calls, 3)
    })
  )

  test(
    "is tried again five times, a second apart, unless said otherwise",
    Effect.gen(function*() {
      let calls = 0
      yield* write("a", "1")
      const handle = () => Effect.andThen(Effect.sync(() => calls++), Effect.fail("no"))
      yield* start(Source.journal(Note).pipe(Projection.exactlyOnce("notes", handle)))
      for (let i = 1; i <= 5; i++) {
        assert.strictEqual(calls, i)
        assert.strictEqual((yield* statusOf("notes")).state, "CatchingUp")
        yield* after(1000)
      }
      assert.strictEqual(calls, 6)
      assert.strictEqual((yield* statusOf("notes")).state, "Stopped")
    })
  )

  test(
    "is not blamed for what it was given before",
    Effect.gen(function*() {
      const calls: Array<string> = []
      yield* write("a", "1", "2", "3")
      yield* start(
        Source.journal(Note).pipe(
          Projection.exactlyOnce("notes", ({ event }) =>
            Effect.suspend(() => {
              calls.push(event)
              return calls.filter((call) => call === event).length < 3 ? Effect.fail("not yet") : Effect.void
            })),
          Projection.recovery(RecoveryStrategy.retryAndFail({ retries: 2, delay: 10 }))
        )
      )
      yield* after(10)
      yield* after(10)
      yield* after(10)
      yield* after(10)
      yield* after(10)
      yield* after(10)
      assert.deepStrictEqual(calls, ["1", "1", "1", "2", "2", "2", "3", "3", "3"])
      assert.deepInclude(yield* statusOf("notes"), { state: "Running", handled: 3 })
    })
  )

  test(
    "in a group is tried again with the group, then one by one",
    Effect.gen(function*() {
      const calls: Array<ReadonlyArray<string>> = []
      yield* write("a", "1", "2", "3")
      yield* start(
        Source.journal(Note).pipe(
          Projection.exactlyOnce(
            "notes",
            Handler.grouped(
              { size: 3, within: 1000 },
              (envelopes: ReadonlyArray<{ readonly event: string }>) =>
                Effect.suspend(() => {
                  const events = envelopes.map(({ event }) => event)
                  calls.push(events)
                  return events.includes("2") ? Effect.fail("two") : Effect.void
                })
            )
          ),
          Projection.recovery(RecoveryStrategy.retryAndSkip({ retries: 1, delay: 10 }))
        )
      )
      yield* after(10)
      yield* after(10)
      assert.deepStrictEqual(calls, [["1", "2", "3"], ["1", "2", "3"], ["1"], ["2"], ["2"], ["3"]])
      assert.deepInclude(yield* statusOf("notes"), { state: "Running", handled: 2, skipped: 1 })
      assert.deepStrictEqual(yield* storedPositions("notes"), [3])
    })
  )
})

describe("a stage that fails", () => {
  test(
    "is tried again as often as the strategy says, then its event is skipped",
    Effect.gen(function*() {
      let calls = 0
      const seen: Array<string> = []
      yield* write("a", "1", "2", "3")
      yield* start(
        Source.journal(Note).pipe(
          Source.tap(({ event }) =>
            Effect.suspend(() => {
              if (event !== "2") return Effect.void
              calls++
              return Effect.fail("two")
            })
          ),
          Projection.atLeastOnce("notes", ({ event }) => Effect.sync(() => seen.push(event)), {
            saveWithin: 1_000_000
          }),
          Projection.recovery(RecoveryStrategy.retryAndSkip({ retries: 2, delay: 10 }))
        )
      )
      assert.strictEqual(calls, 1)
      assert.deepStrictEqual(seen, ["1"])
      yield* after(240)
      assert.strictEqual(calls, 2)
      yield* after(480)
      assert.strictEqual(calls, 3)
      assert.strictEqual((yield* statusOf("notes")).skipped, 1)
      yield* after(960)
      assert.strictEqual(calls, 3)
      assert.deepStrictEqual(seen, ["1", "3"])
      assert.strictEqual((yield* statusOf("notes")).state, "CatchingUp")
    })
  )

  test(
    "is tried as often as before after a rewind",
    Effect.gen(function*() {
      let calls = 0
      yield* write("a", "1")
      yield* start(
        Source.journal(Note).pipe(
          Source.tap(() =>
            Effect.suspend(() => {
              calls++
              return Effect.fail("one")
            })
          ),
          Projection.exactlyOnce("notes", () => Effect.void),
          Projection.recovery(RecoveryStrategy.retryAndSkip({ retries: 1, delay: 10 }))
        )
      )
      assert.strictEqual(calls, 1)
      yield* ProjectionManagement.rewind("notes", "beginning")
      yield* after(10_000)
      assert.strictEqual(calls, 3)
      assert.strictEqual((yield* statusOf("notes")).skipped, 1)
    })
  )

  test(
    "for no fault of the event is tried again for as long as it takes",
    Effect.gen(function*() {
      let calls = 0
      yield* write("a", "1")
      yield* start(
        Source.journal(Note).pipe(
          Source.tap(() => Effect.suspend(() => ++calls < 6 ? Effect.fail(unavailable) : Effect.void)),
          Projection.exactlyOnce("notes", () => Effect.void),
          Projection.recovery(RecoveryStrategy.fail)
        )
      )
      for (let i = 0; i < 5; i++) yield* after(200 * 2 ** i * 1.2)
      assert.deepInclude(yield* statusOf("notes"), { state: "Running", handled: 1, restarts: 5 })
    })
  )
})

describe("a group", () => {
  const groups: Array<ReadonlyArray<string>> = []
  const handler = (size: number, within: number) => {
    groups.length = 0
    return Handler.grouped(
      { size, within },
      (envelopes: ReadonlyArray<{ readonly event: string }>) =>
        Effect.sync(() => void groups.push(envelopes.map(({ event }) => event)))
    )
  }

  test(
    "waits for more, as long as it may",
    Effect.gen(function*() {
      yield* write("a", "1", "2", "3")
      yield* start(Source.journal(Note).pipe(Projection.exactlyOnce("notes", handler(10, 100))))
      yield* after(60)
      yield* write("a", "4")
      yield* settle
      yield* after(39)
      assert.deepStrictEqual(groups, [])
      // counted from its first event
      yield* after(1)
      assert.deepStrictEqual(groups, [["1", "2", "3", "4"]])
      yield* after(500)
      yield* write("a", "5")
      yield* settle
      yield* after(99)
      assert.strictEqual(groups.length, 1)
      yield* after(1)
      assert.deepStrictEqual(groups[1], ["5"])
      assert.deepStrictEqual(yield* storedPositions("notes"), [5])
    })
  )

  test(
    "does not wait when it is full",
    Effect.gen(function*() {
      yield* write("a", "1", "2", "3", "4", "5")
      yield* start(Source.journal(Note).pipe(Projection.exactlyOnce("notes", handler(2, 100))))
      assert.deepStrictEqual(groups, [["1", "2"], ["3", "4"]])
      assert.deepStrictEqual(yield* storedPositions("notes"), [4])
      yield* write("a", "6")
      yield* settle
      assert.deepStrictEqual(groups[2], ["5", "6"])
      yield* write("a", "7")
      yield* settle
      yield* after(99)
      assert.strictEqual(groups.length, 3)
      yield* after(1)
      assert.deepStrictEqual(groups[3], ["7"])
    })
  )

  test(
    "is not filled by events that were dropped, which move the offset with it",
    Effect.gen(function*() {
      yield* write("a", "1", "x", "x", "2", "x", "3", "x")
      const source = Source.journal(Note).pipe(Source.filter(({ event }) => event !== "x"))
      yield* start(source.pipe(Projection.exactlyOnce("notes", handler(2, 100))))
      assert.deepStrictEqual(groups, [["1", "2"]])
      assert.deepStrictEqual(yield* storedPositions("notes"), [4])
      yield* after(100)
      assert.deepStrictEqual(groups, [["1", "2"], ["3"]])
      assert.deepStrictEqual(yield* storedPositions("notes"), [7])
    })
  )
})

describe("a group of little and much that was dropped", () => {
  test(
    "does not wait with all of that",
    Effect.gen(function*() {
      const handled: Array<ReadonlyArray<string>> = []
      const dropped = Array.from({ length: 500 }, () => "dropped") as [string, ...Array<string>]
      yield* start(
        Source.journal(Note).pipe(
          Source.filter(({ event }) => event !== "dropped"),
          Projection.exactlyOnce(
            "notes",
            Handler.grouped(
              { size: 100, within: "1 hour" },
              (envelopes) => Effect.sync(() => void handled.push(envelopes.map(({ event }) => event)))
            )
          )
        )
      )
      yield* write("a", "first")
      yield* settle
      assert.deepStrictEqual(handled, [])
      for (let i = 0; i < 20; i++) yield* Effect.andThen(write("a", ...dropped), settle)
      assert.deepStrictEqual(handled, [["first"]])
      assert.deepStrictEqual(yield* storedPositions("notes"), [10_001])
    })
  )
})

describe("an at-least-once projection", () => {
  test(
    "stores how far it came after so long",
    Effect.gen(function*() {
      const seen: Array<string> = []
      yield* write("a", "1", "2", "3")
      yield* start(
        Source.journal(Note).pipe(
          Projection.atLeastOnce("notes", ({ event }) => Effect.sync(() => seen.push(event)), { saveWithin: 500 })
        )
      )
      assert.deepStrictEqual(seen, ["1", "2", "3"])
      yield* after(499)
      assert.deepStrictEqual(yield* storedPositions("notes"), [])
      assert.strictEqual(yield* ProjectionStatus.lag("notes"), 3)
      yield* after(1)
      assert.deepStrictEqual(yield* storedPositions("notes"), [3])
      assert.strictEqual(yield* ProjectionStatus.lag("notes"), 0)
      // counted from the first event that is not stored
      yield* after(1000)
      yield* write("a", "4")
      yield* settle
      yield* after(300)
      yield* write("a", "5")
      yield* settle
      assert.deepStrictEqual(seen, ["1", "2", "3", "4", "5"])
      yield* after(199)
      assert.deepStrictEqual(yield* storedPositions("notes"), [3])
      yield* after(1)
      assert.deepStrictEqual(yield* storedPositions("notes"), [5])
    })
  )

  test(
    "stores how far it came after so many events, the dropped ones included",
    Effect.gen(function*() {
      yield* write("a", "1", "2", "3")
      const source = Source.journal(Note).pipe(Source.filter(({ event }) => event !== "2"))
      yield* start(source.pipe(
        Projection.atLeastOnce("notes", () => Effect.void, { saveAfter: 5, saveWithin: 1_000_000 })
      ))
      assert.deepStrictEqual(yield* storedPositions("notes"), [])
      yield* write("a", "4", "5")
      yield* settle
      assert.deepStrictEqual(yield* storedPositions("notes"), [5])
      yield* write("a", "6")
      yield* settle
      assert.deepStrictEqual(yield* storedPositions("notes"), [5])
    })
  )

  test(
    "stores after 100 events or half a second, unless said otherwise",
    Effect.gen(function*() {
      const events = Array.from({ length: 150 }, (_, i) => `${i}`) as [string, ...Array<string>]
      yield* write("a", ...events)
      yield* start(Source.journal(Note).pipe(Projection.atLeastOnce("notes", () => Effect.void)))
      assert.deepStrictEqual(yield* storedPositions("notes"), [100])
      yield* after(499)
      assert.deepStrictEqual(yield* storedPositions("notes"), [100])
      yield* after(1)
      assert.deepStrictEqual(yield* storedPositions("notes"), [150])
    })
  )

  test(
    "stores how far it came when it ends, and before it starts again",
    Effect.gen(function*() {
      const seen: Array<string> = []
      let failures = 0
      const projection = Source.journal(Note).pipe(
        Source.tap(({ event }) => event === "3" && failures++ === 0 ? Effect.fail(unavailable) : Effect.void),
        Projection.atLeastOnce("notes", ({ event }) => Effect.sync(() => seen.push(event)), { saveWithin: 1_000_000 })
      )
      yield* write("a", "1", "2", "3")
      yield* Effect.scoped(Effect.gen(function*() {
        yield* start(projection)
        assert.deepStrictEqual(yield* storedPositions("notes"), [2])
        yield* after(240)
        assert.deepStrictEqual(seen, ["1", "2", "3"])
        assert.deepStrictEqual(yield* storedPositions("notes"), [2])
      }))
      assert.deepStrictEqual(yield* storedPositions("notes"), [3])
    })
  )
})

describe("back-pressure", () => {
  test(
    "a handler that stands still stops the reading of the journal",
    Effect.gen(function*() {
      const journal = Source.journal(Note)
      let read = 0
      const source = Source.make({
        ...journal.provider,
        open: (range, start) =>
          Effect.map(journal.provider.open(range, start), (feed) => ({
            ...feed,
            envelopes: Stream.tap(feed.envelopes, () => Effect.sync(() => read++))
          }))
      })
      for (let i = 0; i < 20; i++) {
        yield* write(`${i}`, ...Array.from({ length: 500 }, (_, k) => `${k}`) as [string, ...Array<string>])
      }
      let handled = 0
      yield* start(source.pipe(
        Projection.atLeastOnce("notes", () => Effect.suspend(() => ++handled === 1 ? Effect.never : Effect.void))
      ))
      yield* Wait.until("the handler to stand still", () => handled === 1)
      yield* settle
      assert.isBelow(read, 5000)
    })
  )
})

describe("a projection at least once that looks whether what it has written is still there", () => {
  test(
    "stores no offset where it is not, also as it ends, and begins again from the one before",
    Effect.gen(function*() {
      const seen: Array<string> = []
      let isLost = false
      const confirm = Effect.suspend(() => isLost ? Effect.fail(unavailable) : Effect.void)
      yield* start(
        Source.journal(Note).pipe(
          Projection.atLeastOnce("notes", ({ event }) => Effect.sync(() => void seen.push(event)), {
            saveWithin: 500,
            confirm
          })
        )
      )
      yield* write("a", "1")
      yield* after(500)
      assert.deepStrictEqual(yield* storedPositions("notes"), [1])
      isLost = true
      yield* write("a", "2")
      yield* after(500)
      for (let i = 0; i < 10; i++) yield* after(1_000)
      assert.deepStrictEqual(yield* storedPositions("notes"), [1])
      assert.deepStrictEqual([...new Set(seen)], ["1", "2"])
      assert.isAbove(seen.length, 2)
      assert.strictEqual(seen.filter((text) => text === "1").length, 1)
      isLost = false
      for (let i = 0; i < 60; i++) yield* after(1_000)
      assert.deepStrictEqual(yield* storedPositions("notes"), [2])
    })
  )
})
