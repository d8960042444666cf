import { assert, describe, it } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { IncomingCall } from "@sluice/grpc/Call"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as TestClock from "effect/testing/TestClock"
import { SendBudget, type Share } from "../src/internal/server/SendBudget.ts"
import { within } from "../src/internal/server/serverCall.ts"
import { Status } from "../src/internal/wire/status.ts"
import * as FakeSource from "./kit/FakeSource.ts"

const mebibyte = 1024 * 1024

const event = (bytes: number): EncodedEnvelope => ({
  ...FakeSource.event(1, ""),
  payload: { manifest: "", bytes: new Uint8Array(bytes) }
})

/** A page whose events and largest message take so many bytes. */
const page = (bytes: number) => (): Effect.Effect<ReadonlyArray<EncodedEnvelope>> => Effect.succeed([event(bytes / 2)])

/** How many events are asked for at most. */
const limit = 500

/** The memory of a server by the clock of the test. */
const makeBudget = Effect.gen(function*() {
  return new SendBudget(yield* Clock.Clock, yield* FiberSet.makeRuntime())
})

const after = (seconds: number) => TestClock.adjust(seconds * 1000)

/** A stream on a connection, and the status that it was ended with. */
const open = Effect.fnUntraced(function*(budget: SendBudget, connection: string) {
  const share: Share = yield* budget.share(connection)
  const ended = Deferred.makeUnsafe<Status>()
  yield* Effect.forkScoped(Effect.catch(share.refused, (status) => Deferred.succeed(ended, status)))
  return {
    ...share,
    /** Reads a page, and writes what its consumer does not read. */
    stall: (bytes: number) =>
      Effect.tap(share.reading.read(page(bytes), limit), () => Effect.sync(() => share.wrote(true, 0))),
    /** Reads a page of events of a size, and says how many those are. */
    page: (bytes: number) =>
      Effect.map(
        share.reading.read((limit) => {
          const count = Math.min(limit, Math.ceil(4 * mebibyte / bytes))
          return Effect.succeed(Array<EncodedEnvelope>(count).fill(event(bytes)))
        }, limit),
        ({ length }) => length
      ),
    isEnded: () => Deferred.isDoneUnsafe(ended)
  }
})

type Opened = Effect.Success<ReturnType<typeof open>>

const endedOf = (streams: ReadonlyArray<Opened>) => streams.filter((stream) => stream.isEnded()).length

/** As many streams as fill the server, each with four mebibytes. */
const full = (budget: SendBudget, of: (stream: Opened) => Effect.Effect<unknown>) =>
  Effect.forEach(Array.from({ length: 32 }), (_, i) => Effect.tap(open(budget, `connection ${i % 8}`), of))

