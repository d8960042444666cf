import { assert, layer } from "@effect/vitest"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as Source from "@sluice/core/Source"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as FakeSource from "./kit/FakeSource.ts"
import * as Http2Client from "./kit/Http2Client.ts"
import * as Producer from "./kit/Producer.ts"
import { serve } from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"
import { answered, eventsBySlices, placeOf } from "./kit/RawClient.ts"

const init = (streamId: string): RawClient.Request => ({ case: "init", value: { streamId, sliceMax: 1023 } })

const Stalled = EventStream.make("stalled", { codec: EventCodec.string })
const Busy = EventStream.make("busy", { codec: EventCodec.string })

/** One server with two streams that never end, of events of a kilobyte unless it is said. */
const makeServer = Effect.fnUntraced(function*(size = 1000) {
  const stalled = FakeSource.endless(10, size)
  const busy = FakeSource.endless(10, 1000)
  const port = yield* serve(
    Layer.mergeAll(EventProducer.layer(Stalled, stalled.source), EventProducer.layer(Busy, busy.source))
  )
  return { port, stalled: stalled.state, busy: busy.state }
})

/** What the windows and buffers between the two hold of such events, and some more. */
const bound = 400
/** How much further whoever is not held back comes. */
const factor = 6

/**
 * Reads many events of the other stream, so that whoever is not held back would have come far. Fails without
 * back-pressure: the source would be pulled as fast as the other one.
 */
const meanwhile = (port: number) =>
  Effect.gen(function*() {
    const call = yield* eventsBySlices(yield* RawClient.client(port))
    call.send(init("busy"))
    yield* answered(call, factor * bound)
    assert.isUndefined(call.status)
    assert.deepStrictEqual(
      call.messages.slice(0, factor * bound).map((message) => Number(placeOf(message).sluicePosition)),
      Array.from({ length: factor * bound }, (_, i) => i + 1)
    )
    call.cancel()
  }).pipe(Effect.scoped)

layer(Producer.quiet, { excludeTestServices: true })("a consumer that stands still", (it) => {
  it.effect("stops the reads of its own stream, and of no other", () =>
    Effect.gen(function*() {
      const { busy, port, stalled } = yield* makeServer()
      const call = yield* eventsBySlices(yield* RawClient.client(port), { reads: false })
      call.send(init("stalled"))
      yield* answered(call, 1)
      yield* meanwhile(port)
      assert.isAtLeast(busy.pulled, factor * bound)
      assert.isBelow(stalled.pulled, bound)
      const before = stalled.pulled
      yield* meanwhile(port)
      assert.strictEqual(stalled.pulled, before, "no event is read any more")
    }))

  it.effect("does so though it shares its connection with others", () =>
    Effect.gen(function*() {
      const { port, stalled } = yield* makeServer()
      const client = yield* RawClient.client(port)
      for (let i = 0; i < 4; i++) {
        const still = yield* eventsBySlices(client, { reads: false })
        still.send(init("stalled"))
        yield* answered(still, 1)
      }
      const moving = yield* eventsBySlices(client)
      moving.send(init("busy"))
      yield* answered(moving, factor * bound)
      assert.isBelow(stalled.pulled, 4 * bound)
    }))

  it.effect("stops the reads before it has read anything at all", () =>
    Effect.gen(function*() {
      const { port, stalled } = yield* makeServer()
      const call = yield* Http2Client.eventsBySlices(port, RawClient.requestBytes(init("stalled")), { reads: false })
      yield* Wait.until("headers", () => call.headers !== undefined)
      yield* meanwhile(port)
      assert.isBelow(stalled.pulled, bound)
    }))

  it.effect("is sent the rest, and nothing left out, when it reads on", () =>
    Effect.gen(function*() {
      const { port, stalled } = yield* makeServer()
      const call = yield* eventsBySlices(yield* RawClient.client(port), { reads: false })
      call.send(init("stalled"))
      yield* answered(call, 1)
      yield* meanwhile(port)
      assert.isBelow(stalled.pulled, bound)
      call.resume()
      yield* answered(call, 3 * bound)
      assert.deepStrictEqual(
        call.messages.slice(0, 3 * bound).map((message) => Number(placeOf(message).sluicePosition)),
        Array.from({ length: 3 * bound }, (_, i) => i + 1)
      )
    }))

  it.effect("stops the reads of one entity, too", () =>
    Effect.gen(function*() {
      let pulled = 0
      const events = Stream.fromPull(Effect.succeed(Effect.sync(() => {
        pulled++
        return [FakeSource.event(pulled, "x".repeat(1000))] as const
      })))
      const port = yield* serve(EventProducer.layer(Stalled, FakeSource.source(Stream.never, { entity: () => events })))
      const answers = yield* RawClient.currentEventsByPersistenceId(
        yield* RawClient.client(port),
        { streamId: "stalled", persistenceId: "Cart|a", fromSeqNr: 1n, toSeqNr: 5n },
        { reads: false }
      )
      yield* answered(answers, 1)
      const other = yield* makeServer()
      yield* meanwhile(other.port)
      assert.isBelow(pulled, bound)
    }))
})

