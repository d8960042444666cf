import { assert, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { vi } from "vitest"
import { makeChannels } from "../src/internal/sockets/channel.ts"

it.effect("whoever is not waited for any more does not ask any more either why there is no connection", () =>
  Effect.gen(function*() {
    const calls: Array<string> = []
    // a connection is lost, and one is made again that nobody answers on
    const lost: Partial<Grpc.ChannelInterface> = {
      getConnectivityState: () => Grpc.connectivityState.TRANSIENT_FAILURE,
      createCall: (path) => {
        calls.push(`call of ${path}`)
        return {
          start: () => {},
          startRead: () => {},
          cancelWithStatus: () => void calls.push("cancelled")
        } as never
      }
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => vi.spyOn(Grpc.Client.prototype, "getChannel").mockReturnValue(lost as Grpc.ChannelInterface)),
      (spy) => Effect.sync(() => spy.mockRestore())
    )
    const { ready } = yield* makeChannels()({ address: "127.0.0.1:1", tls: undefined })
    const waiting = yield* Effect.forkChild(ready(false), { startImmediately: true })
    assert.deepStrictEqual(calls, ["call of /"])
    yield* Fiber.interrupt(waiting)
    assert.deepStrictEqual(calls, ["call of /", "cancelled"])
  }))
