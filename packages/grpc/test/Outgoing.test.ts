import { assert, describe, it } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import { type Channel, frame, type IncomingCall, type Status } from "@sluice/grpc/Call"
import { CallTransport } from "@sluice/grpc/CallTransport"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2"
import type { AddressInfo } from "node:net"

const path = "/test.Echo/Echo"

/** A server whose calls are the test's, and a way to it. */
const serving = (serve: (call: IncomingCall) => void) =>
  Effect.gen(function*() {
    const { connect, listen } = yield* CallTransport
    const port = yield* listen({ address: "127.0.0.1:0", tls: undefined }, [{ path, serve }])
    return yield* connect({ address: `127.0.0.1:${port}`, tls: undefined })
  })

/** A server of another make, which answers what it likes. */
const raw = (serve: (stream: ServerHttp2Stream) => void) =>
  Effect.acquireRelease(
    Effect.callback<Http2Server>((resume) => {
      const server = createServer()
      server.on("stream", (stream) => {
        // the client resets it
        stream.on("error", () => {})
        stream.resume()
        serve(stream)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  ).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

/** What the client's end is told of a call. */
const made = (channel: Channel, isRead = true) => {
  const told = { messages: [] as Array<string>, statuses: [] as Array<Status>, headers: 0 }
  const call = channel.call({ path, headers: { "x-name": "a" }, waitForReady: true }, {
    headers: () => told.headers++,
    readable: () => {
      if (!isRead) return
      for (let next = call.read(); next !== undefined; next = call.read()) told.messages.push(next.toString())
    },
    ended: (status) => told.statuses.push(status)
  })
  return { told, call }
}

const echo = (call: IncomingCall): void => {
  call.receive(
    (message) => call.write(frame(message), () => {}),
    () => call.end({ code: status.OK, details: "OK", trailers: {} })
  )
}

const numbers = Array.from({ length: 500 }, (_, i) => `${i}`)

describe("the client's end of a call", () => {
  it.live("sends what is written in order, from before there is a connection, and reads all before it ends", () =>
    Effect.gen(function*() {
      const { call, told } = made(yield* serving(echo))
      for (const number of numbers) call.write(Buffer.from(number))
      call.end()
      // too late for the library, which would fail
      call.write(Buffer.from("late"))
      yield* Wait.until("the end", () => told.statuses.length > 0)
      assert.deepStrictEqual(told.messages, numbers)
      assert.strictEqual(told.statuses[0]!.code, status.OK)
      call.write(Buffer.from("later"))
      call.end()
      call.cancel()
      assert.strictEqual(told.statuses.length, 1)
    }))

  it.live("takes few messages before they are read, and all of them in the end", () =>
    Effect.gen(function*() {
      const large = "x".repeat(60_000)
      let taken = 0
      const channel = yield* serving((call) =>
        call.receive(() => {}, () => {
          for (const _ of numbers) call.write(frame(Buffer.from(large)), (bytes) => (taken += bytes))
          call.end({ code: status.OK, details: "OK", trailers: {} })
        })
      )
      const { call, told } = made(channel, false)
      call.end()
      yield* Wait.until("some to be taken", () => taken > 1_000_000)
      yield* Effect.sleep(500)
      assert.isBelow(taken, 15_000_000)
      assert.deepStrictEqual(told.statuses, [])
      let read = 0
      yield* Wait.until("all to be read", () => {
        for (let next = call.read(); next !== undefined; next = call.read()) read++
        return told.statuses.length > 0
      })
      assert.strictEqual(read, numbers.length)
    }))

  it.live("takes many messages that are small before they are read", () =>
    Effect.gen(function*() {
      const small = Buffer.alloc(100, "x")
      const count = 1_000
      const taken: Array<number> = []
      const channel = yield* serving((call) => {
        const i = taken.push(0) - 1
        call.receive(() => {
          for (let n = 0; n < count; n++) call.write(frame(small), (bytes) => (taken[i]! += bytes))
        }, () => call.end({ code: status.OK, details: "OK", trailers: {} }))
      })
      const { call } = made(channel, false)
      call.write(Buffer.from("go"))
      yield* Wait.until("all to be written", () => taken[0] === count * frame(small).length)
      // what is on the connection before it has come, too
      const { call: other, told } = made(channel)
      other.write(Buffer.from("go"))
      yield* Wait.until("what was written later to come", () => told.messages.length === count)
      let read = 0
      while (call.read() !== undefined) read++
      assert.strictEqual(read, count)
      call.end()
      other.end()
    }))

  it.live("reads large messages whole that are written before those before them are taken", () =>
    Effect.gen(function*() {
      const messages = [300_000, 1_000_000, 10, 500_000, 0, 70_000].map((size, i) => `${i}`.repeat(size))
      let taken = 0
      const channel = yield* serving((call) =>
        call.receive(() => {}, () => {
          for (const message of messages) call.write(frame(Buffer.from(message)), (bytes) => (taken += bytes))
          call.end({ code: status.OK, details: "OK", trailers: {} })
        })
      )
      const { call, told } = made(channel)
      call.end()
      yield* Wait.until("the end", () => told.statuses.length > 0)
      assert.strictEqual(told.statuses[0]!.details, "OK")
      // a difference of such texts takes minutes to be shown
      assert.isTrue(told.messages.length === messages.length && told.messages.every((text, i) => text === messages[i]))
      const framed = messages.reduce((sum, { length }) => sum + 5 + length, 0)
      yield* Wait.until("the server to hear that all is taken", () => taken === framed)
    }))

  it.live("tells the server when it is cancelled, and hears so", () =>
    Effect.gen(function*() {
      let cancelled = 0
      const channel = yield* serving((call) => {
        call.onCancelled(() => cancelled++)
        echo(call)
      })
      const { call, told } = made(channel)
      call.write(Buffer.from("a"))
      yield* Wait.until("the answer", () => told.messages.length === 1)
      call.cancel()
      call.cancel()
      yield* Wait.until("both to be told", () => cancelled === 1 && told.statuses.length === 1)
      assert.strictEqual(told.statuses[0]!.code, status.CANCELLED)
      assert.strictEqual(told.headers, 1)
    }))

  for (const encoding of ["identity", "snappy"]) {
    it.live(`ends with a status where a message comes that cannot be unpacked, of the encoding ${encoding}`, () =>
      Effect.gen(function*() {
        const port = yield* raw((stream) => {
          stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-encoding": encoding })
          // compressed, as its first byte says
          stream.write(Buffer.from([1, 0, 0, 0, 1, 0]))
        })
        const { connect } = yield* CallTransport
        const { told } = made(yield* connect({ address: `127.0.0.1:${port}`, tls: undefined }))
        yield* Wait.until("the end", () => told.statuses.length > 0)
        assert.strictEqual(told.statuses[0]!.code, status.INTERNAL)
        assert.include(told.statuses[0]!.details, "cannot be read")
        assert.deepStrictEqual(told.messages, [])
      }))
  }

  it.live("ends with UNKNOWN where the status is no number", () =>
    Effect.gen(function*() {
      const port = yield* raw((stream) =>
        stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "banana" }, {
          endStream: true
        })
      )
      const { connect } = yield* CallTransport
      const { told } = made(yield* connect({ address: `127.0.0.1:${port}`, tls: undefined }))
      yield* Wait.until("the end", () => told.statuses.length > 0)
      assert.strictEqual(told.statuses[0]!.code, status.UNKNOWN)
    }))
})
