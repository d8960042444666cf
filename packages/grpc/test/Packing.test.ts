import { fromBinary } from "@bufbuild/protobuf"
import { assert, describe, it, layer } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { frame, type Method, unframe } from "@sluice/grpc/Call"
import { CallTransport } from "@sluice/grpc/CallTransport"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Stream from "effect/Stream"
import { openCall, unaryCall } from "../src/internal/client/clientCall.ts"
import { StreamOutSchema } from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import type { Run } from "../src/internal/server/Run.ts"
import { streaming, unary } from "../src/internal/server/serverCall.ts"
import { pack, packs } from "../src/internal/sockets/packing.ts"
import { makeSockets } from "../src/internal/sockets/sockets.ts"
import { eventPieces } from "../src/internal/wire/frames.ts"
import { Status } from "../src/internal/wire/status.ts"
import * as FakeSource from "./kit/FakeSource.ts"
import * as Http2Client from "./kit/Http2Client.ts"
import * as Producer from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"
import { placeOf } from "./kit/RawClient.ts"

const events = (count: number, size: number) =>
  Array.from({ length: count }, (_, i) => FakeSource.event(i + 1, "x".repeat(size)))

const serve = (chunk: ReadonlyArray<EncodedEnvelope>) =>
  Producer.serve(
    EventProducer.layer(
      Producer.CartEvents,
      FakeSource.source(Stream.concat(Stream.fromArray(chunk), Stream.never), { entity: () => Stream.fromArray(chunk) })
    )
  )

const init = RawClient.requestBytes({ case: "init", value: { streamId: "cart", sliceMax: 1023 } })

const positions = (messages: ReadonlyArray<Uint8Array>) =>
  messages.map((bytes) => Number(placeOf(fromBinary(StreamOutSchema, bytes)).sluicePosition))

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1)

layer(Producer.quiet, { excludeTestServices: true })("several messages that are written at once", (it) => {
  it.effect("are ordinary messages for an HTTP/2 client, and come in few pieces", () =>
    Effect.gen(function*() {
      const port = yield* serve(events(500, 100))
      const call = yield* Http2Client.eventsBySlices(port, init)
      yield* Wait.until("500 messages", () => call.messages.length === 500)
      assert.deepStrictEqual(positions(call.messages.map(({ bytes }) => bytes)), upTo(500))
      assert.isTrue(call.messages.every(({ compressed }) => !compressed))
      // without packing, each message is a piece of its own
      assert.isBelow(call.pieces, 50)
    }))

  it.effect.each<[string, number, number]>([
    ["small", 2000, 10],
    ["large", 40, 70_000],
    ["of the largest size", 3, 4 * 1024 * 1024 - 200],
    ["empty", 1000, 0]
  ])(
    "are ordinary messages for an unmodified client of the library: %s ones",
    ([, count, size]) =>
      Effect.gen(function*() {
        const client = yield* RawClient.client(yield* serve(events(count, size)))
        const call = yield* RawClient.eventsBySlices(client)
        call.sendBytes(init)
        yield* RawClient.answered(call, count)
        assert.isUndefined(call.status)
        assert.deepStrictEqual(positions(call.bytes), upTo(count))
        for (const { message } of call.messages) {
          assert(message.case === "event")
          assert.strictEqual(message.value.payload!.value.length, size)
        }
      })
  )

  it.effect("are so for one entity's events, up to the end", () =>
    Effect.gen(function*() {
      const client = yield* RawClient.client(yield* serve(events(3000, 100)))
      const request = { streamId: "cart", persistenceId: "Cart|a", fromSeqNr: 1n, toSeqNr: 3000n }
      const answers = yield* RawClient.currentEventsByPersistenceId(client, request)
      yield* RawClient.ended(answers)
      assert.strictEqual(answers.status!.code, 0)
      assert.deepStrictEqual(positions(answers.bytes), upTo(3000))
    }))
})

const path = "/service/Method"

