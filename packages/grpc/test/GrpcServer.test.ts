import { assert, it, layer } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import { status } from "@grpc/grpc-js"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import { DuplicateStream, InsecureTransport, ServerError, VisibilityFailed } from "@sluice/grpc/GrpcError"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Wait from "@sluice/testing/Wait"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as FakeSource from "./kit/FakeSource.ts"
import * as Http2Client from "./kit/Http2Client.ts"
import * as Producer from "./kit/Producer.ts"
import { append, CartEvents, carts, serve } from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"
import { answered, ended, eventsBySlices, type RawCall, shortly } from "./kit/RawClient.ts"

const init = (streamId = "cart"): RawClient.Request => ({ case: "init", value: { streamId, sliceMax: 1023 } })

const open = (port: number, streamId = "cart") =>
  Effect.gen(function*() {
    const call = yield* eventsBySlices(yield* RawClient.client(port))
    call.send(init(streamId))
    return call
  })

/** A call that was opened, if without an event. */
const opened = (port: number, streamId = "cart") =>
  Effect.tap(open(port, streamId), (call) => Wait.until("headers", () => call.headers !== undefined))

const endOf = (call: RawCall) => Effect.map(ended(call), ({ code, details }) => [code, details])
const shuttingDown = [status.UNAVAILABLE, "the producer is shutting down"]

const Order = EntityType.make("Order", { codec: EventCodec.string })
const OrderEvents = EventStream.make("order", { codec: EventCodec.string })
const orders = EventProducer.layer(OrderEvents, Source.journal(Order))

/** Whether anybody listens there. */
const listens = (address: string): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const client = new Grpc.Client(address, Grpc.credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 })
    client.makeUnaryRequest("/x/Y", (_: Buffer) => _, (_) => _, Buffer.alloc(0), (error) => {
      client.close()
      resume(Effect.succeed(error?.code === status.UNIMPLEMENTED))
    })
  })

// the library says on the console, too, that it cannot listen
Grpc.setLogVerbosity(Grpc.logVerbosity.NONE)

it("an error says what it is where its cause is the copy of an error, which has no prototype", () => {
  const cause = Object.assign(Object.create(null), { message: "select has thrown" })
  for (
    const error of [
      new ServerError({ address: "a", cause }),
      new VisibilityFailed({ streamId: "s", event: undefined, cause })
    ]
  ) {
    assert.include(error.message, cause.message)
  }
})

