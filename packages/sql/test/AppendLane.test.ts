import { assert, describe, it } from "@effect/vitest"
import { type AppendRequest, SequenceConflict } from "@sluice/core/Journal"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import { StorageError } from "@sluice/core/StorageError"
import * as AppendLane from "@sluice/sql/adapter/AppendLane"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { request, written } from "./kit/Requests.ts"

type Write = AppendLane.Options<AppendLane.Answer>["write"]

const answers: Write = (requests) => Effect.succeed(requests.map((_) => Exit.succeed(written(_))))

/** A lane whose first transaction lasts until the gate is opened. Later ones end at once. */
const makeLane = Effect.fnUntraced(function*(write: Write = answers) {
  const batches: Array<ReadonlyArray<AppendRequest>> = []
  const gate = Latch.makeUnsafe()
  const append = yield* AppendLane.make<AppendLane.Answer>({
    maxEvents: 200,
    maxBytes: 1024 * 1024,
    write: (requests) =>
      Effect.suspend(() => {
        batches.push(requests)
        return batches.length === 1 ? Effect.andThen(gate.await, write(requests)) : write(requests)
      })
  })
  return {
    batches,
    gate,
    append: (request: AppendRequest) => Effect.flatten(append(request)),
    /** Forks appends that go into one batch, behind one that is under way. */
    together: (requests: ReadonlyArray<AppendRequest>) =>
      Effect.gen(function*() {
        yield* Effect.forkChild(Effect.exit(append(request("first"))), { startImmediately: true })
        yield* Effect.yieldNow
        const fibers = []
        for (const one of requests) {
          fibers.push(yield* Effect.forkChild(Effect.flatten(append(one)), { startImmediately: true }))
        }
        return fibers
      })
  }
})

const storageError = (reason: StorageError["reason"]) =>
  new StorageError({ operation: "append", reason, cause: new Error(reason) })

const [a, b, c] = [request("a"), request("b"), request("c")] as const

describe("what is appended while a transaction is under way", () => {
  it.effect("goes into the next one together, and each is answered for itself", () =>
    Effect.gen(function*() {
      const { batches, gate, together } = yield* makeLane()
      const fibers = yield* together([a, b, c])
      assert.strictEqual(batches.length, 1)
      yield* gate.open
      assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), [a, b, c].map(written))
      assert.deepStrictEqual(batches.slice(1), [[a, b, c]])
    }))

  it.effect("is not delayed where nothing is under way", () =>
    Effect.gen(function*() {
      const { append, batches, gate } = yield* makeLane()
      yield* gate.open
      assert.deepStrictEqual(yield* append(a), written(a))
      assert.deepStrictEqual(yield* append(b), written(b))
      assert.deepStrictEqual(batches, [[a], [b]])
    }))

  it.effect("is written though one of it conflicts", () =>
    Effect.gen(function*() {
      const conflict = new SequenceConflict({
        persistenceId: b.persistenceId,
        expected: "none",
        actual: SequenceNumber.make(3)
      })
      const { gate, together } = yield* makeLane((requests) =>
        Effect.succeed(requests.map((_) => _ === b ? Exit.fail(conflict) : Exit.succeed(written(_))))
      )
      const fibers = yield* together([a, b, c])
      yield* gate.open
      assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.await), [
        Exit.succeed(written(a)),
        Exit.fail(conflict),
        Exit.succeed(written(c))
      ])
    }))
})

describe("a transaction that fails", () => {
  it.effect("for what one append is, is made again for each, so that this one alone fails", () =>
    Effect.gen(function*() {
      const { batches, gate, together } = yield* makeLane((requests) =>
        requests.includes(b) ? Effect.fail(storageError("Failed")) : answers(requests)
      )
      const fibers = yield* together([a, b, c])
      yield* gate.open
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      assert.deepStrictEqual(exits.map((_) => _._tag), ["Success", "Failure", "Success"])
      assert.deepStrictEqual(batches.slice(1), [[a, b, c], [a], [b], [c]])
    }))

  it.effect("for what the storage is, fails for all of them, and is not made again", () =>
    Effect.gen(function*() {
      const { batches, gate, together } = yield* makeLane((requests) =>
        requests.includes(b) ? Effect.fail(storageError("Full")) : answers(requests)
      )
      const fibers = yield* together([a, b, c])
      yield* gate.open
      for (const fiber of fibers) {
        const error = yield* Effect.flip(Fiber.join(fiber))
        assert.instanceOf(error, StorageError)
        assert.strictEqual(error.reason, "Full")
      }
      assert.deepStrictEqual(batches.slice(1), [[a, b, c]])
    }))

  it.effect("with a defect dies for all of them, and the lane goes on", () =>
    Effect.gen(function*() {
      const { append, gate, together } = yield* makeLane((requests) =>
        requests.includes(b) ? Effect.die("broken") : answers(requests)
      )
      const fibers = yield* together([a, b])
      yield* gate.open
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      assert.isTrue(exits.every((exit) => Exit.isFailure(exit) && Cause.hasDies(exit.cause)))
      assert.deepStrictEqual(yield* append(c), written(c))
    }))
})

