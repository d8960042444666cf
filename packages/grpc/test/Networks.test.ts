import { assert, describe, it } from "@effect/vitest"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as http2 from "node:http2"
import * as net from "node:net"
import * as tls from "node:tls"
import * as Certificates from "../../../test/kit/Certificates.ts"
import { protocolVersion } from "../src/internal/wire/protocolVersion.ts"
import { read, type Reading, received, remote, shortly } from "./kit/Consumer.ts"
import * as Http2Proxy from "./kit/Http2Proxy.ts"
import * as Producer from "./kit/Producer.ts"
import { append, carts, logging, serve } from "./kit/Producer.ts"
import * as TcpServer from "./kit/TcpServer.ts"

const { constants } = http2

const isRunning = (reading: Reading<unknown, unknown>) => reading.fiber.pollUnsafe() === undefined

/** The waits before connections that were made again, in milliseconds. */
const waits = (lines: ReadonlyArray<string>) =>
  lines.flatMap((line) => {
    const [, wait] = / again in (\d+) ms/.exec(line) ?? []
    return wait === undefined ? [] : [Number(wait)]
  })

/** Each waits for deadlines that are as long as they are. */
const live = (name: string, test: Effect.Effect<void, unknown, any>) =>
  it.live(
    name,
    () => test.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer), Effect.provide(Producer.quiet)) as any
  )

describe.concurrent("a connection that is accepted", () => {
  live(
    "and then silent is given up for another one, and the status and the lag of a projection say so meanwhile",
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", ["1"])
      let isSilent = true
      const server = yield* TcpServer.make((socket) => isSilent ? socket.resume() : TcpServer.forward(socket, port))
      const { layer, lines } = logging()
      yield* Layer.build(
        Projection.layer(remote(server.port).pipe(Projection.atLeastOnce("silent", () => Effect.void)))
      ).pipe(Effect.provide(layer))
      const lag = yield* Effect.exit(ProjectionStatus.lag("silent"))
      assert.isTrue(Exit.isFailure(lag))
      yield* Wait.until(
        "the status to say so",
        Effect.map(ProjectionStatus.status("silent"), ([worker]) => worker!.state === "Disrupted"),
        { atMost: "30 seconds" }
      )
      assert.isTrue(lines.some((line) => line.includes("nobody speaks HTTP/2 there")), lines.join("\n"))
      yield* Wait.until("another connection", () => server.made >= 2)
      yield* Wait.until("the connection that was given up to be closed", () => server.open <= 1)
      isSilent = false
      yield* ProjectionStatus.caughtUp("silent").pipe(Effect.retry({ times: 3 }))
    })
  )

  live(
    "and does not answer TLS is closed, and another one is made",
    Effect.gen(function*() {
      const server = yield* TcpServer.make((socket) => socket.resume())
      const reading = yield* read(remote(server.port, { tls: {} }))
      yield* Wait.until("a second connection", () => server.made >= 2)
      yield* Wait.until("the first to be closed", () => server.open <= 1)
      assert.isTrue(isRunning(reading))
    })
  )

  if (Certificates.available) {
    const authority = Certificates.makeAuthority()
    const { certificate, key } = authority.issue("DNS:localhost", "IP:127.0.0.1")
    live(
      "and answers TLS and nothing else is closed, and another one is made",
      Effect.gen(function*() {
        const server = yield* TcpServer.make((socket) => {
          const secure = new tls.TLSSocket(socket, { isServer: true, cert: certificate, key, ALPNProtocols: ["h2"] })
          secure.on("error", () => {})
          secure.resume()
        })
        const reading = yield* read(remote(server.port, { tls: { authority: authority.certificate } }))
        yield* Wait.until("a second connection", () => server.made >= 2)
        yield* Wait.until("the first to be closed", () => server.open <= 1)
        assert.isTrue(isRunning(reading))
      })
    )
  }

  live(
    "and answers with what is no HTTP/2 is made again",
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", ["1"])
      const server = yield* TcpServer.make((socket, n) => {
        if (n > 2) return TcpServer.forward(socket, port)
        socket.resume()
        socket.write("220 mail.example.com ESMTP\r\n".repeat(10))
      })
      yield* received(yield* read(remote(server.port)), 1)
    })
  )
})

