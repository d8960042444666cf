import { create, toBinary } from "@bufbuild/protobuf"
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire"
import { assert, layer } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import * as EntityType from "@sluice/core/EntityType"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import { ReadBudget } from "@sluice/core/ReadBudget"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as fs from "node:fs"
import * as http2 from "node:http2"
import * as os from "node:os"
import * as path from "node:path"
import { collectGarbage } from "../../../test/kit/collectGarbage.ts"
import {
  CurrentEventsByPersistenceIdRequestSchema,
  LoadEventRequestSchema,
  StreamInSchema
} from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { protocolVersion } from "../src/internal/wire/protocolVersion.ts"
import { read, received, remote } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, Cart, CartEvents, carts, serve } from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_NO_ERROR } = http2.constants

const mebibyte = 1024 * 1024

/** A message as it goes over the wire. */
const frame = (message: Uint8Array): Buffer => {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

/** The first message of a call. */
const init = (protocol?: number): Buffer => {
  const value = { streamId: "cart", sliceMax: 1023, ...(protocol !== undefined && { sluice: { protocol } }) }
  return frame(toBinary(StreamInSchema, create(StreamInSchema, { message: { case: "init", value } })))
}

/** The request for all events of an entity. */
const entity = (id: string): Buffer =>
  frame(toBinary(
    CurrentEventsByPersistenceIdRequestSchema,
    create(CurrentEventsByPersistenceIdRequestSchema, {
      streamId: "cart",
      persistenceId: EntityType.persistenceId(Cart, id),
      fromSeqNr: 1n,
      toSeqNr: 1000n
    })
  ))

/** The request for the first event of an entity. */
const first = (id: string): Buffer =>
  frame(toBinary(
    LoadEventRequestSchema,
    create(LoadEventRequestSchema, {
      streamId: "cart",
      persistenceId: EntityType.persistenceId(Cart, id),
      seqNr: 1n
    })
  ))

/** A connection without any library's politeness: what is not read of its streams stays with the server. */
const connect = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<http2.ClientHttp2Session>((resume) => {
      const session = http2.connect(`http://127.0.0.1:${port}`)
      session.on("error", () => {})
      session.once("remoteSettings", () => resume(Effect.succeed(session)))
    }),
    (session) => Effect.sync(() => session.destroy())
  )

interface Stuck {
  readonly stream: http2.ClientHttp2Stream
  isAnswered: boolean
  /** The code that it was reset with. */
  code: number | undefined
}

const open = (session: http2.ClientHttp2Session, method = "EventsBySlices"): Stuck => {
  const stream = session.request({
    ":method": "POST",
    ":path": `/akka.projection.grpc.EventProducerService/${method}`,
    "content-type": "application/grpc",
    te: "trailers"
  })
  const call: Stuck = { stream, isAnswered: false, code: undefined }
  stream.on("error", () => {})
  stream.on("response", () => call.isAnswered = true)
  stream.on("close", () => call.code = stream.rstCode)
  return call
}

/** A journal in a file, whose events are not in memory before they are read. It is to outlive the server. */
const file = Layer.unwrap(Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "sluice-hostile-"))),
    (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
  ),
  (folder) => SqliteStorage.layer({ filename: path.join(folder, "carts.db") })
))

const atMost = { atMost: "2 minutes" } as const