describe("the memory of a server for what its consumers have not read", () => {
  it.effect("is taken back, when another stream waits, from the one that stands still for longest, and no other", () =>
    Effect.gen(function*() {
      const budget = yield* makeBudget
      const small = yield* open(budget, "small")
      yield* small.stall(200)
      const streams = yield* full(budget, (stream) => Effect.andThen(stream.stall(4 * mebibyte - 1000), after(0.1)))
      yield* after(10)
      const waiting = yield* open(budget, "waiting")
      const fiber = yield* Effect.forkScoped(waiting.reading.read(page(200), limit))
      yield* after(2)
      assert.isFalse(small.isEnded())
      assert.deepStrictEqual(streams.map((stream) => stream.isEnded()), [true, ...Array(31).fill(false)])
      assert.isFalse(waiting.isEnded())
      yield* Fiber.interrupt(fiber)
    }))

  it.effect("is taken from those of the connection that is full", () =>
    Effect.gen(function*() {
      const budget = yield* makeBudget
      const other = yield* open(budget, "other")
      yield* other.stall(4 * mebibyte)
      const own = yield* Effect.forEach(Array.from({ length: 7 }), () =>
        Effect.tap(open(budget, "own"), (stream) => stream.stall(4 * mebibyte)))
      const last = yield* open(budget, "own")
      yield* Effect.forkScoped(last.reading.read(page(200), limit))
      yield* after(12)
      assert.isFalse(other.isEnded())
      assert.strictEqual(endedOf(own), 1)
    }))

  it.effect("is not taken from streams that are busy, or whose consumers read, however slowly", () =>
    Effect.gen(function*() {
      const budget = yield* makeBudget
      // what has read a page and written nothing of it yet is at work
      const streams = yield* full(budget, ({ reading }) => reading.read(page(4 * mebibyte - 1000), limit))
      const slow = streams[0]!
      slow.wrote(true, 0)
      const waiting = yield* open(budget, "waiting")
      const fiber = yield* Effect.forkScoped(waiting.reading.read(page(200), limit))
      for (let i = 0; i < 10; i++) {
        yield* after(9)
        slow.wrote(true, 1000)
      }
      assert.strictEqual(endedOf(streams), 0)
      assert.isFalse(waiting.isEnded(), "who holds nothing is not in the way")
      assert.isUndefined(fiber.pollUnsafe())
      slow.wrote(true, 4 * mebibyte)
      yield* Fiber.join(fiber)
    }))

  it.effect("is free again as it is taken, and not when all of a page is", () =>
    Effect.gen(function*() {
      const budget = yield* makeBudget
      const streams = yield* Effect.forEach(Array.from({ length: 8 }), () =>
        Effect.tap(open(budget, "own"), (stream) => stream.stall(4 * mebibyte - 1000)))
      const waiting = yield* open(budget, "own")
      const fiber = yield* Effect.forkScoped(waiting.reading.read(page(200), limit))
      yield* Effect.yieldNow
      for (const { wrote } of streams.slice(1)) {
        wrote(true, 512 * 1024)
      }
      yield* Effect.yieldNow
      assert.isUndefined(fiber.pollUnsafe())
      streams[0]!.wrote(true, 512 * 1024)
      yield* Fiber.join(fiber)
    }))

  it.effect("is shared out among those that are busy, in pages of an equal part, so that none has to wait", () =>
    Effect.gen(function*() {
      const budget = yield* makeBudget
      const streams = yield* Effect.forEach(Array.from({ length: 48 }), () => open(budget, "own"))
      // what the windows of their consumers have room for
      const windows = streams.map(() => 4 * mebibyte)
      const rounds: Array<ReadonlyArray<number>> = []
      for (let round = 0; round < 4; round++) {
        const fibers = yield* Effect.forEach(
          streams,
          (stream, i) =>
            Effect.forkScoped(Effect.tap(stream.page(20_000), (count) =>
              Effect.sync(() => {
                const taken = Math.min(windows[i]!, count * 20_000)
                windows[i]! -= taken
                stream.wrote(true, taken)
              })))
        )
        yield* after(1)
        assert.isTrue(fibers.every((fiber) => fiber.pollUnsafe() !== undefined), "all have a page")
        rounds.push(yield* Effect.forEach(fibers, Fiber.join))
      }
      assert.strictEqual(endedOf(streams), 0)
      for (const counts of rounds.slice(2)) {
        for (const count of counts) assert.isTrue(count >= 10 && count <= 50, `${count} events`)
      }
    }))

  it.effect("goes first to who is on a connection that holds little, and not to whose turn it is", () =>
    Effect.gen(function*() {
      const budget = yield* makeBudget
      const streams = yield* full(budget, (stream) => stream.stall(4 * mebibyte - 1000))
      const others = yield* Effect.forEach(streams, (_, i) => open(budget, `connection ${i % 8}`))
      for (const { reading } of others) yield* Effect.forkScoped(reading.read(page(4 * mebibyte - 1000), limit))
      yield* Effect.yieldNow
      const reader = yield* open(budget, "reader")
      const fiber = yield* Effect.forkScoped(
        Effect.forEach(Array.from({ length: 5 }), () => reader.reading.read(page(2 * mebibyte), limit))
      )
      yield* after(1)
      streams[0]!.wrote(false, 4 * mebibyte)
      yield* after(1)
      assert.isDefined(fiber.pollUnsafe())
      assert.strictEqual(endedOf([...streams, ...others]), 0)
    }))

  it.effect("goes from one to the next of many that wait, where each ends with an error as soon as it reads", () =>
    Effect.gen(function*() {
      const budget = yield* makeBudget
      const streams = yield* full(budget, (stream) => stream.stall(4 * mebibyte - 1000))
      const closed = Effect.fail("the storage was closed")
      const waiting = yield* Effect.forEach(
        Array.from({ length: 2000 }, (_, i) => `connection ${i % 8}`),
        (connection) =>
          Effect.forkScoped(
            Effect.scoped(Effect.flatMap(budget.share(connection), ({ reading }) => reading.read(() => closed, limit)))
          )
      )
      yield* after(1)
      assert.isTrue(waiting.every((fiber) => fiber.pollUnsafe() === undefined), "all of them wait")
      streams[0]!.wrote(false, 4 * mebibyte)
      yield* after(1)
      for (const fiber of waiting) assert.deepStrictEqual(fiber.pollUnsafe(), Exit.fail("the storage was closed"))
    }))

  it.effect("is for those that are busy, however many are not", () =>
    Effect.gen(function*() {
      const budget = yield* makeBudget
      const streams = yield* Effect.forEach(Array.from({ length: 500 }), () => open(budget, "own"))
      for (const stream of streams) {
        yield* stream.page(1000)
        stream.wrote(false, mebibyte)
      }
      assert.strictEqual(yield* streams[0]!.page(1000), limit)
      assert.strictEqual(yield* streams[0]!.page(1000), limit)
    }))
})

describe("a stream whose memory is taken back", () => {
  it.effect("is told why, and is reset when its consumer has not read that for long", () =>
    Effect.gen(function*() {
      let resets = 0
      const call = { reset: () => resets++ } as unknown as IncomingCall
      const refused = new Status(status.RESOURCE_EXHAUSTED, "this consumer does not read", {})
      const clock = yield* Clock.Clock
      const share = { clock, run: yield* FiberSet.makeRuntime(), refused: Effect.fail(refused) }
      assert.strictEqual(yield* Effect.flip(within(call, share, Effect.never)), refused)
      yield* after(15)
      assert.strictEqual(resets, 0, "it may read slowly")
      yield* after(10)
      assert.strictEqual(resets, 1)
    }))

  it.effect("is not waited for by a server that is closed meanwhile", () =>
    Effect.gen(function*() {
      let resets = 0
      const call = { reset: () => resets++ } as unknown as IncomingCall
      const refused = Effect.fail(new Status(status.RESOURCE_EXHAUSTED, "this consumer does not read", {}))
      const clock = yield* Clock.Clock
      yield* Effect.gen(function*() {
        const share = { clock, run: yield* FiberSet.makeRuntime(), refused }
        yield* Effect.flip(within(call, share, Effect.never))
      }).pipe(Effect.scoped)
      yield* after(25)
      assert.strictEqual(resets, 0)
    }))
})
