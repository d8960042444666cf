import { assert, describe, it } from "@effect/vitest"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { type AppendRequest, SequenceConflict } from "@sluice/core/Journal"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import { StorageError } from "@sluice/core/StorageError"
import type { Answer } from "@sluice/sql/adapter/AppendLane"
import { toConnectError, toSqlError } from "@sluice/sql/adapter/SqlStorageError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type { SqlError } from "effect/sql/SqlError"
import * as TestClock from "effect/testing/TestClock"
import * as Appender from "../src/internal/append/Appender.ts"
import { BusyLogs } from "../src/internal/append/BusyLogs.ts"
import { UnknownOutcomes } from "../src/internal/append/UnknownOutcomes.ts"
import { errorOf } from "./fakeServer.ts"
import { request, written } from "./kit/Requests.ts"

const lost = toSqlError("postgres")("append")(errorOf("postgres", "lost"))
const readOnly = toSqlError("postgres")("append")(errorOf("postgres", "readOnly"))
const deadlock = toSqlError("postgres")("append")(errorOf("postgres", "deadlock"))
const refused = toConnectError("postgres")("append")(Object.assign(new Error("refused"), { code: "ECONNREFUSED" }))

const answersOf = (requests: ReadonlyArray<AppendRequest>): ReadonlyArray<Answer> =>
  requests.map((_) => Exit.succeed(written(_)))

interface Call {
  readonly how: "register" | "try" | "wait" | "within"
  readonly entities: ReadonlyArray<string>
  readonly isRecheck: boolean
}

/** A database whose logs are locked by others as it is told, and which answers as it is told. */
class FakeJournal {
  readonly calls: Array<Call> = []
  readonly announced: Array<ReadonlyArray<EncodedEnvelope>> = []
  /** Entities whose logs somebody holds. */
  readonly locked = new Set<string>()
  /** Opened when somebody gives up the lock. */
  readonly unlocked = Latch.makeUnsafe()
  /** What the next calls fail with, one after the other. */
  readonly failures: Array<SqlError> = []
  isInTransaction = false
  readonly afterCommit: Array<Effect.Effect<unknown, never, any>> = []

  private call<A>(
    how: Call["how"],
    requests: ReadonlyArray<AppendRequest>,
    answer: () => A
  ): Effect.Effect<A, SqlError> {
    return Effect.suspend(() => {
      this.calls.push({
        how,
        entities: requests.map(({ persistenceId }) => persistenceId),
        isRecheck: requests.some(({ recheck }) => recheck)
      })
      const failure = this.failures.shift()
      return failure === undefined ? Effect.sync(answer) : Effect.fail(failure)
    })
  }

  readonly appender = Appender.make({
    lanes: 1,
    waiters: 1,
    database: {
      inTransaction: Effect.sync(() => this.isInTransaction),
      hasOutlived: Effect.succeed(false),
      afterCommit: (effect) => Effect.sync(() => void this.afterCommit.push(effect))
    },
    signals: { appended: (_topic, _slices, events) => void this.announced.push(events()) },
    dialect: {
      joins: () => true,
      register: () => this.call("register", [], () => undefined),
      tryAppend: (requests) =>
        this.call(
          "try",
          requests,
          () => requests.map((one) => this.locked.has(one.persistenceId) ? undefined : Exit.succeed(written(one)))
        ),
      waitAppend: (requests) =>
        this.call("wait", requests, () => answersOf(requests)).pipe(
          Effect.tap(() => requests.some((_) => this.locked.has(_.persistenceId)) ? this.unlocked.await : Effect.void)
        ),
      appendWithin: (one) => this.call("within", [one], () => Exit.succeed(written(one)))
    }
  })

  get ways(): ReadonlyArray<Call["how"]> {
    return this.calls.map(({ how }) => how)
  }
}

const settled = Effect.gen(function*() {
  for (let i = 0; i < 20; i++) yield* Effect.yieldNow
})

