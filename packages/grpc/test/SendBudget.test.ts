import { assert, describe, it } from "@effect/vitest"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as TestClock from "effect/testing/TestClock"
import { SendBudget, type Share } from "../src/internal/server/SendBudget.ts"
import type { Status } from "../src/internal/wire/status.ts"
import * as FakeSource from "./kit/FakeSource.ts"

const mebibyte = 1024 * 1024

/** A page whose events and largest message take so many bytes. */
const page = (bytes: number): Effect.Effect<ReadonlyArray<EncodedEnvelope>> =>
  Effect.succeed([{ ...FakeSource.event(1, ""), payload: { manifest: "", bytes: new Uint8Array(bytes / 2) } }])

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
    stall: (bytes: number) => Effect.tap(share.reading.read(page(bytes)), () => Effect.sync(() => share.wrote(true))),
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
      const fiber = yield* Effect.forkScoped(waiting.reading.read(page(200)))
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
      yield* Effect.forkScoped(last.reading.read(page(200)))
      yield* after(12)
      assert.isFalse(other.isEnded())
      assert.strictEqual(endedOf(own), 1)
    }))

  it.effect("is not taken from streams that are busy, or whose consumers read, however slowly", () =>
    Effect.gen(function*() {
      const budget = yield* makeBudget
      // what has read a page and written nothing of it yet is at work
      const streams = yield* full(budget, ({ reading }) => reading.read(page(4 * mebibyte - 1000)))
      const slow = streams[0]!
      slow.wrote(true)
      const waiting = yield* open(budget, "waiting")
      yield* Effect.forkScoped(waiting.reading.read(page(200)))
      for (let i = 0; i < 4; i++) {
        yield* after(4)
        slow.wrote(true)
      }
      assert.strictEqual(endedOf(streams), 0)
      assert.isFalse(waiting.isEnded())
      yield* after(6)
      assert.isTrue(waiting.isEnded(), "who has waited for too long is to call again")
    }))
})
