import { assert, describe, it } from "@effect/vitest"
import { Metadata, status } from "@grpc/grpc-js"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Offset from "@sluice/core/Offset"
import * as SliceRange from "@sluice/core/SliceRange"
import type * as Call from "@sluice/grpc/Call"
import { CallTransport } from "@sluice/grpc/CallTransport"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { makeProducerClient } from "../src/internal/client/producerClient.ts"
import { statusOf } from "../src/internal/sockets/outgoing.ts"
import { logging } from "./kit/Producer.ts"

const start = { journal: undefined, offsets: Offset.none }

/** A network in which a server can be reached when the test says so. It answers each call with headers, and nothing else. */
const fake = Effect.map(Clock.Clock, (clock) => {
  const reached = Deferred.makeUnsafe<void>()
  const requests: Array<Call.Request> = []
  const refused: Call.Status = { code: status.UNAVAILABLE, details: "nobody listens there", trailers: {} }
  const channel: Call.Channel = {
    ready: (waitForReady) =>
      Effect.flatMap(
        Deferred.isDone(reached),
        (isReached) => isReached || waitForReady ? Deferred.await(reached) : Effect.fail(refused)
      ),
    call: (request, listener) => {
      requests.push(request)
      queueMicrotask(() => listener.headers({}))
      return { write: () => {}, end: () => {}, read: () => undefined, cancel: () => {} }
    }
  }
  const transport: CallTransport = { clock, connect: () => Effect.succeed(channel), listen: () => Effect.never }
  return { channel, reached, requests, provide: Effect.provideService(CallTransport, transport) }
})

describe("a client of a producer", () => {
  it.effect("asks for the headers of a call when it can be made, and not while it waits", () =>
    Effect.gen(function*() {
      const { channel, provide, reached, requests } = yield* fake
      let issued = 0
      const { connect } = makeProducerClient("carts", {
        address: "127.0.0.1:1",
        headers: Effect.sync(() => ({ token: `${++issued}` }))
      }, EventFilter.passAll)
      yield* Effect.forkScoped(provide(connect(channel, SliceRange.full, start, true, () => Offset.none)))
      yield* TestClock.adjust("3 hours")
      assert.strictEqual(issued, 0)
      yield* Deferred.succeed(reached, undefined)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(requests.map(({ headers }) => headers), [{ token: "1" }])
    }))

  it.effect("says after a moment, and then every half a minute, that a producer cannot be reached, and why", () =>
    Effect.gen(function*() {
      const { channel, provide, reached } = yield* fake
      const { layer, lines } = logging()
      const { connect } = makeProducerClient("carts", { address: "127.0.0.1:1" }, EventFilter.passAll)
      const connecting = Effect.forkScoped(
        provide(connect(channel, SliceRange.full, start, true, () => Offset.none)).pipe(Effect.provide(layer))
      )
      yield* connecting
      yield* connecting
      yield* TestClock.adjust(2_999)
      assert.lengthOf(lines, 0)
      yield* TestClock.adjust(1)
      assert.lengthOf(lines, 1)
      assert.match(
        lines[0]!,
        /Waits until the producer of 'carts' at 127.0.0.1:1 can be reached: see that it runs, and that the address is right: nobody listens there/
      )
      yield* TestClock.adjust("60 seconds")
      assert.lengthOf(lines, 3)
      yield* Deferred.succeed(reached, undefined)
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(lines, 3)
    }))

  it.effect("says what it may be that names no journal where there was one, and sends nothing", () =>
    Effect.gen(function*() {
      const { channel, provide, reached } = yield* fake
      yield* Deferred.succeed(reached, undefined)
      const { connect } = makeProducerClient("carts", { address: "127.0.0.1:1" }, EventFilter.passAll)
      const connecting = yield* Effect.forkScoped(
        Effect.flip(provide(connect(channel, SliceRange.full, { ...start, journal: "j" }, false, () => Offset.none)))
      )
      yield* TestClock.adjust("2 minutes")
      assert.match(
        (yield* Fiber.join(connecting)).message,
        /nothing has come for 60 seconds, and its headers name no journal: a plain Akka producer without events, or a proxy/
      )
    }))
})

const detailsOf = (details: string) => statusOf({ code: status.UNAVAILABLE, details, metadata: new Metadata() }).details

it("what the library says of an address that nobody listens at has no empty tail", () => {
  const said = "No connection established. Last error: connect ECONNREFUSED 127.0.0.1:1"
  assert.strictEqual(detailsOf(`${said} (2026-01-01T00:00:00.000Z). Resolution note: `), said)
  assert.strictEqual(detailsOf(`${said} (2026-01-01T00:00:00.000Z)`), said)
  assert.strictEqual(detailsOf(`${said}. Resolution note: stale`), `${said}. Resolution note: stale`)
})
