import { assert, describe, it } from "@effect/vitest"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Offset from "@sluice/core/Offset"
import * as Position from "@sluice/core/Position"
import * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import { CallTransport } from "@sluice/grpc/CallTransport"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as Wait from "@sluice/testing/Wait"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import type { CallError } from "../src/internal/client/clientCall.ts"
import { watchStall } from "../src/internal/client/stall.ts"
import { makeSockets } from "../src/internal/sockets/sockets.ts"
import { read, received, remote, shortly } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, Cart, CartEvents, logging, serve } from "./kit/Producer.ts"

const offsets = (position: number): Offset.Offsets =>
  new Map([[Slice.make(7), Offset.make(Position.make(position), Timestamp.make(position))]])

/** A stream that is watched, and what it has waited and received so far. */
const watching = (heads: Effect.Effect<Offset.Offsets, string>) =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const failures: Array<CallError> = []
    let waitsSince: bigint | undefined = clock.monotonicTimeNanosUnsafe()
    const state = {
      failures,
      asked: 0,
      position: 3,
      /** From now on it waits, or it does not. */
      waits: (yes: boolean) => waitsSince = yes ? clock.monotonicTimeNanosUnsafe() : undefined
    }
    const call = {
      get waiting() {
        return waitsSince === undefined ? 0 : Number(clock.monotonicTimeNanosUnsafe() - waitsSince) / 1e6
      },
      fail: (error: CallError) => void failures.push(error)
    }
    yield* Effect.forkScoped(watchStall(call, {
      address: "there",
      streamId: "carts",
      clock,
      heads: Effect.andThen(Effect.sync(() => state.asked++), heads),
      received: () => offsets(state.position)
    }))
    yield* TestClock.adjust(0)
    return state
  })

describe("a stream that brings nothing", () => {
  it.effect("ends after a minute and a half, if its producer says that it has something for it", () =>
    Effect.gen(function*() {
      const state = yield* watching(Effect.succeed(offsets(5)))
      yield* TestClock.adjust("89 seconds")
      assert.deepStrictEqual(state.failures, [])
      yield* TestClock.adjust("1 second")
      const [error] = state.failures
      assert.strictEqual(error?._tag, "StreamStalled")
      assert.include(
        error?.message,
        "has brought nothing for 90 seconds, though slice 7 has positions up to 5 and 3 was"
      )
    }))

  it.effect("goes on if its producer has nothing, or cannot be asked, which is done once a minute", () =>
    Effect.gen(function*() {
      for (const heads of [Effect.succeed(offsets(3)), Effect.fail("away")]) {
        const state = yield* watching(heads)
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(state.failures, [])
        assert.strictEqual(state.asked, 10)
      }
    }))

  it.effect("goes on if what there is comes, or something else, or nobody is ready to read", () =>
    Effect.gen(function*() {
      const [arriving, moving, busy] = yield* Effect.all([
        watching(Effect.succeed(offsets(5))),
        watching(Effect.succeed(offsets(5))),
        watching(Effect.succeed(offsets(5)))
      ])
      busy.waits(false)
      for (let n = 0; n < 20; n++) {
        yield* TestClock.adjust("80 seconds")
        arriving.position = 5
        moving.waits(true)
      }
      for (const state of [arriving, moving, busy]) assert.deepStrictEqual(state.failures, [])
      assert.strictEqual(busy.asked, 0)
    }))
})

/** The network's time runs so much faster. */
const speed = 10

const fast = Effect.map(Clock.Clock, (clock): CallTransport => {
  const monotonicTimeNanosUnsafe = () => clock.monotonicTimeNanosUnsafe() * BigInt(speed)
  return {
    ...makeSockets(),
    clock: Object.assign(Object.create(clock), {
      monotonicTimeNanosUnsafe,
      monotonicTimeNanos: Effect.sync(monotonicTimeNanosUnsafe),
      sleep: (duration: Duration.Duration) => clock.sleep(Duration.millis(Duration.toMillis(duration) / speed))
    })
  }
})

describe("a producer that hangs in a stage of its source", () => {
  it.live("is found, though it echoes; the stream is opened again, and brings what has not come", () =>
    Effect.gen(function*() {
      let hangs = true
      const port = yield* serve(EventProducer.layer(
        CartEvents,
        Source.journal(Cart).pipe(
          Source.mapEffect(({ event }) => event === "2" && hangs ? Effect.never : Effect.succeed(event))
        )
      ))
      const { layer, lines } = logging()
      const transport = yield* fast
      const reading = yield* read(remote(port)).pipe(
        Effect.provide(layer),
        Effect.provideService(CallTransport, transport)
      )
      yield* append("a", ["1"])
      yield* received(reading, 1)
      yield* append("a", ["2", "3"])
      yield* Wait.until("the stream to be given up", () => lines.some((line) => line.includes("has brought nothing")), {
        atMost: "2 minutes"
      })
      hangs = false
      yield* received(reading, 3)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 1", "a 2 2", "a 3 3"])
    }).pipe(Effect.scoped, Effect.provide([MemoryStorage.layer, Producer.quiet])))
})