layer(Producer.quiet, { excludeTestServices: true })("a server", (it) => {
  it.effect("offers several streams, each with its own events", () =>
    Effect.gen(function*() {
      const port = yield* serve(Layer.mergeAll(carts, orders))
      const [ofCarts, ofOrders] = [yield* open(port), yield* open(port, "order")]
      yield* append("a", ["cart"])
      yield* Journal.append(Order, { id: "a", events: ["order"] })
      yield* answered(ofCarts, 1)
      yield* answered(ofOrders, 1)
      assert.deepStrictEqual(ofCarts.messages.map(shortly), ["a 1 cart"])
      assert.deepStrictEqual(ofOrders.messages.map(shortly), ["a 1 order"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("offers a stream for as long as its layer lives, and the others on", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(GrpcServer.layer({ port: 0 }))
      const { port } = Context.get(context, GrpcServer.GrpcServer)
      yield* Layer.build(Layer.provide(orders, Layer.succeedContext(context)))
      assert.strictEqual((yield* ended(yield* open(port))).code, status.NOT_FOUND)

      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(Layer.provide(carts, Layer.succeedContext(context)), scope)
      const [ofCarts, ofOrders] = [yield* opened(port), yield* opened(port, "order")]
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* endOf(ofCarts), shuttingDown)
      assert.strictEqual((yield* ended(yield* open(port))).code, status.NOT_FOUND)
      yield* Journal.append(Order, { id: "a", events: ["order"] })
      yield* answered(ofOrders, 1)
      assert.isUndefined(ofOrders.status)

      yield* Layer.build(Layer.provide(carts, Layer.succeedContext(context)))
      yield* append("a", ["again"])
      const again = yield* open(port)
      yield* answered(again, 1)
      assert.deepStrictEqual(again.messages.map(shortly), ["a 1 again"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("refuses to offer two sources as one stream", () =>
    Effect.gen(function*() {
      const other = EventProducer.layer(CartEvents, Source.journal(Order))
      const error = yield* Effect.flip(serve(Layer.mergeAll(carts, other)))
      assert.instanceOf(error, DuplicateStream)
      assert.strictEqual(
        error.message,
        "The stream 'cart' is offered twice by one server: give one of them another id, or a server of its own"
      )
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect.each(["0.0.0.0", "::", "192.168.7.7", "example.com"])(
    "refuses to listen without TLS beyond this machine, on %s",
    (host) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(serve(Layer.empty, { host, port: 8101 }))
        assert.instanceOf(error, InsecureTransport)
        const address = host === "::" ? "[::]:8101" : `${host}:8101`
        assert.strictEqual(
          error.message,
          `'${address}' is beyond this machine, and there is no TLS: configure 'tls', or say 'insecure: true'`
        )
      })
  )

  it.effect("listens on this machine only, unless it is told to trust the network", () =>
    Effect.gen(function*() {
      // all of 127.0.0.0/8 is this machine's
      const closed = yield* serve(Layer.empty)
      assert.isTrue(yield* listens(`127.0.0.1:${closed}`))
      assert.isFalse(yield* listens(`127.0.0.2:${closed}`))
      const open = yield* serve(Layer.empty, { host: "0.0.0.0", insecure: true })
      assert.isTrue(yield* listens(`127.0.0.1:${open}`))
      assert.isTrue(yield* listens(`127.0.0.2:${open}`))
      const named = yield* serve(Layer.empty, { host: "localhost" })
      assert.isTrue(yield* listens(`localhost:${named}`))
    }))

  it.effect("says where it cannot listen as somebody else does already", () =>
    Effect.gen(function*() {
      const port = yield* serve(Layer.empty)
      const error = yield* Effect.flip(serve(Layer.empty, { port }))
      assert.instanceOf(error, ServerError)
      assert.match(error.message, new RegExp(`^Cannot listen on '127.0.0.1:${port}': .*(EADDRINUSE|in use|bound)`))
      assert.isTrue(yield* listens(`127.0.0.1:${port}`), "the other one goes on")
    }))

  it.effect("says so where the address is not of this machine", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(serve(Layer.empty, { host: "192.0.2.1", insecure: true }))
      assert.instanceOf(error, ServerError)
      assert.strictEqual(error.address, "192.0.2.1:0")
    }))

  it.effect("says so where its port or its certificate is none", () =>
    Effect.gen(function*() {
      assert.instanceOf(yield* Effect.flip(serve(Layer.empty, { port: 65_536 })), ServerError)
      const tls = { certificate: "none", key: Redacted.make("1234") }
      const error = yield* Effect.flip(serve(Layer.empty, { tls }))
      assert.instanceOf(error, ServerError)
      assert.match(error.message, /^Cannot listen on '0.0.0.0:0': .*PEM/)
      assert.notInclude(error.message, "1234")
    }))

  it.effect("gives its port back", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const port = yield* Scope.provide(serve(Layer.empty), scope)
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(yield* listens(`127.0.0.1:${port}`))
      assert.strictEqual(yield* serve(Layer.empty, { port }), port)
    }))
})

/** A source that takes until the latch is open to close. */
const slowToClose = Effect.gen(function*() {
  const latch = Latch.makeUnsafe()
  // a test that fails is to end as well
  yield* Effect.addFinalizer(() => latch.open)
  const state = { opened: 0, closing: 0, closed: 0 }
  const source = FakeSource.source(Stream.empty, {
    open: () =>
      Effect.acquireRelease(
        Effect.sync(() => {
          state.opened++
          return { journal: "test-journal", envelopes: Stream.never }
        }),
        () =>
          Effect.gen(function*() {
            state.closing++
            yield* latch.await
            state.closed++
          })
      )
  })
  return { latch, state, layer: EventProducer.layer(CartEvents, source) }
})

layer(Producer.quiet, { excludeTestServices: true })("a server that shuts down", (it) => {
  it.effect("ends every stream with UNAVAILABLE, so that consumers connect elsewhere", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const port = yield* Scope.provide(serve(Layer.mergeAll(carts, orders)), scope)
      const calls = [yield* opened(port), yield* opened(port), yield* opened(port, "order")]
      yield* Scope.close(scope, Exit.void)
      for (const call of calls) assert.deepStrictEqual(yield* endOf(call), shuttingDown)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("ends a call that has not said its init", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const port = yield* Scope.provide(serve(carts), scope)
      const mute = yield* eventsBySlices(yield* RawClient.client(port))
      const sign = yield* opened(port)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* ended(mute)).code, status.UNAVAILABLE)
      assert.strictEqual((yield* ended(sign)).code, status.UNAVAILABLE)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("ends a unary call with UNAVAILABLE", () =>
    Effect.gen(function*() {
      const asked = Latch.makeUnsafe()
      const scope = yield* Scope.make()
      const source = FakeSource.source(Stream.never, { heads: () => Effect.andThen(asked.open, Effect.never) })
      const port = yield* Scope.provide(serve(EventProducer.layer(CartEvents, source)), scope)
      const client = yield* RawClient.client(port)
      const asking = yield* Effect.forkScoped(
        Effect.flip(RawClient.latestEventTimestamp(client, { streamId: "cart", sliceMax: 1023 }))
      )
      yield* asked.await
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(asking)).code, status.UNAVAILABLE)
    }))

  it.effect("waits until its sources are closed", () =>
    Effect.gen(function*() {
      const slow = yield* slowToClose
      const scope = yield* Scope.make()
      const port = yield* Scope.provide(serve(slow.layer), scope)
      yield* opened(port)
      yield* opened(port)
      const closing = yield* Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* Wait.until("the sources to close", () => slow.state.closing === 2)
      assert.isUndefined(closing.pollUnsafe())
      yield* slow.latch.open
      yield* Fiber.join(closing)
      assert.strictEqual(slow.state.closed, 2)
    }))

  it.effect("refuses what comes while its sources close with UNAVAILABLE, as consumers give up at anything else", () =>
    Effect.gen(function*() {
      const slow = yield* slowToClose
      const scope = yield* Scope.make()
      const port = yield* Scope.provide(serve(slow.layer), scope)
      yield* opened(port)
      const client = yield* RawClient.client(port)
      yield* RawClient.latestEventTimestamp(client, { streamId: "cart", sliceMax: 1023 })
      const closing = yield* Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* Wait.until("the source to close", () => slow.state.closing === 1)
      const late = yield* eventsBySlices(client)
      late.send(init())
      assert.strictEqual((yield* ended(late)).code, status.UNAVAILABLE)
      const asked = yield* Effect.flip(RawClient.latestEventTimestamp(client, { streamId: "cart", sliceMax: 1023 }))
      assert.strictEqual(asked.code, status.UNAVAILABLE)
      yield* slow.latch.open
      yield* Fiber.join(closing)
    }))

  it.effect("does not wait for a connection that is open and not used", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const port = yield* Scope.provide(serve(carts), scope)
      const client = yield* RawClient.client(port)
      yield* RawClient.latestEventTimestamp(client, { streamId: "cart", sliceMax: 1023 })
      yield* Producer.closeAtOnce(scope)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is done with clients that do not read within seconds, and never tells them that all is well", () =>
    Effect.gen(function*() {
      const endless = FakeSource.endless(10, 1000)
      const scope = yield* Scope.make()
      const port = yield* Scope.provide(serve(EventProducer.layer(CartEvents, endless.source)), scope)
      const stalled = yield* eventsBySlices(yield* RawClient.client(port), { reads: false })
      stalled.send(init())
      const deaf = yield* Http2Client.eventsBySlices(port, RawClient.requestBytes(init()), { reads: false })
      yield* Wait.until("the sources to be opened", () => endless.state.opened === 2)
      yield* Wait.until("answers", () => stalled.messages.length > 0 && deaf.headers !== undefined)
      yield* Wait.end("the server to close", Scope.close(scope, Exit.void))
      assert.strictEqual(endless.state.finalized, 2)
      yield* Wait.until("the connection to be closed", () => deaf.closed)
      assert.isUndefined(deaf.trailers)
      const { code } = yield* ended(stalled)
      assert.include([status.UNAVAILABLE, status.CANCELLED], code)
    }))
})
