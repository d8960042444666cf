import { create, toBinary } from "@bufbuild/protobuf"
import { assert, layer } from "@effect/vitest"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fs from "node:fs"
import * as http2 from "node:http2"
import * as os from "node:os"
import * as path from "node:path"
import { StreamInSchema } from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { read, received, remote } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, Cart, CartEvents, carts, serve } from "./kit/Producer.ts"

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM } = http2.constants

const mebibyte = 1024 * 1024

/** The first message of a call, as it goes over the wire. */
const init = (protocol?: number): Buffer => {
  const value = { streamId: "cart", sliceMax: 1023, ...(protocol !== undefined && { sluice: { protocol } }) }
  const message = toBinary(StreamInSchema, create(StreamInSchema, { message: { case: "init", value } }))
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

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

const open = (session: http2.ClientHttp2Session): Stuck => {
  const stream = session.request({
    ":method": "POST",
    ":path": "/akka.projection.grpc.EventProducerService/EventsBySlices",
    "content-type": "application/grpc",
    te: "trailers"
  })
  const call: Stuck = { stream, isAnswered: false, code: undefined }
  stream.on("error", () => {})
  stream.on("response", () => call.isAnswered = true)
  stream.on("close", () => call.code = stream.rstCode)
  return call
}

/** A journal in a file, whose events are not in memory before they are read. */
const file = Layer.unwrap(Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "sluice-hostile-"))),
    (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
  ),
  (folder) => SqliteStorage.layer({ filename: path.join(folder, "carts.db") })
))

layer(Producer.quiet, { excludeTestServices: true })("a producer of large events", (it) => {
  it.effect(
    "keeps its memory though 500 streams do not read, serves those that do, and ends what stands in the way",
    () =>
      Effect.gen(function*() {
        const port = yield* serve(carts)
        const events = 40
        for (let i = 0; i < events; i++) yield* append(`e${i}`, ["x".repeat(mebibyte)])
        const before = process.memoryUsage().arrayBuffers
        let most = 0
        const measured = (condition: () => boolean) =>
          Effect.sync(() => {
            most = Math.max(most, process.memoryUsage().arrayBuffers)
            return condition()
          })
        const sessions = yield* Effect.forEach(Array.from({ length: 5 }), () => connect(port))
        const stuck = Array.from({ length: 500 }, (_, i) => open(sessions[i % sessions.length]!))
        for (const [i, { stream }] of stuck.entries()) stream.write(init(i % 2 === 0 ? undefined : 2))
        const atMost = { atMost: "60 seconds" } as const
        yield* Wait.until("all to be answered", measured(() => stuck.every(({ isAnswered }) => isAnswered)), atMost)
        const reading = yield* read(remote(port))
        yield* Wait.until("the one that reads", measured(() => reading.envelopes.length === events), atMost)
        yield* Wait.until("streams to be ended", measured(() => stuck.some(({ code }) => code !== undefined)), atMost)
        for (const { code } of stuck) assert.include([undefined, NGHTTP2_ENHANCE_YOUR_CALM], code)
        assert.isBelow((most - before) / mebibyte, 2 * 128)
      }).pipe(Effect.provide(file)),
    120_000
  )
})

layer(Producer.quiet, { excludeTestServices: true })("a producer whose clients reset their calls at once", (it) => {
  it.effect("opens few of them, and serves others", () =>
    Effect.gen(function*() {
      let opened = 0
      const { origin } = Source.journal(Cart)
      const counted = Source.make({
        ...origin,
        open: (range, start) =>
          Effect.suspend(() => {
            opened++
            return origin.open(range, start)
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
