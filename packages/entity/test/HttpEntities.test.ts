import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Receipt from "@sluice/core/Receipt"
import * as StateType from "@sluice/core/StateType"
import * as Decision from "@sluice/entity/Decision"
import * as DurableState from "@sluice/entity/DurableState"
import * as EntityHttp from "@sluice/entity/EntityHttp"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Wait from "@sluice/testing/Wait"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { createServer } from "node:http"
import { send } from "./kit/requests.ts"

class Added extends Schema.TaggedClass<Added>()("Added", { amount: Schema.Int }) {}
class TooMuch extends Schema.TaggedError<TooMuch>()("TooMuch", { total: Schema.Int }) {}

/** What a decision waits for. */
class Gate extends Context.Service<Gate, { readonly latch: Latch.Latch; waiting: number }>()("test/Gate") {}

const CounterType = EntityType.make("counter", { event: Added })

const Counter = EventSourced.make(CounterType, {
  state: Schema.Int,
  initial: 0,
  commands: [
    Rpc.make("Add", { payload: { amount: Schema.Int }, success: Schema.Int, error: TooMuch }),
    Rpc.make("AddSlowly", { payload: { amount: Schema.Int }, success: Schema.Int }),
    Rpc.make("Hang"),
    Rpc.make("Throw"),
    Rpc.make("Get", { success: Schema.Int }).pipe(EntityHttp.read)
  ],
  decide: {
    Add: ({ payload: { amount }, state }) =>
      state + amount > 100
        ? Decision.fail(new TooMuch({ total: state }))
        : Decision.persist([new Added({ amount })], (total: number) => total),
    AddSlowly: ({ payload: { amount } }) =>
      Effect.gen(function*() {
        const gate = yield* Gate
        gate.waiting++
        yield* gate.latch.await
        return Decision.persist([new Added({ amount })], (total: number) => total)
      }),
    Hang: () => Effect.never,
    Throw: () => {
      throw new Error("SELECT password FROM customers")
    },
    Get: ({ state }) => Decision.reply(state)
  },
  evolve: (total, { amount }) => total + amount,
  decideWithin: "3 seconds"
})

const Profile = DurableState.make(StateType.make("profile", { state: Schema.Struct({ name: Schema.String }) }), {
  initial: { name: "" },
  commands: [
    Rpc.make("Rename", { payload: { name: Schema.String } }),
    Rpc.make("Get", { success: Schema.String }).pipe(EntityHttp.read)
  ],
  decide: {
    Rename: ({ payload }) => Decision.update(payload),
    Get: ({ state }) => Decision.reply(state.name)
  }
})

const Api = HttpApi.make("test").add(EntityHttp.group("counters", Counter), EntityHttp.group("profiles", Profile))

const Server = HttpRouter.serve(
  HttpApiBuilder.layer(Api).pipe(
    Layer.provide([EntityHttp.layer(Api, "counters", Counter), EntityHttp.layer(Api, "profiles", Profile)])
  ),
  { disableLogger: true, disableListenLog: true }
).pipe(
  Layer.provide([EventSourced.layer(Counter, { mailbox: 1 }), DurableState.layerPlain(Profile)]),
  Layer.provideMerge(Layer.fresh(MemoryStorage.layer)),
  Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
  Layer.provideMerge(Layer.sync(Gate, () => ({ latch: Latch.makeUnsafe(), waiting: 0 }))),
  Layer.provide(Logger.layer([]))
)

const command = (path: string, payload: object, key?: string) =>
  send(path, {
    body: JSON.stringify(payload),
    headers: key === undefined ? {} : { "idempotency-key": key }
  })

const get = (path: string) => Effect.map(send(path, { method: "GET" }), ({ body }) => body)

layer(Server, { excludeTestServices: true, timeout: "1 minute" })("entities over HTTP", (it) => {
  it.effect("are commanded, and read", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* command("/counters/c-1/add", { amount: 40 })).body, 40)
      const second = yield* command("/counters/c-1/add", { amount: 2 })
      assert.strictEqual(second.body, 42)
      assert.strictEqual(yield* get("/counters/c-1/get"), 42)
      const { persistenceId, sequenceNumber } = yield* Schema.decodeEffect(Receipt.Receipt)(
        second.headers.get("receipt")!
      )
      assert.deepStrictEqual([persistenceId as string, sequenceNumber], ["counter|c-1", 2])
      const tooMuch = yield* command("/counters/c-1/add", { amount: 60 })
      assert.deepStrictEqual([tooMuch.status, tooMuch.body], [422, { _tag: "TooMuch", total: 42 }])
    }))

  it.effect("do once what is asked for twice with the same key, and refuse the key for something else", () =>
    Effect.gen(function*() {
      const first = yield* command("/counters/c-2/add", { amount: 40 }, "k")
      yield* command("/counters/c-2/add", { amount: 2 })
      const again = yield* command("/counters/c-2/add", { amount: 40 }, "k")
      assert.deepStrictEqual([again.status, again.body], [200, 40])
      assert.strictEqual(again.headers.get("receipt"), first.headers.get("receipt"))
      assert.strictEqual(yield* get("/counters/c-2/get"), 42)
      const other = yield* command("/counters/c-2/add", { amount: 41 }, "k")
      assert.strictEqual(other.status, 400)
      assert.include(other.body.message, "Idempotency-Key")
    }))

  it.effect("may be durable states", () =>
    Effect.gen(function*() {
      const renamed = yield* command("/profiles/p-1/rename", { name: "Ada" }, "k")
      assert.strictEqual(renamed.status, 204)
      assert.strictEqual((yield* Schema.decodeEffect(Receipt.Receipt)(renamed.headers.get("receipt")!)).log, "states")
      yield* command("/profiles/p-1/rename", { name: "Grace" })
      assert.strictEqual((yield* command("/profiles/p-1/rename", { name: "Ada" }, "k")).status, 204)
      assert.strictEqual(yield* get("/profiles/p-1/get"), "Grace")
    }))

  it.effect("are not told of in detail where they fail", () =>
    Effect.gen(function*() {
      const hung = yield* send("/counters/c-3/hang")
      assert.strictEqual(hung.status, 504)
      assert.match(hung.body.message, /took too long/)
      const threw = yield* send("/counters/c-3/throw")
      assert.strictEqual(threw.status, 500)
      assert.notInclude(threw.text, "SELECT")
    }))

  it.effect("do what was begun for a caller who has gone, and say so where there is too much to do", () =>
    Effect.gen(function*() {
      const gate = yield* Gate
      const path = "/counters/c-4/add-slowly"
      const begun = yield* Effect.forkChild(command(path, { amount: 1 }))
      yield* Wait.until("the first one to be decided", () => gate.waiting === 1)
      const waiting = yield* Effect.forkChild(command(path, { amount: 2 }))
      // the room that there is, is taken by one of these
      const answers = yield* Effect.raceFirst(
        Effect.map(Fiber.join(waiting), (first) => [first]),
        Effect.map(command(path, { amount: 3 }), (first) => [first])
      )
      const [refused] = answers
      assert.strictEqual(refused!.status, 503, refused!.text)
      assert.strictEqual(refused!.body._tag, "Overloaded")
      assert.strictEqual(refused!.headers.get("retry-after"), "1")

      yield* Fiber.interrupt(begun)
      yield* gate.latch.open
      const read = Effect.map(
        Stream.runCollect(Journal.read(CounterType, "c-4")),
        (events) => events.map(({ event }) => event.amount)
      )
      yield* Wait.until("the first one to be done", Effect.map(read, (amounts) => amounts.includes(1)))
    }))
})