describe.concurrent("a stream that is lost on the way", () => {
  const endings: ReadonlyArray<readonly [string, (stream: http2.ServerHttp2Stream) => void]> = [
    ...([
      ["INTERNAL_ERROR", constants.NGHTTP2_INTERNAL_ERROR],
      ["CANCEL", constants.NGHTTP2_CANCEL],
      ["REFUSED_STREAM", constants.NGHTTP2_REFUSED_STREAM],
      ["PROTOCOL_ERROR", constants.NGHTTP2_PROTOCOL_ERROR],
      ["NO_ERROR", constants.NGHTTP2_NO_ERROR],
      ["ENHANCE_YOUR_CALM", constants.NGHTTP2_ENHANCE_YOUR_CALM]
    ] as const).map(([name, code]) =>
      [`RST_STREAM ${name}`, (stream: http2.ServerHttp2Stream) => stream.close(code)] as const
    ),
    ...[408, 429, 500, 502, 503, 504].map((status) =>
      [`the HTTP status ${status} of a proxy`, (stream: http2.ServerHttp2Stream) => {
        stream.respond({ ":status": status, "content-type": "text/html" })
        stream.end("<h1>Sorry</h1>")
      }] as const
    ),
    ["GOAWAY", (stream) => {
      stream.session?.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM)
      stream.session?.close()
      stream.close(constants.NGHTTP2_CANCEL)
    }],
    ["a connection that is reset", (stream) => stream.session?.destroy()]
  ]
  for (const [name, end] of endings) {
    live(
      `with ${name} is opened again`,
      Effect.gen(function*() {
        const target = yield* serve(carts)
        yield* append("a", ["1"])
        const proxy = yield* Http2Proxy.make({
          target,
          onStream: (stream, n) => {
            if (n === 1) end(stream)
            return n === 1
          }
        })
        const reading = yield* read(remote(proxy.port))
        yield* received(reading, 1)
        assert.isAtLeast(proxy.made, 2)
      })
    )
  }
})

/** An answer with the headers of a producer, and nothing any more. */
const silence = (stream: http2.ServerHttp2Stream) => {
  stream.respond({
    ":status": 200,
    "content-type": "application/grpc",
    "sluice-protocol": String(protocolVersion),
    "sluice-journal": "a journal"
  })
  return true
}

/** Hands on what comes so slowly, in bytes per second, that all that was sent before a ping delays its answer. */
const slowly = (socket: net.Socket, port: number, rate: number) => {
  const other = net.connect(port, "127.0.0.1")
  other.on("error", () => socket.destroy())
  socket.on("close", () => other.destroy())
  other.on("close", () => socket.destroy())
  socket.pipe(other)
  const begun = performance.now()
  let bytes = 0
  other.on("data", (data: Buffer) => {
    other.pause()
    socket.write(data)
    bytes += data.length
    setTimeout(() => other.resume(), Math.max(0, begun + 1000 * bytes / rate - performance.now()))
  })
}

describe.concurrent("a proxy that answers pings itself, and loses one direction of a stream,", () => {
  for (const direction of ["target", "client"] as const) {
    live(
      `hides nothing, though events may come: what is for the ${direction} is lost`,
      Effect.gen(function*() {
        const target = yield* serve(carts)
        let isLost = false
        const proxy = yield* Http2Proxy.make({ target, passes: (to, n) => !isLost || n > 1 || to !== direction })
        const { layer, lines } = logging()
        const reading = yield* read(remote(proxy.port)).pipe(Effect.provide(layer))
        yield* append("a", ["1"])
        yield* received(reading, 1)
        isLost = true
        yield* append("a", ["2"])
        yield* Wait.until("another stream", () => proxy.made >= 2, { atMost: "2 minutes" })
        yield* append("a", ["3"])
        yield* received(reading, 3)
        assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 1", "a 2 2", "a 3 3"])
        assert.isTrue(lines.some((line) => line.includes("has not echoed a beat for 3")), lines.join("\n"))
      })
    )
  }
})

