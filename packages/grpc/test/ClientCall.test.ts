import { assert, describe, it } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import type * as Call from "@sluice/grpc/Call"
import { CallTransport } from "@sluice/grpc/CallTransport"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { givingWayAfter } from "../../../test/kit/givingWayAfter.ts"
import { type CallError, grpcError, openCall, unaryCall } from "../src/internal/client/clientCall.ts"
import { echoFrame } from "../src/internal/wire/beats.ts"

/** A channel whose other end is the test, by the test's clock. */
const fake = Effect.map(Clock.Clock, (clock) => {
  const arrived: Array<Buffer> = []
  const state = {
    listener: undefined as Call.OutgoingListener | undefined,
    written: [] as Array<string>,
    /** The numbers of beats. */
    beats: [] as Array<bigint>,
    cancelled: false
  }
  const channel: Call.Channel = {
    ready: () => Effect.void,
    call: (_, listener) => {
      state.listener = listener
      return {
        write: (message) => {
          state.written.push(message.toString())
          if (message[0] === 0xca && message[1] === 0x3e) state.beats.push(BigInt(message[4]!))
        },
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
const codeOf = <A>(effect: Effect.Effect<A, CallError>) =>
  Effect.map(Effect.flip(effect), (error) => "code" in error ? error.code : error._tag)

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

  it.effect("hands on what comes at any moment between looking for it and waiting for it", () =>
    Effect.gen(function*() {
      const message = Buffer.from("message")
      let hasGivenWay = true
      let moments = 0
      for (; hasGivenWay; moments++) {
        const { channel, provide, send } = yield* fake
        const call = yield* provide(openCall("there", channel, request, Buffer.from("first")))
        const { goOn, scheduler, tasks } = givingWayAfter(moments)
        const pulled = Effect.runFork(call.pull, { scheduler })
        hasGivenWay = tasks.length > 0
        send(message)
        goOn()
        const exit = pulled.pollUnsafe()
        if (exit === undefined) assert.fail(`what comes after ${moments} operations is lost`)
        assert.deepStrictEqual(yield* exit, [message])
      }
      assert.isAbove(moments, 2)
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
        yield* call.keepAlive(() => {})
        yield* TestClock.adjust("25 seconds")
        assert.isFalse(state.cancelled)
      }).pipe(Effect.scoped)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(state.beats, [1n, 1n, 1n])
      assert.isTrue(state.cancelled)
    }))

  /** A call with a producer that echoes, and what it was told. */
  const echoing = Effect.gen(function*() {
    const { channel, provide, send, state } = yield* fake
    const call = yield* provide(openCall("there", channel, request, Buffer.from("first")))
    const told: Array<string> = []
    yield* call.keepAlive((disruption) => told.push(disruption))
    yield* TestClock.adjust(0)
    const echo = (number: bigint, disruption = "") => send(Buffer.from(echoFrame({ number, disruption })).subarray(5))
    return { call, echo, send, told, written: state.beats }
  })

  it.effect("sends a beat at once and every 10 seconds, and the same one again until it is echoed", () =>
    Effect.gen(function*() {
      const { call, echo, written } = yield* echoing
      yield* Effect.forkChild(call.pull)
      assert.deepStrictEqual(written, [1n])
      yield* TestClock.adjust("10 seconds")
      echo(1n)
      yield* TestClock.adjust("10 seconds")
      // what is echoed late says nothing of what was sent since
      echo(1n)
      yield* TestClock.adjust("10 seconds")
      echo(2n)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(written, [1n, 1n, 2n, 2n, 3n])
    }))

  it.effect("fails when an echo is overdue for 30 seconds, though events come, and only then", () =>
    Effect.gen(function*() {
      const { call, echo, send } = yield* echoing
      const pulls = yield* Effect.forkChild(codeOf(Effect.forever(call.pull)))
      for (let n = 1n; n <= 20n; n++) {
        yield* TestClock.adjust("10 seconds")
        echo(n)
        assert.isUndefined(pulls.pollUnsafe())
      }
      for (let n = 0; n < 29; n++) {
        yield* TestClock.adjust("1 second")
        send(Buffer.from("event"))
      }
      assert.isUndefined(pulls.pollUnsafe())
      yield* TestClock.adjust("26 seconds")
      assert.strictEqual(yield* Fiber.join(pulls), "EchoOverdue")
    }))

  it.effect("does not count the time for which nobody is ready to read, as the echo stands behind events", () =>
    Effect.gen(function*() {
      const { call, echo, send } = yield* echoing
      for (let n = 1n; n <= 20n; n++) {
        send(Buffer.from("event"), Buffer.alloc(64 * 1024))
        echo(n)
        // a handler takes long
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual((yield* call.pull).length, 2)
        // and then waits for more
        const pulled = yield* Effect.forkChild(call.pull)
        yield* TestClock.adjust("20 seconds")
        assert.isUndefined(pulled.pollUnsafe())
        send(Buffer.from("event"))
        yield* Fiber.join(pulled)
      }
    }))

  it.effect("tells what echoes say is wrong with what the producer reads, each change once", () =>
    Effect.gen(function*() {
      const { call, echo, send, told } = yield* echoing
      const pulled = yield* Effect.forkChild(call.pull, { startImmediately: true })
      for (const disruption of ["", "database", "database", "disk", "", ""]) echo(1n, disruption)
      assert.deepStrictEqual(told, ["database", "disk", ""])
      assert.isUndefined(pulled.pollUnsafe())
      // what is none is for whoever reads events
      const broken = Buffer.from([0xda, 0x3e, 0x7f])
      send(broken)
      assert.deepStrictEqual(yield* Fiber.join(pulled), [broken])
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