const called = (serve: (run: Run) => Method) =>
  Effect.gen(function*() {
    const { connect, listen } = makeSockets()
    const port = yield* listen({ address: "127.0.0.1:0", tls: undefined }, [serve(yield* FiberSet.makeRuntime())])
    const address = `127.0.0.1:${port}`
    return { address, channel: yield* connect({ address, tls: undefined }) }
  })
const request = { path, headers: {}, waitForReady: true }

describe("a call that ends while large messages wait to be written", () => {
  it.effect("has its one answer", () =>
    Effect.gen(function*() {
      const size = 1_000_000
      const { address, channel } = yield* called((run) => unary(path, run, () => Effect.succeed(Buffer.alloc(size, 7))))
      const answer = yield* unaryCall(address, channel, request, Buffer.from("q"))
      assert.isTrue(answer.equals(Buffer.alloc(size, 7)))
    }))

  it.effect.each([status.OK, status.NOT_FOUND])(
    "ends after them, with the status %i",
    (code) =>
      Effect.gen(function*() {
        const sizes = [300_000, 10, 1_000_000]
        const { address, channel } = yield* called((run) =>
          streaming(path, run, (call) =>
            Effect.suspend(() => {
              call.write(Buffer.concat(sizes.map((size) => frame(Buffer.alloc(size)))), () => {})
              return code === status.OK ? Effect.void : Effect.fail(new Status(code, "no more"))
            }))
        )
        const call = yield* Effect.provideService(
          openCall(address, channel, request, Buffer.from("q")),
          CallTransport,
          makeSockets()
        )
        const received: Array<number> = []
        const all = Effect.forever(Effect.map(call.pull, (messages) => received.push(...messages.map((m) => m.length))))
        const error = yield* Effect.flip(all)
        assert.strictEqual(error._tag === "GrpcError" && error.code, code)
        assert.deepStrictEqual(received, sizes)
      })
  )
})

const framesOf = (chunk: ReadonlyArray<EncodedEnvelope>) => {
  const pieces = eventPieces(chunk, () => "send")
  const frames: Array<Buffer> = []
  for (let next = pieces.next(); next !== undefined; next = pieces.next()) frames.push(next)
  return { frames, tooLarge: pieces.tooLarge() }
}

const library = (serializeMessage: (this: any, value: any) => unknown) =>
  packs(() => ({ BaseServerInterceptingCall: { prototype: { serializeMessage } } }))

describe("packing", () => {
  it("works with the version of the library that is installed", () => {
    const [frames] = framesOf(events(3, 10)).frames
    assert.lengthOf(pack(frames!), 1, "one piece")
  })

  it("gives way to one message per write where the library treats messages otherwise", () => {
    assert.isFalse(library((value) => value))
    assert.isFalse(library(function(value) {
      return Buffer.concat([Buffer.alloc(5), this.handler.serialize(value)])
    }))
    assert.isFalse(library(function(value) {
      const message = this.handler.serialize(value)
      const output = Buffer.alloc(message.byteLength)
      message.copy(output, 0)
      return output
    }))
    assert.isFalse(packs(() => ({}) as any))
    assert.isFalse(packs(() => {
      throw new Error("no such module")
    }))
    const [frames] = framesOf(events(4, 10)).frames
    assert.deepStrictEqual(positions(unframe(frames!)), upTo(4))
  })

  it("keeps pieces small, and what is larger alone", () => {
    const large = [...events(300, 1000), FakeSource.event(301, "x".repeat(1_000_000)), FakeSource.event(302)]
    const { frames } = framesOf(large)
    assert.deepStrictEqual(positions(frames.flatMap(unframe)), upTo(302))
    for (const piece of frames) assert.isTrue(piece.length <= 64 * 1024 + 5 || unframe(piece).length === 1)
    assert.isBelow(frames.length, 20)
  })

  it("stops before an event that is too large, after those before it", () => {
    const { frames, tooLarge } = framesOf([...events(2, 10), FakeSource.event(3, "x".repeat(4 * 1024 * 1024))])
    assert.deepStrictEqual(positions(frames.flatMap(unframe)), [1, 2])
    assert.strictEqual(tooLarge!.persistenceId, "Cart|a")
    assert.isAbove(tooLarge!.bytes, 4 * 1024 * 1024)
  })
})
