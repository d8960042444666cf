import { assert, describe, layer } from "@effect/vitest"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as net from "node:net"
import * as Certificates from "../../../test/kit/Certificates.ts"
import { read, received, remote } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, carts, logging, serve } from "./kit/Producer.ts"
import * as TcpServer from "./kit/TcpServer.ts"

const variables = ["http_proxy", "https_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy"]

/** An HTTP proxy as companies have it, which the environment names, and that writes down what passes. */
const proxy = Effect.gen(function*() {
  const asked: Array<string> = []
  const passed: Array<Buffer> = []
  const server = yield* TcpServer.make((socket: net.Socket) => {
    socket.once("data", (head) => {
      const [line] = head.toString("latin1").split("\r\n")
      asked.push(line!)
      socket.write("HTTP/1.1 200 OK\r\n\r\n")
      socket.on("data", (bytes) => passed.push(bytes))
      TcpServer.forward(socket, Number(line!.split(" ")[1]!.split(":")[1]))
    })
  })
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const before = variables.map((name) => process.env[name])
      for (const name of variables) delete process.env[name]
      for (const name of variables.slice(0, 3)) process.env[name] = `http://127.0.0.1:${server.port}`
      return before
    }),
    (before) =>
      Effect.sync(() => {
        for (const [i, name] of variables.entries()) {
          if (before[i] === undefined) delete process.env[name]
          else process.env[name] = before[i]
        }
      })
  )
  return { asked, passed }
})

layer(Producer.quiet, { excludeTestServices: true })("the proxy of the environment", (it) => {
  it.effect.each(["localhost", "127.0.0.1"])("is not told of plaintext to %s", (host) =>
    Effect.gen(function*() {
      const { asked } = yield* proxy
      const port = yield* serve(carts)
      yield* append("a", ["a secret of this machine"])
      yield* received(yield* read(remote(`${host}:${port}`)), 1)
      assert.deepStrictEqual(asked, [])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is not told of plaintext in a network that is trusted, either", () =>
    Effect.gen(function*() {
      const { asked } = yield* proxy
      const { layer, lines } = logging()
      const reading = read(remote("sluice.invalid:8101", { insecure: true }))
      yield* Effect.provide(Effect.andThen(reading, Wait.until("an attempt", () => lines.length > 0)), layer)
      assert.deepStrictEqual(asked, [])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  describe.skipIf(!Certificates.available)("with TLS", () => {
    it.effect("leads to the producer, and sees nothing", () =>
      Effect.gen(function*() {
        const authority = Certificates.makeAuthority()
        const { certificate, key } = authority.issue("DNS:localhost", "IP:127.0.0.1")
        const { asked, passed } = yield* proxy
        const port = yield* serve(carts, { tls: { certificate, key: Redacted.make(key) } })
        yield* append("a", ["a secret"])
        yield* received(yield* read(remote(`localhost:${port}`, { tls: { authority: authority.certificate } })), 1)
        assert.match(asked[0]!, new RegExp(`^CONNECT localhost:${port} `))
        assert.isFalse(Buffer.concat(passed).includes("cart"))
      }).pipe(Effect.provide(MemoryStorage.layer)))
  })
})
