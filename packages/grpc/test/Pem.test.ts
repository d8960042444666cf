import { assert, describe, it } from "@effect/vitest"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import { ServerError } from "@sluice/grpc/GrpcError"
import type { ServerTls } from "@sluice/grpc/Tls"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { serve } from "./kit/Producer.ts"

const Carts = EventStream.make("carts", { codec: EventCodec.string })

const pem = (label: string): string => `-----BEGIN ${label}-----\nAAAA\n-----END ${label}-----\n`
const certificate = pem("CERTIFICATE")
const key = Redacted.make(pem("EC PRIVATE KEY"))
const file = "/etc/s3cret.pem"

const says = (name: string, what: string): string =>
  `'tls.${name}' has no ${what} as PEM: give the content of the file, not its name`

describe("certificates and keys of a consumer", () => {
  it("are PEM, of all kinds", () => {
    for (const label of ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"]) {
      EventConsumer.source(Carts, { address: "cart:8101", tls: { authority: `# the authority\n${pem(label)}` } })
    }
    for (const label of ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"]) {
      const key = Redacted.make(pem("EC PARAMETERS") + pem(label))
      EventConsumer.source(Carts, { address: "cart:8101", tls: { certificate, key } })
    }
    EventConsumer.source(Carts, { address: "cart:8101", tls: {} })
  })

  it.each([
    ["authority", { authority: file }, "certificate"],
    ["authority", { authority: "" }, "certificate"],
    ["certificate", { certificate: file, key }, "certificate"],
    ["certificate", { certificate: Redacted.value(key), key }, "certificate"],
    ["key", { certificate, key: Redacted.make(file) }, "private key"]
  ])("are none where 'tls.%s' is %j", (name, tls, what) => {
    let message = ""
    try {
      EventConsumer.source(Carts, { address: "cart:8101", tls })
    } catch (error) {
      assert.instanceOf(error, RangeError)
      message = error.message
    }
    assert.strictEqual(message, says(name, what))
  })
})

describe("certificates and keys of a server", () => {
  it.effect.each<[string, ServerTls, string]>([
    ["certificate", { certificate: file, key }, "certificate"],
    ["key", { certificate, key: Redacted.make(file) }, "private key"],
    ["clientAuthority", { certificate, key, clientAuthority: file }, "certificate"]
  ])("are none where 'tls.%s' is %j", ([name, tls, what]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(serve(Layer.empty, { tls }))
      assert.instanceOf(error, ServerError)
      assert.strictEqual(error.message, `Cannot listen on '0.0.0.0:0': ${says(name, what)}`)
    }))
})