describe.concurrent("a handler that takes long", () => {
  live(
    "does not lose its stream, though the echo stands behind events that wait for it",
    Effect.gen(function*() {
      const target = yield* serve(carts)
      const proxy = yield* Http2Proxy.make({ target })
      const large = "x".repeat(100_000)
      for (let n = 1; n <= 100; n++) yield* append("a", [large])
      const handled: Array<number> = []
      const { layer, lines } = logging()
      const projection = remote(proxy.port).pipe(
        Projection.atLeastOnce("busy", ({ sequenceNumber }) =>
          Effect.andThen(
            sequenceNumber === 1 ? Effect.sleep("50 seconds") : Effect.void,
            Effect.sync(() => void handled.push(sequenceNumber))
          ))
      )
      yield* Layer.build(Projection.layer(projection)).pipe(Effect.provide(layer))
      yield* Wait.until("all events", () => handled.length >= 100, { atMost: "2 minutes" })
      assert.deepStrictEqual(handled, Array.from({ length: 100 }, (_, i) => i + 1))
      assert.deepStrictEqual(waits(lines), [])
    })
  )
})

describe.concurrent("a slow link", () => {
  live(
    "is no lost one: a message that takes long arrives, though pings wait behind it",
    Effect.gen(function*() {
      const target = yield* serve(carts)
      yield* append("a", ["x".repeat(3_900_000)])
      const server = yield* TcpServer.make((socket) => slowly(socket, target, 115_000))
      const { layer, lines } = logging()
      const reading = yield* read(remote(server.port)).pipe(Effect.provide(layer))
      yield* Wait.until("the event", () => reading.envelopes.length === 1 || server.made > 1, { atMost: "2 minutes" })
      assert.strictEqual(server.made, 1, lines.join("\n"))
    })
  )

  live(
    "that falls silent is lost, whichever side looks",
    Effect.gen(function*() {
      const target = yield* serve(carts)
      let isSilent = false
      const sockets: Array<net.Socket> = []
      const server = yield* TcpServer.make((socket, n) => {
        if (n > 1) return TcpServer.forward(socket, target)
        const other = net.connect(target, "127.0.0.1")
        other.on("error", () => {})
        sockets.push(socket, other)
        socket.on("data", (data) => isSilent || other.write(data))
        other.on("data", (data) => isSilent || socket.write(data))
      })
      const reading = yield* read(remote(server.port))
      yield* append("a", ["1"])
      yield* received(reading, 1)
      isSilent = true
      yield* append("a", ["2"])
      yield* Wait.until("another connection", () => reading.envelopes.length === 2, { atMost: "2 minutes" })
      yield* Wait.until(
        "both sides to be closed",
        () => sockets.every((socket) => socket.readableEnded || socket.closed)
      )
    })
  )
})

describe.concurrent("a proxy that resets what is idle", () => {
  live(
    "finds no stream that is: both sides say every few seconds that they are there",
    Effect.gen(function*() {
      const target = yield* serve(carts)
      yield* append("a", ["1"])
      const proxy = yield* Http2Proxy.make({ target, idle: 15_000 })
      const reading = yield* read(remote(proxy.port))
      yield* received(reading, 1)
      yield* Effect.sleep("32 seconds")
      yield* append("a", ["2"])
      yield* received(reading, 2)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 1", "a 2 2"])
      assert.strictEqual(proxy.made, 1)
    })
  )

  live(
    "sooner than that does not make the consumer wait for longer and longer",
    Effect.gen(function*() {
      const target = yield* serve(carts)
      const proxy = yield* Http2Proxy.make({ target, idle: 4_000 })
      const { layer, lines } = logging()
      const reading = yield* read(remote(proxy.port)).pipe(Effect.provide(layer))
      yield* Wait.until("five streams", () => proxy.made >= 5, { atMost: "2 minutes" })
      yield* append("a", ["1"])
      yield* received(reading, 1)
      assert.isAtLeast(waits(lines).length, 4)
      for (const wait of waits(lines)) assert.isAtMost(wait, 240)
    })
  )

  live(
    "and forgets its backend is noticed",
    Effect.gen(function*() {
      const target = yield* serve(carts)
      const { layer, lines } = logging()
      const proxy = yield* Http2Proxy.make({
        target,
        onStream: (stream, n) => n === 1 && silence(stream)
      })
      yield* Effect.exit(Effect.provide(
        Effect.flatMap(
          read(remote(proxy.port)),
          () => Wait.until("a second stream", () => proxy.made >= 2, { atMost: "2 minutes" })
        ),
        layer
      ))
      assert.isAtLeast(proxy.made, 2)
      assert.isTrue(lines.some((line) => line.includes("has not echoed a beat for 30 seconds")), lines.join("\n"))
    })
  )
})