describe("an append that is interrupted", () => {
  it.effect("while it waits is not written, and the others are", () =>
    Effect.gen(function*() {
      const { batches, gate, together } = yield* makeLane()
      const [first, second, third] = yield* together([a, b, c])
      yield* Fiber.interrupt(second!)
      yield* gate.open
      assert.deepStrictEqual(yield* Effect.forEach([first!, third!], Fiber.join), [written(a), written(c)])
      assert.deepStrictEqual(batches.slice(1), [[a, c]])
    }))

  it.effect("while it is written does not stop the transaction, which others have a part in", () =>
    Effect.gen(function*() {
      const { append, batches, gate } = yield* makeLane()
      const writing = yield* Effect.forkChild(append(a), { startImmediately: true })
      while (batches.length === 0) yield* Effect.yieldNow
      yield* Fiber.interrupt(writing)
      yield* gate.open
      assert.deepStrictEqual(yield* append(b), written(b))
      assert.deepStrictEqual(batches, [[a], [b]])
    }))

  it.effect("as the last that waits leaves nothing to write", () =>
    Effect.gen(function*() {
      const { append, batches, gate, together } = yield* makeLane()
      const [only] = yield* together([a])
      yield* Fiber.interrupt(only!)
      yield* gate.open
      assert.deepStrictEqual(yield* append(b), written(b))
      assert.deepStrictEqual(batches.slice(1), [[b]])
    }))
})

describe("a lane whose scope is closed", () => {
  it.effect("fails who waits and whoever comes later, and does not know of who is being written", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { append, batches } = yield* Scope.provide(makeLane(), scope)
      const writing = yield* Effect.forkChild(append(a), { startImmediately: true })
      while (batches.length === 0) yield* Effect.yieldNow
      const waiting = yield* Effect.forkChild(append(b), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.deepInclude(yield* Effect.flip(Fiber.join(writing)), { reason: "Unavailable" })
      assert.deepInclude(yield* Effect.flip(Fiber.join(waiting)), { reason: "Closed" })
      assert.deepInclude(yield* Effect.flip(append(c)), { reason: "Closed" })
      assert.deepStrictEqual(batches, [[a]])
    }))
})

const requests = (n: number) => Array.from({ length: n }, (_, i) => request(`many-${i}`))

describe("several lanes", () => {
  /** Each batch lasts until the gate is opened. */
  const makeLanes = Effect.gen(function*() {
    const batches: Array<ReadonlyArray<string>> = []
    const gate = Latch.makeUnsafe()
    const append = yield* AppendLane.make<AppendLane.Answer>({
      lanes: 2,
      maxEvents: 200,
      maxBytes: 1024 * 1024,
      write: (requests) =>
        Effect.suspend(() => {
          batches.push(requests.map(({ persistenceId }) => persistenceId))
          return Effect.andThen(gate.await, answers(requests))
        })
    })
    const fork = Effect.fnUntraced(function*(requests: ReadonlyArray<AppendRequest>) {
      const fibers = []
      for (const one of requests) {
        fibers.push(yield* Effect.forkChild(Effect.flatten(append(one)), { startImmediately: true }))
      }
      for (let i = 0; i < 5; i++) yield* Effect.yieldNow
      return fibers
    })
    return { batches, gate, fork }
  })
  it.effect("are one while little waits", () =>
    Effect.gen(function*() {
      const { batches, fork, gate } = yield* makeLanes
      const first = yield* fork([a])
      const others = yield* fork(requests(63))
      assert.deepStrictEqual(batches, [["note|a"]])
      yield* gate.open
      yield* Effect.forEach([...first, ...others], Fiber.join)
      assert.deepStrictEqual(batches.map((_) => _.length), [1, 63])
    }))

  it.effect("are two when much waits", () =>
    Effect.gen(function*() {
      const { batches, fork, gate } = yield* makeLanes
      const fibers = [...yield* fork([a]), ...yield* fork(requests(64)), ...yield* fork(requests(64))]
      assert.deepStrictEqual(batches.map((_) => _.length), [1, 64])
      yield* gate.open
      yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(batches.map((_) => _.length), [1, 64, 64])
    }))

  it.effect("are two when a batch takes long", () =>
    Effect.gen(function*() {
      const { batches, fork, gate } = yield* makeLanes
      const fibers = [...yield* fork([a])]
      yield* TestClock.adjust("15 millis")
      fibers.push(...yield* fork([b]), ...yield* fork([c]))
      assert.deepStrictEqual(batches, [["note|a"]])
      // though nothing more is appended
      yield* TestClock.adjust("25 millis")
      assert.deepStrictEqual(batches, [["note|a"], ["note|b", "note|c"]])
      yield* gate.open
      yield* Effect.forEach(fibers, Fiber.join)
    }))

  it.effect("leave what is for a log that is under way until that has ended", () =>
    Effect.gen(function*() {
      const { batches, fork, gate } = yield* makeLanes
      const fibers = [...yield* fork([a])]
      yield* TestClock.adjust("21 millis")
      fibers.push(...yield* fork([a]))
      assert.deepStrictEqual(batches, [["note|a"]])
      // what comes later does not wait behind that
      fibers.push(...yield* fork([b]))
      assert.deepStrictEqual(batches, [["note|a"], ["note|b"]])
      yield* gate.open
      yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(batches, [["note|a"], ["note|b"], ["note|a"]])
    }))
})