describe("a log that somebody holds", () => {
  it.effect("is tried three times, then waited for, and meanwhile by whoever comes after", () =>
    Effect.gen(function*() {
      const journal = new FakeJournal()
      const append = yield* journal.appender
      const [first, second] = [request("a"), request("a")]
      journal.locked.add(first.persistenceId)
      const waiting = yield* Effect.forkChild(append(first))
      yield* settled
      assert.deepStrictEqual(journal.ways, ["register", "try", "try", "try", "wait"])
      const later = yield* Effect.forkChild(append(second))
      yield* settled
      // behind the first, and without a try
      assert.deepStrictEqual(journal.ways, ["register", "try", "try", "try", "wait"])
      yield* journal.unlocked.open
      assert.deepStrictEqual(yield* Fiber.join(waiting), written(first))
      assert.deepStrictEqual(yield* Fiber.join(later), written(second))
      assert.deepStrictEqual(journal.ways, ["register", "try", "try", "try", "wait", "wait"])
      // when nobody waits for it any more, it is tried again
      journal.locked.clear()
      yield* append(request("a"))
      assert.strictEqual(journal.ways.at(-1), "try")
    }))

  it.effect("holds up nobody else, who is in the same lane", () =>
    Effect.gen(function*() {
      const journal = new FakeJournal()
      const append = yield* journal.appender
      const [held, free] = [request("a"), request("b")]
      journal.locked.add(held.persistenceId)
      yield* Effect.forkChild(append(held))
      yield* settled
      assert.deepStrictEqual(yield* append(free), written(free))
    }))

  it.effect("is not waited for any more by whoever was interrupted", () =>
    Effect.gen(function*() {
      const journal = new FakeJournal()
      const append = yield* journal.appender
      const held = request("a")
      journal.locked.add(held.persistenceId)
      const waiting = yield* Effect.forkChild(append(held))
      yield* settled
      yield* Fiber.interrupt(waiting)
      journal.locked.clear()
      const before = journal.calls.length
      yield* append(request("a"))
      assert.deepStrictEqual(journal.ways.slice(before), ["try"])
    }))
})

describe("an append whose outcome is unknown", () => {
  it.effect("is sent again, and looks for its own events", () =>
    Effect.gen(function*() {
      const journal = new FakeJournal()
      const append = yield* journal.appender
      yield* append(request("z"))
      journal.failures.push(lost)
      const one = request("a")
      const appending = yield* Effect.forkChild(append(one))
      yield* settled
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(appending), written(one))
      assert.deepStrictEqual(journal.calls.slice(2).map(({ how, isRecheck }) => [how, isRecheck]), [
        ["try", false],
        ["try", true]
      ])
    }))

  it.effect("looks for them wherever it is sent", () =>
    Effect.gen(function*() {
      const journal = new FakeJournal()
      const append = yield* journal.appender
      yield* append(request("z"))
      const one = request("a")
      journal.locked.add(one.persistenceId)
      journal.failures.push(lost)
      const appending = yield* Effect.forkChild(append(one))
      yield* settled
      yield* TestClock.adjust("1 second")
      yield* journal.unlocked.open
      yield* Fiber.join(appending)
      assert.deepStrictEqual(journal.calls.at(-1), { how: "wait", entities: ["note|a"], isRecheck: true })
    }))

  it.effect("does not say that nothing was written, though it was refused the second time", () =>
    Effect.gen(function*() {
      const journal = new FakeJournal()
      const append = yield* journal.appender
      yield* append(request("z"))
      journal.failures.push(lost, toSqlError("postgres")("append")(errorOf("postgres", "full")))
      const appending = yield* Effect.forkChild(Effect.flip(append(request("a"))))
      yield* settled
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(appending)
      assert.instanceOf(error, StorageError)
      assert.strictEqual(error.reason, "Unavailable")
    }))
})