/** What buffers take that are kept. */
const kept = (): number => {
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

/** How much more memory buffers that are kept have taken at most than they do now. It is measured whenever a condition is looked at. */
class BufferMemory {
  readonly #before = kept()
  #most = 0

  measured(condition: () => boolean): Effect.Effect<boolean> {
    return Effect.sync(() => {
      if (process.memoryUsage().arrayBuffers > this.#most) this.#most = Math.max(this.#most, kept())
      return condition()
    })
  }

  get mebibytes(): number {
    return (this.#most - this.#before) / mebibyte
  }
}

/** The same journal from a source that does not ask for memory before it reads, as one of another producer does not. */
const careless = (() => {
  const { provider } = Source.journal(Cart)
  const unasked: ReadBudget = { read: (page, limit) => page(limit) }
  return EventProducer.layer(
    CartEvents,
    Source.make({
      ...provider,
      entity: (persistenceId, from, to) =>
        Stream.provideService(provider.entity(persistenceId, from, to), ReadBudget, unasked)
    }) as ReturnType<typeof Source.journal<string>>
  )
})()

layer(Producer.quiet, { excludeTestServices: true })("a producer of large events", (it) => {
  it.effect(
    "keeps its memory though 500 streams do not read, serves those that do, and ends what stands in the way",
    () =>
      Effect.gen(function*() {
        const port = yield* serve(carts)
        const events = 40
        for (let i = 0; i < events; i++) yield* append(`e${i}`, ["x".repeat(mebibyte)])
        const memory = new BufferMemory()
        const sessions = yield* Effect.forEach(Array.from({ length: 5 }), () => connect(port))
        const stuck = Array.from({ length: 500 }, (_, i) => open(sessions[i % sessions.length]!))
        for (const [i, { stream }] of stuck.entries()) stream.write(init(i % 2 === 0 ? undefined : protocolVersion))
        yield* Wait.until(
          "all to be answered",
          memory.measured(() => stuck.every(({ isAnswered }) => isAnswered)),
          atMost
        )
        const reading = yield* read(remote(port))
        yield* Wait.until("the one that reads", memory.measured(() => reading.envelopes.length === events), atMost)
        yield* Wait.until(
          "streams to be ended",
          memory.measured(() => stuck.some(({ code }) => code !== undefined)),
          atMost
        )
        for (const { code } of stuck) assert.include([undefined, NGHTTP2_ENHANCE_YOUR_CALM], code)
        assert.isBelow(memory.mebibytes, 2 * 128)
      }).pipe(Effect.scoped, Effect.provide(file)),
    120_000
  )

  it.effect(
    "keeps its memory though 200 calls for an entity's events do not read, and answers one that does",
    () =>
      Effect.gen(function*() {
        const port = yield* serve(carts)
        for (let i = 0; i < 12; i++) yield* append("e", ["x".repeat(mebibyte)])
        const memory = new BufferMemory()
        const sessions = yield* Effect.forEach(Array.from({ length: 5 }), () => connect(port))
        const stuck = Array.from(
          { length: 200 },
          (_, i) => open(sessions[i % sessions.length]!, "CurrentEventsByPersistenceId")
        )
        for (const { stream } of stuck) stream.end(entity("e"))
        yield* Wait.until(
          "streams to be ended",
          memory.measured(() => stuck.some(({ code }) => code !== undefined)),
          atMost
        )
        const client = yield* RawClient.client(port)
        const request = {
          streamId: "cart",
          persistenceId: EntityType.persistenceId(Cart, "e"),
          fromSeqNr: 1n,
          toSeqNr: 1000n
        }
        let call = yield* RawClient.currentEventsByPersistenceId(client, request)
        yield* Wait.until("the one that reads", memory.measured(() => call.status !== undefined), atMost)
        while (call.status!.code === Grpc.status.RESOURCE_EXHAUSTED) {
          // who has waited for too long calls again
          call = yield* RawClient.currentEventsByPersistenceId(client, request)
          yield* Wait.until("the one that reads", memory.measured(() => call.status !== undefined), atMost)
        }
        assert.strictEqual(call.status!.code, Grpc.status.OK)
        assert.strictEqual(call.messages.length, 12)
        // those that were sent nothing yet end with their status
        const codes = [undefined, NGHTTP2_NO_ERROR, NGHTTP2_ENHANCE_YOUR_CALM]
        for (const { code } of stuck) assert.include(codes, code)
        assert.isBelow(memory.mebibytes, 2 * 128)
      }).pipe(Effect.scoped, Effect.provide(file)),
    120_000
  )

  it.effect(
    "keeps its memory though 200 calls for one large event do not read, and answers one that does",
    () =>
      Effect.gen(function*() {
        const port = yield* serve(careless)
        yield* append("e", ["x".repeat(3 * mebibyte)])
        const memory = new BufferMemory()
        const sessions = yield* Effect.forEach(Array.from({ length: 5 }), () => connect(port))
        const stuck = Array.from({ length: 200 }, (_, i) => open(sessions[i % sessions.length]!, "LoadEvent"))
        for (const { stream } of stuck) stream.end(first("e"))
        yield* Wait.until(
          "calls to be ended",
          memory.measured(() => stuck.some(({ code }) => code !== undefined)),
          atMost
        )
        const client = yield* RawClient.client(port)
        const load = RawClient.loadEvent(client, {
          streamId: "cart",
          persistenceId: EntityType.persistenceId(Cart, "e"),
          seqNr: 1n
        })
        let answer = yield* Effect.result(load)
        // who has waited for too long calls again
        while (answer._tag === "Failure" && answer.failure.code === Grpc.status.RESOURCE_EXHAUSTED) {
          answer = yield* Effect.result(load)
        }
        assert.strictEqual(answer._tag, "Success")
        assert.isBelow(memory.mebibytes, 2 * 128)
      }).pipe(Effect.scoped, Effect.provide(file)),
    120_000
  )
})

layer(Producer.quiet, { excludeTestServices: true })("a producer whose clients reset their calls at once", (it) => {
  it.effect("opens few of them, and serves others", () =>
    Effect.gen(function*() {
      let opened = 0
      const { provider } = Source.journal(Cart)
      const counted = Source.make({
        ...provider,
        open: (range, start) =>
          Effect.suspend(() => {
            opened++
            return provider.open(range, start)
          })
      })
      const port = yield* serve(EventProducer.layer(CartEvents, counted as ReturnType<typeof Source.journal<string>>))
      yield* append("a", ["1"])
      const session = yield* connect(port)
      const calls = Array.from({ length: 500 }, () => open(session))
      for (const { stream } of calls) stream.write(init(), () => stream.close(NGHTTP2_CANCEL))
      yield* received(yield* read(remote(port)), 1)
      yield* Wait.until("all to be reset", () => calls.every(({ code }) => code !== undefined))
      assert.isBelow(opened, 50)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

/** A field of bytes. */
const field = (number: number, bytes: Uint8Array): Buffer =>
  Buffer.from(new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(bytes).finish())

const many = (bytes: Uint8Array, upTo: number): Buffer =>
  Buffer.alloc(Math.floor(upTo / bytes.length) * bytes.length, bytes)

layer(Producer.quiet, { excludeTestServices: true })("an init", (it) => {
  const head = Buffer.concat([field(1, Buffer.from("cart")), Buffer.from([0x18]), Buffer.from([0xff, 0x07])])
  const inits = (upTo: number): ReadonlyArray<readonly [string, Buffer]> => [
    ["offsets", many(field(4, Buffer.alloc(0)), upTo)],
    ["events that were seen", field(4, many(field(2, Buffer.alloc(0)), upTo))],
    ["positions", field(1001, Buffer.concat([Buffer.from([0x08, 0x02]), many(field(3, Buffer.alloc(0)), upTo)]))],
    ["filters", many(field(5, Buffer.alloc(0)), upTo)],
    ["fields of a later version", many(Buffer.from([0xf0, 0x7d, 0x01]), upTo)]
  ]

  it.effect("that is full of what is empty is refused before it takes time or memory", () =>
    Effect.gen(function*() {
      const client = yield* RawClient.client(yield* serve(carts))
      for (
        const [size, code] of [
          [100_000, Grpc.status.INVALID_ARGUMENT],
          [1_500_000, Grpc.status.INVALID_ARGUMENT],
          [4_190_000, Grpc.status.RESOURCE_EXHAUSTED]
        ] as const
      ) {
        for (const [name, bytes] of inits(size)) {
          const before = process.memoryUsage().heapUsed
          const call = yield* RawClient.eventsBySlices(client)
          call.sendBytes(field(1, Buffer.concat([head, bytes])))
          yield* RawClient.ended(call)
          assert.strictEqual(call.status!.code, code, `${size} bytes of ${name}: ${call.status!.details}`)
          assert.isBelow((process.memoryUsage().heapUsed - before) / mebibyte, 20, `${size} bytes of ${name}`)
        }
      }
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("with all that an honest one has is served", () =>
    Effect.gen(function*() {
      const client = yield* RawClient.client(yield* serve(carts))
      yield* append("a", ["1"])
      const seen = Array.from({ length: 4 }, (_, i) => ({ persistenceId: `Cart|${i}${"x".repeat(250)}`, seqNr: 1n }))
      const timestamp = { seconds: 1n, nanos: 999_999_999 }
      const positions = Array.from({ length: 1024 }, (_, slice) => ({ slice, position: 0n, timestamp: 1n }))
      for (
        const value of [
          { offset: Array.from({ length: 1024 }, (_, slice) => ({ slice, timestamp, seen })) },
          {
            offset: [{ timestamp, seen: Array.from({ length: 4096 }, (_, i) => ({ ...seen[0]!, seqNr: BigInt(i) })) }]
          },
          { sluice: { protocol: protocolVersion, positions } }
        ]
      ) {
        const call = yield* RawClient.eventsBySlices(client)
        call.send({ case: "init", value: { streamId: "cart", sliceMax: 1023, ...value } })
        yield* RawClient.answered(call, 1)
      }
    }).pipe(Effect.provide(MemoryStorage.layer)))
})
