import { assert, layer } from "@effect/vitest"
import { type Client, status } from "@grpc/grpc-js"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Wait from "@sluice/testing/Wait"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as FakeSource from "./kit/FakeSource.ts"
import * as Producer from "./kit/Producer.ts"
import { CartEvents, carts, serve } from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"
import * as Wire from "./kit/Wire.ts"

const statuses = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]
const statusOf = (response: Wire.Fields) => statuses[(response.get(1)?.[0] as number | undefined) ?? 0]!

const producer = "akka.projection.grpc.EventProducerService"

const check = (client: Client, service: string) =>
  Effect.map(Wire.unary(client, "/grpc.health.v1.Health/Check", Wire.encode({ 1: service })), statusOf)

const watch = (client: Client, service: string) =>
  Effect.map(Wire.open(client, "/grpc.health.v1.Health/Watch"), (call) => {
    call.send(Wire.encode({ 1: service }))
    call.halfClose()
    return call
  })

const told = (call: Wire.Call) => call.answers.map((bytes) => statusOf(Wire.decode(bytes)))

const toldSoFar = (call: Wire.Call, n: number) =>
  Effect.as(Wait.until(`${n} answers`, () => told(call).length >= n), call)

/** A server without streams, and how to offer carts on it. */
const empty = Effect.gen(function*() {
  const context = yield* Layer.build(GrpcServer.layer({ port: 0 }))
  const client = yield* RawClient.client(Context.get(context, GrpcServer.GrpcServer).port)
  const offer = <E>(streams: Layer.Layer<never, E, GrpcServer.GrpcServer>) =>
    Effect.tap(
      Scope.make(),
      (scope) => Layer.buildWithScope(Layer.provide(streams, Layer.succeedContext(context)), scope)
    )
  return { client, offer }
})

const never = EventProducer.layer(CartEvents, FakeSource.source(Stream.never))

layer(Producer.quiet, { excludeTestServices: true })("the health of a server", (it) => {
  it.effect("is SERVING as a whole, and so is the producer's service", () =>
    Effect.gen(function*() {
      const client = yield* RawClient.client(yield* serve(carts))
      assert.strictEqual(yield* check(client, ""), "SERVING")
      assert.strictEqual(yield* check(client, producer), "SERVING")
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is listed", () =>
    Effect.gen(function*() {
      const client = yield* RawClient.client(yield* serve(never))
      const list = yield* Wire.unary(client, "/grpc.health.v1.Health/List", Buffer.alloc(0))
      const entries = Wire.messages(list, 1).map(Wire.decode)
      assert.deepStrictEqual(
        entries.map((entry) => [String(entry.get(1)?.[0]), statusOf(Wire.decode(Wire.messages(entry, 2)[0]!))]),
        [["", "SERVING"], [producer, "SERVING"]]
      )
    }))

  it.effect("is unknown for other services, which may be watched nevertheless", () =>
    Effect.gen(function*() {
      const client = yield* RawClient.client(yield* serve(never))
      for (const service of ["akka.projection.grpc", "toString", CartEvents.id]) {
        const error = yield* Effect.flip(check(client, service))
        assert.strictEqual(error.code, status.NOT_FOUND)
      }
      const watching = yield* watch(client, "akka.projection.grpc")
      yield* toldSoFar(watching, 1)
      assert.deepStrictEqual(told(watching), ["SERVICE_UNKNOWN"])
      assert.isUndefined(watching.status)
    }))

  it.effect("is SERVING for the producer's service while a stream is offered", () =>
    Effect.gen(function*() {
      const { client, offer } = yield* empty
      assert.strictEqual(yield* check(client, ""), "SERVING")
      assert.strictEqual(yield* check(client, producer), "NOT_SERVING")
      const scope = yield* offer(never)
      assert.strictEqual(yield* check(client, producer), "SERVING")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* check(client, producer), "NOT_SERVING")
      assert.strictEqual(yield* check(client, ""), "SERVING")
    }))

  it.effect("tells its changes, and nothing else, to everybody who watches", () =>
    Effect.gen(function*() {
      const { client, offer } = yield* empty
      const watching = yield* Effect.all([watch(client, producer), watch(client, producer)])
      yield* Effect.forEach(watching, (call) => toldSoFar(call, 1))
      const scope = yield* offer(never)
      const again = yield* Effect.exit(offer(never))
      assert.isTrue(Exit.isFailure(again), "a stream that is offered already")
      yield* Scope.close(scope, Exit.void)
      for (const call of watching) {
        yield* toldSoFar(call, 3)
        assert.deepStrictEqual(told(call), ["NOT_SERVING", "SERVING", "NOT_SERVING"])
        assert.isUndefined(call.status)
      }
    }))

  it.effect("is NOT_SERVING for the producer's service as soon as its last stream is about to end", () =>
    Effect.gen(function*() {
      const latch = Latch.makeUnsafe()
      // a test that fails is to end as well
      yield* Effect.addFinalizer(() => latch.open)
      const source = FakeSource.source(Stream.never, {
        open: () =>
          Effect.acquireRelease(
            Effect.succeed({ journal: "test-journal", envelopes: Stream.never }),
            () => latch.await
          )
      })
      const { client, offer } = yield* empty
      const scope = yield* offer(EventProducer.layer(CartEvents, source))
      const call = yield* RawClient.eventsBySlices(client)
      call.send({ case: "init", value: { streamId: CartEvents.id, sliceMax: 1023 } })
      yield* Wait.until("headers", () => call.headers !== undefined)
      const closing = yield* Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true })
      assert.strictEqual(yield* check(client, producer), "NOT_SERVING")
      assert.isUndefined(call.status)
      yield* latch.open
      yield* Fiber.join(closing)
    }))

  it.effect("is told to be NOT_SERVING before the server ends, which does not wait for those who watch", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const client = yield* RawClient.client(yield* Scope.provide(serve(never), scope))
      const watching = [yield* watch(client, ""), yield* watch(client, producer), yield* watch(client, "?")]
      yield* Effect.forEach(watching, (call) => toldSoFar(call, 1))
      yield* Producer.closeAtOnce(scope)
      for (const call of watching) {
        yield* Wait.until("the call to end", () => call.status !== undefined)
        assert.strictEqual(call.status!.code, status.UNAVAILABLE)
      }
      assert.deepStrictEqual(watching.map(told), [
        ["SERVING", "NOT_SERVING"],
        ["SERVING", "NOT_SERVING"],
        ["SERVICE_UNKNOWN"]
      ])
    }))

  it.effect("is asked for by a request that is none", () =>
    Effect.gen(function*() {
      const client = yield* RawClient.client(yield* serve(never))
      const error = yield* Effect.flip(
        Wire.unary(client, "/grpc.health.v1.Health/Check", Buffer.from([0x0a, 0xff]))
      )
      assert.strictEqual(error.code, status.INVALID_ARGUMENT)
      assert.strictEqual(yield* check(client, ""), "SERVING")
    }))
})
