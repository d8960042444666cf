import { assert, describe, it } from "@effect/vitest"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import { ServerError } from "@sluice/grpc/GrpcError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { parseAddress } from "../src/internal/address.ts"
import { serve } from "./kit/Producer.ts"

const Carts = EventStream.make("carts", { codec: EventCodec.string })

describe("the address of a producer", () => {
  it.each([
    ["localhost:8101", "localhost", 8101],
    ["10.0.0.7:1", "10.0.0.7", 1],
    ["cart_service.internal:65535", "cart_service.internal", 65535],
    ["[::1]:8101", "::1", 8101],
    ["[fe80::1%eth0]:8101", "fe80::1%eth0", 8101]
  ])("is %s", (text, host, port) => {
    assert.deepStrictEqual(parseAddress(text), { host, port })
    EventConsumer.source(Carts, { address: text })
  })

  it.each([
    [
      "http://cart:8101",
      "it is 'host:port', without 'http://': write 'cart:8101'; whether it is encrypted is what 'tls' says"
    ],
    ["https://cart:8101/x", "it is 'host:port', without 'https://': write 'cart:8101', and configure 'tls'"],
    ["dns:///cart:8101", "without 'dns://'"],
    ["cart", "it has no port: write it behind the host, such as 'cart:8101'"],
    ["[::1]", "it has no port: write it behind the host, such as '[::1]:8101'"],
    ["cart:", "'' is no port, which is a number from 1 to 65535"],
    ["cart:0", "'0' is no port"],
    ["cart:65536", "'65536' is no port"],
    ["cart:grpc", "'grpc' is no port"],
    [":8101", "it has no host: write 'host:port'"],
    ["", "it has no host: write 'host:port'"],
    ["cart: 8101", "it has white space in it"],
    ["cart:8101\n", "it has white space in it"],
    ["cart:8101/carts", "leave out '/carts'"],
    ["::1", "IPv6 stands in brackets, and a port follows, such as '[::1]:8101'"],
    ["::1:8101", "IPv6 stands in brackets"],
    ["cart:8101:8102", "'8101:8102' is no port"],
    [undefined as unknown as string, "'undefined' is no address: it is a text, such as 'localhost:8101'"],
    ["[cart]:8101", "'cart' is no IPv6"],
    ["[::1]8101", "with IPv6 in brackets"]
  ])("is not %j, and says what to write", (address, problem) => {
    assert.throws(() => EventConsumer.source(Carts, { address }), RangeError, problem)
  })

  it.each(["me:s3cret@cart:8101", "https://me:s3cret@cart:8101"])(
    "is not %s, and keeps the password to itself",
    (address) => {
      const error = messageOf(() => EventConsumer.source(Carts, { address }))
      assert.strictEqual(
        error,
        "'…@cart:8101' is no address: it takes no user and no password; what a producer asks for goes into 'headers'"
      )
    }
  )
})

describe("what a server listens on", () => {
  it.effect.each(["localhost", "127.0.0.1", "::1", "::"])("is the host %s", (host) =>
    Effect.gen(function*() {
      assert.isAbove(yield* serve(Layer.empty, { host, insecure: true }), 0)
    }))

  it.effect.each<[string, number, string]>([
    ["", 8101, "':8101': 'host' has to be a name or a number alone"],
    ["localhost:8101", 8101, "'localhost:8101:8101': 'host' has to be"],
    ["http://localhost", 8101, "'host' has to be"],
    ["http://me:s3cret@localhost", 8101, "'…@localhost:8101': 'host' has to be"],
    ["[::1]", 8101, "'host' has to be"],
    ["local host", 8101, "'host' has to be"],
    ["localhost", -1, "'port' has to be an integer"],
    ["localhost", 65536, "'port' has to be an integer"],
    ["localhost", 1.5, "'port' has to be an integer"],
    ["localhost", Number.NaN, "'port' has to be an integer"]
  ])("is not the host %j with the port %d", ([host, port, problem]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(serve(Layer.empty, { host, port }))
      assert.instanceOf(error, ServerError)
      assert.include(error.message, problem)
      assert.notInclude(error.message, "s3cret")
    }))
})

const messageOf = (f: () => unknown): string => {
  try {
    f()
  } catch (error) {
    return (error as Error).message
  }
  return "nothing is wrong"
}