layer(Producer.quiet, { excludeTestServices: true })("a consumer that goes away", (it) => {
  it.effect("interrupts its source and has it closed", () =>
    Effect.gen(function*() {
      const { port, stalled } = yield* makeServer()
      const client = yield* RawClient.client(port)
      for (let i = 1; i <= 10; i++) {
        const call = yield* eventsBySlices(client)
        call.send(init("stalled"))
        yield* answered(call, 20)
        assert.strictEqual(stalled.finalized, i - 1)
        call.cancel()
        yield* Wait.until("the source to be closed", () => stalled.finalized === i)
      }
      assert.strictEqual(stalled.opened, 10)
      const before = stalled.pulled
      yield* meanwhile(port)
      assert.strictEqual(stalled.pulled, before)
    }))

  it.effect("does so while it stands still", () =>
    Effect.gen(function*() {
      const { port, stalled } = yield* makeServer()
      const call = yield* eventsBySlices(yield* RawClient.client(port), { reads: false })
      call.send(init("stalled"))
      yield* answered(call, 1)
      yield* meanwhile(port)
      call.cancel()
      yield* Wait.until("the source to be closed", () => stalled.finalized === 1)
    }))

  it.effect("does so by losing its connection", () =>
    Effect.gen(function*() {
      const { port, stalled } = yield* makeServer()
      const scope = yield* Scope.make()
      const request = RawClient.requestBytes(init("stalled"))
      const call = yield* Scope.provide(Http2Client.eventsBySlices(port, request), scope)
      yield* Wait.until("answers", () => call.messages.length > 0)
      yield* Scope.close(scope, Exit.void)
      yield* Wait.until("the source to be closed", () => stalled.finalized === 1)
    }))

  it.effect("does so while its source waits for an event", () =>
    Effect.gen(function*() {
      let closed = 0
      const waiting = FakeSource.source(Stream.empty, {
        open: () =>
          Effect.acquireRelease(
            Effect.succeed({ journal: "test-journal", envelopes: Stream.never }),
            () => Effect.sync(() => closed++)
          )
      })
      const call = yield* eventsBySlices(yield* RawClient.client(yield* serve(EventProducer.layer(Stalled, waiting))))
      call.send(init("stalled"))
      yield* Wait.until("headers", () => call.headers !== undefined)
      call.cancel()
      yield* Wait.until("the source to be closed", () => closed === 1)
    }))

  it.effect("does so while its source is being opened", () =>
    Effect.gen(function*() {
      const state = { opening: false, interrupted: false }
      const opening = FakeSource.source(Stream.empty, {
        open: () =>
          Effect.suspend(() => {
            state.opening = true
            return Effect.onInterrupt(Effect.never, () => Effect.sync(() => state.interrupted = true))
          })
      })
      const call = yield* eventsBySlices(yield* RawClient.client(yield* serve(EventProducer.layer(Stalled, opening))))
      call.send(init("stalled"))
      yield* Wait.until("the source to be opened", () => state.opening)
      call.cancel()
      yield* Wait.until("the source to be interrupted", () => state.interrupted)
    }))
})

/** Of events so large that as many fit into the window of an EventConsumer as of the others into one of 64 KiB. */
const large = 16_000

const remote = (port: number) => EventConsumer.source(Stalled, { address: `127.0.0.1:${port}` })

layer(Producer.quiet, { excludeTestServices: true })("an EventConsumer", (it) => {
  it.effect("that is not pulled holds its producer back", () =>
    Effect.gen(function*() {
      const { port, stalled } = yield* makeServer(large)
      const { elements } = yield* Source.open(remote(port))
      yield* Stream.runDrain(Stream.take(elements, 1))
      yield* meanwhile(port)
      assert.isBelow(stalled.pulled, bound)
    }))

  it.effect("of a projection whose handler is busy holds its producer back", () =>
    Effect.gen(function*() {
      const { port, stalled } = yield* makeServer(large)
      const latch = Latch.makeUnsafe()
      let handled = 0
      const projection = remote(port).pipe(
        Projection.atLeastOnce("busy", () => Effect.andThen(Effect.sync(() => handled++), latch.await))
      )
      yield* Layer.build(Projection.layer(projection))
      yield* Wait.until("the handler to be busy", () => handled === 1)
      yield* meanwhile(port)
      assert.strictEqual(handled, 1)
      // two chunks wait for the handler, besides what the connection holds
      assert.isBelow(stalled.pulled, 2 * bound)
      yield* latch.open
      yield* Wait.until("the handler to go on", () => handled > 3 * bound)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("of a projection decodes what comes next while the handler is busy, and no more", () =>
    Effect.gen(function*() {
      let decoded = 0
      const codec = EventCodec.make<string>({
        name: "counting",
        encode: EventCodec.string.encodeUnsafe,
        decode: (payload) => {
          decoded++
          return EventCodec.string.decodeUnsafe(payload)
        }
      })
      const { port } = yield* makeServer()
      const counting = EventConsumer.source(EventStream.make("stalled", { codec }), { address: `127.0.0.1:${port}` })
      let handled = 0
      yield* Layer.build(Projection.layer(counting.pipe(
        Projection.atLeastOnce("busy", () => Effect.andThen(Effect.sync(() => handled++), Effect.never))
      )))
      yield* Wait.until("the handler to be busy", () => handled === 1)
      yield* meanwhile(port)
      // a chunk of 64 KiB, of events of a kilobyte, with the handler, two that wait for it, and one that waits for them
      assert.isAbove(decoded, 3 * 32)
      assert.isAtMost(decoded, 4 * 100)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("that ends has the producer's source closed, though others use its connection on", () =>
    Effect.gen(function*() {
      const { port, stalled } = yield* makeServer(large)
      const { elements } = yield* Source.open(remote(port))
      yield* Stream.runDrain(Stream.take(elements, 1))
      const events = yield* Stream.runCollect(Stream.take(Source.toStream(remote(port)), 1500))
      assert.deepStrictEqual(
        events.map(({ position }) => Number(position)),
        Array.from({ length: 1500 }, (_, i) => i + 1)
      )
      assert.strictEqual(stalled.opened, 2)
      yield* Wait.until("the source to be closed", () => stalled.finalized === 1)
    }))
})