describe("an append that was certainly not written", () => {
  for (
    const [what, error] of [["nobody listens", refused], ["the server takes no writes", readOnly], [
      "it was the victim of a deadlock",
      deadlock
    ]] as const
  ) {
    it.effect(`is sent again as it was where ${what}`, () =>
      Effect.gen(function*() {
        const journal = new FakeJournal()
        const append = yield* journal.appender
        yield* append(request("z"))
        journal.failures.push(error, error)
        const one = request("a")
        const appending = yield* Effect.forkChild(append(one))
        yield* settled
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(yield* Fiber.join(appending), written(one))
        assert.deepStrictEqual(journal.calls.slice(2).map(({ isRecheck }) => isRecheck), [false, false, false])
      }))
  }

  it.effect("waits for half a minute, and no longer", () =>
    Effect.gen(function*() {
      const journal = new FakeJournal()
      const append = yield* journal.appender
      yield* append(request("z"))
      journal.failures.push(...Array.from({ length: 1000 }, () => refused))
      const appending = yield* Effect.forkChild(Effect.flip(append(request("a"))))
      yield* settled
      yield* TestClock.adjust("29 seconds")
      assert.isUndefined(appending.pollUnsafe())
      yield* TestClock.adjust("3 seconds")
      const error = yield* Fiber.join(appending)
      assert.instanceOf(error, StorageError)
      assert.strictEqual(error.reason, "Unavailable")
    }))
})

describe("an entity type", () => {
  it.effect("is registered once, before its first append, however many come at once", () =>
    Effect.gen(function*() {
      const journal = new FakeJournal()
      const append = yield* journal.appender
      yield* Effect.all([append(request("a")), append(request("b")), append(request("c"))], {
        concurrency: "unbounded"
      })
      yield* append(request("d"))
      assert.deepStrictEqual(journal.ways.filter((_) => _ === "register"), ["register"])
      assert.strictEqual(journal.ways[0], "register")
    }))

  it.effect("is registered again where that has failed", () =>
    Effect.gen(function*() {
      const journal = new FakeJournal()
      const append = yield* journal.appender
      journal.failures.push(toSqlError("postgres")("register")(errorOf("postgres", "missing")))
      yield* Effect.flip(append(request("a")))
      yield* append(request("a"))
      assert.deepStrictEqual(journal.ways, ["register", "register", "try"])
    }))
})

describe("what was written", () => {
  it.effect("is announced with all of its batch, but for what conflicts", () =>
    Effect.gen(function*() {
      const journal = new FakeJournal()
      const append = yield* journal.appender
      const one = request("a", { events: 3 })
      yield* append(one)
      assert.deepStrictEqual(journal.announced.map((_) => _.map(({ position }) => position as number)), [[1, 2, 3]])
    }))

  it.effect("in the fiber's transaction is announced after the commit", () =>
    Effect.gen(function*() {
      const journal = new FakeJournal()
      const append = yield* journal.appender
      journal.isInTransaction = true
      yield* append(request("a"))
      assert.deepStrictEqual(journal.ways, ["register", "within"])
      assert.deepStrictEqual(journal.announced, [])
      for (const announce of journal.afterCommit) yield* announce
      assert.strictEqual(journal.announced.length, 1)
    }))
})

describe("busy logs", () => {
  it("are so until the last that waits has gone", () => {
    const busy = new BusyLogs()
    busy.enter("1 note")
    busy.enter("1 note")
    busy.leave("1 note")
    assert.isTrue(busy.has("1 note"))
    assert.isFalse(busy.has("2 note"))
    busy.leave("1 note")
    assert.isFalse(busy.has("1 note"))
  })
})

describe("unknown outcomes", () => {
  it("concern the appends that were lost alone", () => {
    const unknown = new UnknownOutcomes()
    const [a, b] = [request("a"), request("b")]
    unknown.add([a])
    assert.deepStrictEqual(unknown.prepare([a, b]).map(({ recheck }) => recheck), [true, false])
    assert.isFalse(a.recheck)
  })

  it("change what the storage says, and not that another has written", () => {
    const unknown = new UnknownOutcomes()
    const [a, b] = [request("a"), request("b")]
    unknown.add([a])
    const full = new StorageError({ operation: "append", reason: "Full", cause: "full" })
    const conflict = new SequenceConflict({
      persistenceId: a.persistenceId,
      expected: "none",
      actual: SequenceNumber.make(1)
    })
    assert.strictEqual(unknown.explain<StorageError>(a, full).reason, "Unavailable")
    assert.strictEqual(unknown.explain(b, full), full)
    assert.strictEqual(unknown.explain(a, conflict), conflict)
  })
})
