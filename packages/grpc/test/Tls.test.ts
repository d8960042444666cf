import { assert, describe, layer } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as SliceRange from "@sluice/core/SliceRange"
import { GrpcError } from "@sluice/grpc/GrpcError"
import type { ClientTls, ServerTls } from "@sluice/grpc/Tls"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Certificates from "../../../test/kit/Certificates.ts"
import { read, received, remote } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, carts, serve } from "./kit/Producer.ts"
import * as TcpProxy from "./kit/TcpProxy.ts"

const reason = Certificates.available ? "" : " (skipped: there is no OpenSSL 3 to make certificates with)"

const authority = Certificates.available ? Certificates.makeAuthority() : undefined!
const stranger = Certificates.available ? Certificates.makeAuthority() : undefined!
const ofServer = Certificates.available ? authority.issue("DNS:localhost", "IP:127.0.0.1") : undefined!

const serverTls = (change?: Partial<ServerTls>): ServerTls => ({
  certificate: ofServer.certificate,
  key: Redacted.make(ofServer.key),
  ...change
})

/** Whether a consumer gets an event, or why not. */
const outcome = (port: number, tls: ClientTls | undefined, host = "127.0.0.1") =>
  Effect.gen(function*() {
    const source = remote(`${host}:${port}`, { tls })
    const asked = yield* Effect.result(source.provider.heads(SliceRange.full))
    if (asked._tag === "Failure") {
      assert.instanceOf(asked.failure, GrpcError)
      return [asked.failure.code, asked.failure.details] as const
    }
    const reading = yield* read(source)
    yield* received(reading, 1)
    return "an event" as const
  }).pipe(Effect.scoped)

const mutual = () => serve(carts, { tls: serverTls({ clientAuthority: authority.certificate }) })
const clientTls = ({ certificate, key }: Certificates.Identity): ClientTls => ({
  authority: authority.certificate,
  certificate,
  key: Redacted.make(key)
})

