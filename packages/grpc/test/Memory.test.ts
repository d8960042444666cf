import { assert, layer } from "@effect/vitest"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as Source from "@sluice/core/Source"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { protocolVersion } from "../src/internal/wire/protocolVersion.ts"
import * as Producer from "./kit/Producer.ts"
import * as ProducerProcess from "./kit/ProducerProcess.ts"
import * as RawClient from "./kit/RawClient.ts"
import { answered, eventsBySlices } from "./kit/RawClient.ts"
import * as TcpProxy from "./kit/TcpProxy.ts"
import type { Report } from "./programs/producer.ts"

const mebibyte = 1024 * 1024

const Events = EventStream.make("events", { codec: EventCodec.string })

const remote = (port: number, name?: string) => EventConsumer.source(Events, { address: `127.0.0.1:${port}`, name })

const init = (peer: "plain" | "Sluice"): RawClient.Request => ({
  case: "init",
  value: { streamId: "events", sliceMax: 1023, ...(peer === "Sluice" && { sluice: { protocol: protocolVersion } }) }
})

/** Reads events as fast as they come, and proves that none is missing. */
const readMany = (port: number, count: number) => Stream.runDrain(Stream.take(Source.toStream(remote(port)), count))

/** A producer that has reached the size that it has when it serves consumers that keep up. */
const startProducer = Effect.fnUntraced(function*(events: number) {
  const producer = yield* ProducerProcess.start(events, 200)
  for (let i = 0; i < 3; i++) yield* readMany(producer.port, Math.min(events, 300_000))
  return producer
})

/** Waits until the producer makes no events any more and has given back the memory that it does not need, and says how it is then. */
const standingStill = ({ report }: ProducerProcess.ProducerProcess) =>
  Effect.gen(function*() {
    let last = yield* report
    let rss = last.rss
    for (let quiet = 0; quiet < 5; quiet++) {
      yield* Effect.sleep("50 millis")
      const before = last.made
      last = yield* report
      if (last.made !== before) quiet = 0
      rss = Math.min(rss, last.rss)
    }
    return { ...last, rss }
  })

const assertKept = (before: Report, after: Report) => {
  assert.isBelow((after.live - before.live) / mebibyte, 20, "MiB in use")
  assert.isBelow((after.rss - before.rss) / mebibyte, 64, "MiB of the process")
}

const still = 20

layer(Producer.quiet, { excludeTestServices: true })("a producer with a million events", (it) => {
  it.effect.each(["plain", "Sluice"] as const)(
    "keeps its memory, and its speed for others, though nobody reads the socket (%s)",
    (peer) =>
      Effect.gen(function*() {
        const producer = yield* startProducer(1_000_000)
        const before = yield* standingStill(producer)
        const proxy = yield* TcpProxy.make(producer.port, { reads: 100_000 })
        for (let i = 0; i < still; i++) {
          // whatever the producer has, it may send
          const channel = { "grpc-node.flow_control_window": 2 ** 30 }
          const call = yield* eventsBySlices(yield* RawClient.client(proxy.port, { channel }))
          call.send(init(peer))
          yield* answered(call, 1)
        }
        // all have had an answer; those that have answered no ping for long are ended, as on a busy machine some are by now
        const stalled = yield* standingStill(producer)
        assertKept(before, stalled)
        yield* readMany(producer.port, 300_000)
        const after = yield* standingStill(producer)
        assert.isBelow(after.made - stalled.made, 400_000, "only for the one who reads")
        assertKept(before, after)
      })
  )

  it.effect("keeps its memory, and its speed for others, though its consumers' handlers never end", () =>
    Effect.gen(function*() {
      const producer = yield* startProducer(1_000_000)
      const before = yield* standingStill(producer)
      let handling = 0
      for (let i = 0; i < still; i++) {
        const projection = remote(producer.port, `stream ${i}`).pipe(
          Projection.atLeastOnce(`still ${i}`, () => Effect.andThen(Effect.sync(() => handling++), Effect.never))
        )
        yield* Layer.build(Projection.layer(projection))
      }
      yield* Wait.until("all handlers to be busy", () => handling === still)
      const stalled = yield* standingStill(producer)
      assert.strictEqual(stalled.open, still)
      yield* readMany(producer.port, 300_000)
      const after = yield* standingStill(producer)
      assert.strictEqual(handling, still)
      assert.isBelow(after.made - stalled.made, 400_000, "only for the one who reads")
      assertKept(before, after)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("a producer with a thousand idle streams", (it) => {
  it.effect("serves all of them, and takes little memory for each", () =>
    Effect.gen(function*() {
      const events = 20
      const producer = yield* startProducer(events)
      const clients = yield* Effect.forEach(Array.from({ length: 10 }), () => RawClient.client(producer.port))
      const open = (count: number) =>
        Effect.gen(function*() {
          const calls = yield* Effect.forEach(
            Array.from({ length: count }),
            (_, i) => eventsBySlices(clients[i % clients.length]!)
          )
          for (const call of calls) call.send(init("plain"))
          yield* Wait.until("all events", () => calls.every(({ messages }) => messages.length === events))
        })
      yield* Effect.scoped(open(200))
      yield* Wait.until("the streams to be closed", Effect.map(producer.report, ({ open }) => open === 0))
      const before = yield* standingStill(producer)
      yield* open(1000)
      const after = yield* standingStill(producer)
      assert.strictEqual(after.open, 1000)
      assert.isBelow((after.rss - before.rss) / 1000, 100 * 1024, "bytes for a stream")
    }))
})
