import { assert, describe, it } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import type * as Call from "@sluice/grpc/Call"
import { CallTransport } from "@sluice/grpc/CallTransport"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { grpcError, openCall, unaryCall } from "../src/internal/client/clientCall.ts"

/** A channel whose other end is the test, by the test's clock. */
const fake = Effect.map(Clock.Clock, (clock) => {
  const arrived: Array<Buffer> = []
  const state = {
    listener: undefined as Call.OutgoingListener | undefined,
    written: [] as Array<string>,
    cancelled: false
  }
  const channel: Call.Channel = {
    ready: () => Effect.void,
    call: (_, listener) => {
      state.listener = listener
      return {
        write: (message) => state.written.push(message.toString()),
        end: () => state.written.push("end"),
        read: () => arrived.shift(),
        cancel: () => {
          state.cancelled = true
        }
      }
    }
  }
  const transport: CallTransport = { clock, connect: () => Effect.succeed(channel), listen: () => Effect.never }
  return {
    state,
    channel,
    send: (...messages: ReadonlyArray<Buffer>) => {
      arrived.push(...messages)
      state.listener!.readable()
    },
    end: (code: number, trailers: Call.Headers = {}) => state.listener!.ended({ code, details: "because", trailers }),
    provide: Effect.provideService(CallTransport, transport)
  }
})

const request: Call.Request = { path: "/service/Method", headers: {}, waitForReady: false }
const codeOf = <A>(effect: Effect.Effect<A, { readonly code: number }>) =>
  Effect.map(Effect.flip(effect), ({ code }) => code)

/** The code of the error that a status means. */
const meaning = (code: number, trailers: Call.Headers = {}) =>
  grpcError("there", "Method", { code, details: "", trailers }).code

/** The details of the error that RESOURCE_EXHAUSTED means. */
const exhausted = (details: string) =>
  grpcError("there", "Method", { code: status.RESOURCE_EXHAUSTED, details, trailers: {} }).details

describe("a call, as its client sees it", () => {
  it.effect("hands on what has come, some at a time, and then how it has ended", () =>
    Effect.gen(function*() {
      const { channel, end, provide, send, state } = yield* fake
      const call = yield* provide(openCall("there", channel, request, Buffer.from("first")))
      assert.deepStrictEqual(state.written, ["first"])
      const large = Buffer.alloc(40 * 1024)
      send(large, large, large)
      end(status.NOT_FOUND)
      assert.strictEqual((yield* call.pull).length, 2)
      assert.strictEqual((yield* call.pull).length, 1)
      assert.strictEqual(yield* codeOf(call.pull), status.NOT_FOUND)
    }))

  it.effect("fails when nothing has come for 30 seconds, where something comes every few, and somebody waits", () =>
    Effect.gen(function*() {
      const { channel, provide, send } = yield* fake
      const call = yield* provide(openCall("there", channel, request, Buffer.from("first")))
      yield* call.beats
      // nobody waits meanwhile
      yield* TestClock.adjust("2 minutes")
      const pulled = yield* Effect.forkChild(call.pull)
      yield* TestClock.adjust("29 seconds")
      send(Buffer.from("beat"))
      assert.strictEqual((yield* Fiber.join(pulled)).length, 1)
      const failing = yield* Effect.forkChild(codeOf(call.pull))
      yield* TestClock.adjust("29 seconds")
      assert.isUndefined(failing.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(failing), status.DEADLINE_EXCEEDED)
    }))

  it.effect("waits a minute for the first answer, and for messages without beats as long as it takes", () =>
    Effect.gen(function*() {
      const { channel, provide, send } = yield* fake
      const call = yield* provide(openCall("there", channel, request, Buffer.from("first")))
      const pulled = yield* Effect.forkChild(call.pull)
      yield* TestClock.adjust("1 hour")
      send(Buffer.from("late"))
      yield* Fiber.join(pulled)
      const answered = yield* Effect.forkChild(codeOf(call.headers))
      yield* TestClock.adjust("59 seconds")
      assert.isUndefined(answered.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(answered), status.DEADLINE_EXCEEDED)
    }))

  it.effect("is cancelled with its scope, and says until then every 10 seconds that it is there", () =>
    Effect.gen(function*() {
      const { channel, provide, state } = yield* fake
      yield* Effect.gen(function*() {
        const call = yield* provide(openCall("there", channel, request, Buffer.from("first")))
        yield* Effect.forkScoped(call.beat)
        yield* TestClock.adjust("25 seconds")
        assert.isFalse(state.cancelled)
      }).pipe(Effect.scoped)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(state.written, ["first", "", ""])
      assert.isTrue(state.cancelled)
    }))

  it.effect.each([0, 1, 2])("has one answer, where the method has one: of %i", (n) =>
    Effect.gen(function*() {
      const { channel, end, provide, send, state } = yield* fake
      const answer = yield* Effect.forkChild(provide(unaryCall("there", channel, request, Buffer.from("q"))))
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(state.written, ["q", "end"])
      send(...Array.from({ length: n }, (_, i) => Buffer.from(`${i}`)))
      end(status.OK)
      if (n === 1) assert.strictEqual((yield* Fiber.join(answer)).toString(), "0")
      else assert.strictEqual(yield* codeOf(Fiber.join(answer)), status.UNIMPLEMENTED)
    }))

  it("takes INTERNAL and UNKNOWN for a lost connection, unless the producer says that they are its own", () => {
    for (const code of [status.INTERNAL, status.UNKNOWN]) {
      assert.strictEqual(meaning(code), status.UNAVAILABLE)
      assert.strictEqual(meaning(code, { "sluice-status": String(code) }), code)
    }
    assert.strictEqual(meaning(status.NOT_FOUND), status.NOT_FOUND)
  })

  it("explains RESOURCE_EXHAUSTED where the library says it of a stream that was reset, and not where others do", () => {
    assert.match(exhausted("Bandwidth exhausted or memory limit exceeded"), /^Bandwidth .* \(the stream was reset/)
    for (const said of ["too many requests", "Received message larger than max (5000000 vs 4194304)"]) {
      assert.strictEqual(exhausted(said), said)
    }
  })
})