describe.skipIf(!Certificates.available)(`TLS${reason}`, () => {
  layer(Producer.quiet, { excludeTestServices: true })("of the server", (it) => {
    it.effect("is accepted by a consumer that trusts its authority, under every name of the certificate", () =>
      Effect.gen(function*() {
        const port = yield* serve(carts, { tls: serverTls() })
        yield* append("a", ["1"])
        const tls = { authority: authority.certificate }
        assert.strictEqual(yield* outcome(port, tls), "an event")
        assert.strictEqual(yield* outcome(port, tls, "localhost"), "an event")
      }).pipe(Effect.provide(MemoryStorage.layer)))

    it.effect("is refused by a consumer that trusts another authority, and says so while it tries again", () =>
      Effect.gen(function*() {
        const port = yield* serve(carts, { tls: serverTls() })
        yield* append("a", ["1"])
        const tls = { authority: stranger.certificate }
        const [code, details] = yield* outcome(port, tls)
        assert.strictEqual(code, status.UNAVAILABLE)
        assert.include(details, "its certificate is of an authority that is not trusted: give that as 'tls.authority'")

        const { layer, lines } = Producer.logging()
        const reading = yield* Effect.provide(read(remote(port, { tls })), layer)
        yield* Wait.until("a warning", () => lines.length > 0)
        assert.match(lines[0]!, /Connects to 'cart' at 127.0.0.1:\d+ again in \d+ ms: .*certificate/)
        assert.isEmpty(reading.envelopes)
      }).pipe(Effect.provide(MemoryStorage.layer)))

    it.effect("is refused by a consumer that trusts the well-known authorities", () =>
      Effect.gen(function*() {
        const port = yield* serve(carts, { tls: serverTls() })
        const [code, details] = yield* outcome(port, {})
        assert.strictEqual(code, status.UNAVAILABLE)
        assert.match(String(details), /certificate/)
      }).pipe(Effect.provide(MemoryStorage.layer)))

    it.effect("is refused under a name that its certificate is not for", () =>
      Effect.gen(function*() {
        const other = authority.issue("DNS:cart.example.com")
        const port = yield* serve(carts, {
          tls: { certificate: other.certificate, key: Redacted.make(other.key) }
        })
        const [code, details] = yield* outcome(port, { authority: authority.certificate })
        assert.strictEqual(code, status.UNAVAILABLE)
        assert.match(String(details), /its certificate is for other names.*127\.0\.0\.1/)
      }).pipe(Effect.provide(MemoryStorage.layer)))

    it.effect("has no answer for a consumer without, and both say what is wrong, the server once", () =>
      Effect.gen(function*() {
        const { layer, lines } = Producer.logging()
        const port = yield* Effect.provide(serve(carts, { tls: serverTls() }), layer)
        for (let n = 0; n < 3; n++) {
          const [code, details] = yield* outcome(port, undefined)
          assert.strictEqual(code, status.UNAVAILABLE)
          assert.include(details, "as servers do that speak TLS: if so, configure 'tls' here")
        }
        yield* Wait.until("a warning", () => lines.length > 0)
        assert.lengthOf(lines, 1)
        assert.match(lines[0]!, /A client cannot connect from 127.0.0.1. It does not speak TLS, and this server does/)
      }).pipe(Effect.provide(MemoryStorage.layer)))

    it.effect("is missed by a consumer with it, and both say what is wrong", () =>
      Effect.gen(function*() {
        const { layer, lines } = Producer.logging()
        const port = yield* Effect.provide(serve(carts), layer)
        const [code, details] = yield* outcome(port, { authority: authority.certificate })
        assert.strictEqual(code, status.UNAVAILABLE)
        assert.include(details, "it does not speak TLS: configure 'tls' there, or leave it out here")
        yield* Wait.until("a warning", () => lines.length > 0)
        assert.match(lines[0]!, /from 127.0.0.1. It does not speak HTTP.2 without TLS, as this server does/)
      }).pipe(Effect.provide(MemoryStorage.layer)))

    it.effect("lets it listen on all addresses", () =>
      Effect.gen(function*() {
        const everywhere = authority.issue("IP:127.0.0.2")
        const port = yield* serve(carts, {
          tls: { certificate: everywhere.certificate, key: Redacted.make(everywhere.key) }
        })
        yield* append("a", ["1"])
        assert.strictEqual(yield* outcome(port, { authority: authority.certificate }, "127.0.0.2"), "an event")
      }).pipe(Effect.provide(MemoryStorage.layer)))
  })

  layer(Producer.quiet, { excludeTestServices: true })("of both", (it) => {
    it.effect("accepts a consumer with a certificate of the authority", () =>
      Effect.gen(function*() {
        const port = yield* mutual()
        yield* append("a", ["1"])
        assert.strictEqual(yield* outcome(port, clientTls(authority.issue("DNS:analytics"))), "an event")
      }).pipe(Effect.provide(MemoryStorage.layer)))

    it.effect("refuses a consumer without a certificate, and one with another authority's", () =>
      Effect.gen(function*() {
        for (const tls of [{ authority: authority.certificate }, clientTls(stranger.issue("DNS:analytics"))]) {
          const { layer, lines } = Producer.logging()
          const port = yield* Effect.provide(mutual(), layer)
          const [code, details] = yield* outcome(port, tls)
          assert.strictEqual(code, status.UNAVAILABLE)
          assert.match(String(details), /do not trust the client's certificate|it does not trust this client/)
          yield* Wait.until("a warning", () => lines.length > 0)
          assert.match(
            lines[0]!,
            /from (::ffff:)?127\.0\.0\.1\. It has no certificate of the authority that this server asks for: give it one/
          )
        }
      }).pipe(Effect.provide(MemoryStorage.layer)))
  })

  layer(Producer.quiet, { excludeTestServices: true })("connections", (it) => {
    it.effect("are shared by consumers with the same certificates, and by no others", () =>
      Effect.gen(function*() {
        const proxy = yield* TcpProxy.make(yield* serve(carts, { tls: serverTls() }))
        yield* append("a", ["1"])
        const tls = { authority: authority.certificate }
        const readings = [
          yield* read(remote(proxy.port, { tls })),
          yield* read(remote(proxy.port, { tls })),
          yield* read(remote(proxy.port, { tls: { ...tls } }))
        ]
        yield* Effect.forEach(readings, (reading) => received(reading, 1))
        assert.strictEqual(proxy.made, 2)
      }).pipe(Effect.provide(MemoryStorage.layer)))
  })
})
