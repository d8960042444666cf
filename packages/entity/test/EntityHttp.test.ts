import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Receipt from "@sluice/core/Receipt"
import type { Answer, Command } from "@sluice/entity/Behaviour"
import * as Decision from "@sluice/entity/Decision"
import { Runs } from "@sluice/entity/EntityClient"
import * as EntityError from "@sluice/entity/EntityError"
import * as EntityHttp from "@sluice/entity/EntityHttp"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as ByteSize from "effect/ByteSize"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as OpenApi from "effect/http-api/OpenApi"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import { MaxBodySize } from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { createServer } from "node:http"
import { type Request, send as sendUnchecked, url } from "./kit/requests.ts"

class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
class CartIsCheckedOut extends Schema.TaggedError<CartIsCheckedOut>()("CartIsCheckedOut", {}) {}
class NoSuchProduct extends Schema.TaggedError<NoSuchProduct>()(
  "NoSuchProduct",
  { sku: Schema.String },
  { httpApiStatus: 410 }
) {}

const AddItem = Rpc.make("AddItem", {
  payload: { sku: Schema.String, quantity: Schema.Int },
  success: Schema.Int,
  error: Schema.Union([CartIsCheckedOut, NoSuchProduct])
})
const CheckOut = Rpc.make("CheckOut")
const GetItems = Rpc.make("GetItems", {
  payload: { atLeast: Schema.optionalKey(Schema.Int) },
  success: Schema.Record(Schema.String, Schema.Int)
}).pipe(EntityHttp.read)

const Cart = EventSourced.make(EntityType.make("cart", { event: ItemAdded }), {
  state: Schema.Int,
  initial: 0,
  commands: [AddItem, CheckOut, GetItems],
  decide: {
    AddItem: ({ payload }) => Decision.persist([new ItemAdded(payload)], (count: number) => count),
    CheckOut: () => Decision.none,
    GetItems: () => Decision.reply({})
  },
  evolve: (count, event) => count + event.quantity
})

const Api = HttpApi.make("shop").add(EntityHttp.group("carts", Cart)).prefix("/v1")

const receipt = Schema.decodeSync(Receipt.Receipt)(
  Buffer.from(JSON.stringify([1, "journal", "events", "cart|c-1", 3, 7, 1_700_000_000_000_000, 1])).toString(
    "base64url"
  )
)

const secret = "SELECT password FROM customers"
const cause = new Error(secret)
const of = { entityType: "cart", id: "c-1" }
const command = "AddItem"
const failures: Record<string, EntityError.EntityError> = {
  recoveryFailed: new EntityError.RecoveryFailed({ ...of, problem: secret, cause }),
  journalAway: new EntityError.JournalUnavailable({ ...of, isUnknown: false, cause }),
  journalUnknown: new EntityError.JournalUnavailable({ ...of, isUnknown: true, cause }),
  conflict: new EntityError.EntityConflict({ ...of, attempts: 3, cause }),
  overloaded: new EntityError.Overloaded({ ...of, full: "mailbox", limit: 1_000 }),
  invalidCommand: new EntityError.InvalidCommand({ ...of, command, problem: "the command id was used for CheckOut" }),
  threw: new EntityError.DecisionFailed({ ...of, command, problem: secret, cause }),
  hung: new EntityError.DecisionFailed({ ...of, command, problem: secret, cause: new Cause.TimeoutError() }),
  invalidDecision: new EntityError.InvalidDecision({ ...of, command, problem: secret, cause }),
  unreadableReply: new EntityError.InvalidDecision({ ...of, command, problem: secret, wasExecuted: true, cause }),
  unreachable: new EntityError.EntityUnreachable({ ...of, isUnknown: true, problem: secret, cause })
}

/** Stands for what runs entities; tells what it was sent. */
class Sent extends Context.Service<Sent, Array<readonly [id: string, command: Command]>>()("test/Sent") {}

const Runner = Layer.effect(
  Runs("cart"),
  Effect.map(Sent, (sent) => ({
    send: (id: string, command: Command): Effect.Effect<Answer, EntityError.EntityError> => {
      sent.push([id, command])
      const sku = (command.payload as { readonly sku?: string } | undefined)?.sku
      if ((command.payload as { readonly atLeast?: number } | undefined)?.atLeast === -1) {
        return Effect.fail(failures["unreachable"]!)
      }
      if (sku === "dies") return Effect.die(new Error(secret))
      if (sku === "checked-out") return Effect.succeed({ _tag: "Rejected", error: new CartIsCheckedOut() })
      if (sku === "unknown") return Effect.succeed({ _tag: "Rejected", error: new NoSuchProduct({ sku }) })
      if (sku === "no-number") return Effect.succeed({ _tag: "Replied", reply: secret, receipt })
      if (sku !== undefined && sku in failures) return Effect.fail(failures[sku]!)
      switch (command.tag) {
        case "AddItem":
          return Effect.succeed({ _tag: "Replied", reply: 2, receipt })
        case "CheckOut":
          return Effect.succeed({ _tag: "Replied", reply: undefined, receipt: undefined })
        default:
          return Effect.succeed({ _tag: "Replied", reply: { tea: 2 }, receipt: undefined })
      }
    }
  }))
)

const serve = (
  options: {
    readonly maxBodySize?: number
    readonly maxParamLength?: number
    readonly loggers?: ReadonlyArray<Logger.Logger<unknown, void>>
  } = {}
) => {
  const { loggers = [], maxBodySize, maxParamLength } = options
  const group = EntityHttp.layer(Api, "carts", Cart)
  return HttpRouter.serve(
    HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }).pipe(
      Layer.provide(
        maxBodySize === undefined
          ? group
          : Layer.provide(group, Layer.succeed(MaxBodySize, ByteSize.fromInputUnsafe(maxBodySize)))
      )
    ),
    {
      disableLogger: true,
      disableListenLog: true,
      routerConfig: maxParamLength === undefined ? undefined : { maxParamLength }
    }
  ).pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
    Layer.provide(Runner),
    Layer.provideMerge(Layer.sync(Sent, () => [])),
    Layer.provide(Logger.layer(loggers))
  )
}

const send = (path: string, request?: Request) =>
  Effect.tap(sendUnchecked(path, request), ({ text }) =>
    Effect.sync(() => {
      assert.notInclude(text, "SELECT")
      assert.notInclude(text, "    at ")
    }))

const add = (sku: string, headers: Record<string, string> = {}) =>
  send("/v1/carts/c-1/add-item", { body: JSON.stringify({ sku, quantity: 2 }), headers })

const retryAfter = (sku: string, headers?: Record<string, string>) =>
  Effect.map(add(sku, headers), ({ headers }) => headers.get("retry-after"))

const options = { excludeTestServices: true, timeout: "1 minute" } as const

const logged: Array<string> = []
const logger = Logger.make<unknown, void>(({ logLevel, message }) => void logged.push(`${logLevel} ${String(message)}`))

layer(serve({ loggers: [logger] }), options)("the log of EntityHttp", (it) => {
  it.effect("tells of each bug, and of an outage once in a while", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 5; i++) for (const name of ["journalAway", "unreachable", "threw"]) yield* add(name)
      const starting = (text: string) => logged.filter((message) => message.startsWith(text)).length
      assert.deepStrictEqual(
        [
          starting("Warn A command failed: The journal of"),
          starting("Warn A command failed: cart \"c-1\" is not reached"),
          starting("Error A command failed")
        ],
        [1, 1, 5]
      )
      assert.lengthOf(logged, 7)
    }))
})

layer(serve(), options)("EntityHttp", (it) => {
  it.effect("sends commands, and answers with the reply and the receipt", () =>
    Effect.gen(function*() {
      const sent = yield* Sent
      const answer = yield* add("tea", { "Idempotency-Key": "8e03978e" })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.body, 2)
      assert.deepStrictEqual(Schema.decodeSync(Receipt.Receipt)(answer.headers.get("receipt")!), receipt)
      assert.deepStrictEqual(sent.at(-1), ["c-1", {
        tag: "AddItem",
        payload: { sku: "tea", quantity: 2 },
        commandId: "8e03978e"
      }])
      yield* add("tea")
      assert.isUndefined(sent.at(-1)![1].commandId)
    }))

  it.effect("needs no body for a command without a payload, and answers without one where the reply is void", () =>
    Effect.gen(function*() {
      const answer = yield* send("/v1/carts/c-1/check-out")
      assert.strictEqual(answer.status, 204)
      assert.strictEqual(answer.text, "")
      assert.isNull(answer.headers.get("receipt"))
    }))

  it.effect("reads with GET, the payload in the query", () =>
    Effect.gen(function*() {
      const sent = yield* Sent
      const answer = yield* send("/v1/carts/c-1/get-items?atLeast=2", { method: "GET" })
      assert.strictEqual(answer.status, 200)
      assert.deepStrictEqual(answer.body, { tea: 2 })
      assert.deepStrictEqual(sent.at(-1)![1], { tag: "GetItems", payload: { atLeast: 2 }, commandId: undefined })
      assert.strictEqual((yield* send("/v1/carts/c-1/get-items", { method: "GET" })).status, 200)
      assert.strictEqual((yield* send("/v1/carts/c-1/get-items", { method: "HEAD" })).status, 200)
      const wrong = yield* send("/v1/carts/c-1/get-items?atLeast=many", { method: "GET" })
      assert.strictEqual(wrong.status, 400)
      assert.include(wrong.body.message, "atLeast")
    }))

  it.effect("answers rejections with the status of the error, or with 422", () =>
    Effect.gen(function*() {
      const checkedOut = yield* add("checked-out")
      assert.strictEqual(checkedOut.status, 422)
      assert.deepStrictEqual(checkedOut.body, { _tag: "CartIsCheckedOut" })
      const unknown = yield* add("unknown")
      assert.strictEqual(unknown.status, 410)
      assert.deepStrictEqual(unknown.body, { _tag: "NoSuchProduct", sku: "unknown" })
    }))

  it.effect("answers each error with a status and what to do, and tells nothing of the service", () =>
    Effect.gen(function*() {
      const statuses: Record<string, number> = {}
      for (const [name, error] of Object.entries(failures)) {
        const { body, status } = yield* add(name)
        statuses[name] = status
        assert.strictEqual(body._tag, error._tag)
        assert.strictEqual(body.id, "c-1")
        assert.notProperty(body, "cause")
        assert.notInclude(body.message, "command id")
        assert.include(
          body.message,
          error._tag === "InvalidCommand" ? "Idempotency-Key was used for CheckOut" : "\"c-1\""
        )
      }
      assert.deepStrictEqual(statuses, {
        recoveryFailed: 500,
        journalAway: 503,
        journalUnknown: 503,
        conflict: 409,
        overloaded: 503,
        invalidCommand: 400,
        threw: 500,
        hung: 504,
        invalidDecision: 500,
        unreadableReply: 500,
        unreachable: 503
      })
    }))

  it.effect("invites to try again where that is safe", () =>
    Effect.gen(function*() {
      const key = { "idempotency-key": "1" }
      assert.strictEqual(yield* retryAfter("overloaded"), "1")
      assert.strictEqual(yield* retryAfter("journalAway"), "1")
      assert.isNull(yield* retryAfter("journalUnknown"))
      assert.strictEqual(yield* retryAfter("journalUnknown", key), "1")
      assert.isNull(yield* retryAfter("unreachable"))
      assert.strictEqual(yield* retryAfter("unreachable", key), "1")
      assert.isNull(yield* retryAfter("threw", key))
      const read = yield* send("/v1/carts/c-1/get-items?atLeast=-1", { method: "GET" })
      assert.deepStrictEqual([read.status, read.headers.get("retry-after")], [503, "1"])
    }))

  it.effect("refuses what is no command, and says why", () =>
    Effect.gen(function*() {
      const sent = yield* Sent
      const before = sent.length
      const path = "/v1/carts/c-1/add-item"
      const body = JSON.stringify({ sku: "tea", quantity: 2 })
      const refused = Effect.fnUntraced(function*(status: number, why: RegExp, path: string, request?: Request) {
        const answer = yield* send(path, request)
        assert.strictEqual(answer.status, status, answer.text)
        assert.strictEqual(answer.body._tag, "InvalidCommand")
        assert.match(answer.body.message, why)
        return answer
      })
      yield* refused(400, /Expected a valid JSON body/, path, { body: "{" })
      yield* refused(400, /its payload is not what it declares: .*quantity/s, path, {
        body: JSON.stringify({ sku: "tea", quantity: "two" })
      })
      yield* refused(400, /payload/, path, { body: "" })
      yield* refused(400, /payload/, path)
      yield* refused(415, /application\/json/, path, { body, headers: { "content-type": "text/plain" } })
      yield* refused(413, /larger than 1 MiB/, path, {
        body: JSON.stringify({ sku: "x".repeat(2 ** 20), quantity: 1 })
      })
      yield* refused(400, /Idempotency-Key is longer than 200 bytes/, path, {
        body,
        headers: { "idempotency-key": "x".repeat(201) }
      })
      yield* refused(400, /U\+0000/, "/v1/carts/c%00/add-item", { body })
      yield* refused(400, /'\|'/, "/v1/carts/c%7C1/add-item", { body })
      yield* refused(404, /add-item, check-out, get-items/, "/v1/carts/c-1/remove-item", { body })
      yield* refused(404, /no such command/, "/v1/carts/c-1/remove-item", { method: "GET" })
      const { headers } = yield* refused(405, /takes POST alone/, path, { method: "GET" })
      assert.strictEqual(headers.get("allow"), "POST")
      yield* refused(405, /takes GET alone/, "/v1/carts/c-1/get-items")
      for (const id of ["%ZZ", "%", "%2", "a%zzb", "%ff", "%c3%28"]) {
        const answer = yield* refused(400, /the entity id cannot be decoded: encode/, `/v1/carts/${id}/add-item?x`, {
          body
        })
        assert.strictEqual(answer.body.id, id)
      }
      yield* refused(400, /the entity id cannot be decoded/, "/v1/carts/%zz/remove-item", { method: "GET" })
      yield* refused(400, /the entity id is empty/, "/v1/carts//add-item", { body })
      yield* refused(400, /longer than maxParamLength \(100\)/, `/v1/carts/${"x".repeat(101)}/add-item`, { body })
      for (const elsewhere of ["/v1/carts", "/v1/orders/%zz/add-item", "/v1/carts/%zz", "/%zz", "/v1/carts/c-1/%zz"]) {
        const answer = yield* send(elsewhere, { body })
        assert.deepStrictEqual([answer.status, answer.text], [404, ""])
      }
      assert.lengthOf(sent, before)
    }))

  it.effect("takes ids with a slash and other characters", () =>
    Effect.gen(function*() {
      const sent = yield* Sent
      for (const id of ["a/b", "a b?c#d%e", "größe", "add-item"]) {
        assert.strictEqual((yield* send(`/v1/carts/${encodeURIComponent(id)}/check-out`)).status, 204, id)
        assert.strictEqual(sent.at(-1)![0], id)
      }
    }))

  it.effect("tells nothing of a bug, or of a reply that is none", () =>
    Effect.gen(function*() {
      const died = yield* add("dies")
      assert.strictEqual(died.status, 500)
      assert.strictEqual(died.text, "")
      const noNumber = yield* add("no-number")
      assert.strictEqual(noNumber.status, 500)
      assert.strictEqual(noNumber.body._tag, "InvalidDecision")
      assert.include(noNumber.body.message, "has executed \"AddItem\" before")
    }))

  it.effect("describes itself", () =>
    Effect.gen(function*() {
      const { body: api } = yield* send("/openapi.json", { method: "GET" })
      assert.deepStrictEqual(api, JSON.parse(JSON.stringify(OpenApi.fromApi(Api))))
      assert.deepStrictEqual(Object.entries(api.paths).map(([path, item]: any) => [path, Object.keys(item)]), [
        ["/v1/carts/{id}/add-item", ["post"]],
        ["/v1/carts/{id}/check-out", ["post"]],
        ["/v1/carts/{id}/get-items", ["get"]]
      ])
      const { post } = api.paths["/v1/carts/{id}/add-item"]
      assert.strictEqual(post.operationId, "carts.AddItem")
      assert.deepStrictEqual(post.parameters.map((_: any) => [_.in, _.name, _.required]), [
        ["path", "id", true],
        ["header", "idempotency-key", false]
      ])
      assert.deepStrictEqual(
        Object.keys(post.responses).join(" "),
        "200 400 404 405 409 410 413 415 422 500 503 504"
      )
      assert.property(post.responses[200].headers, "receipt")
      const checkOut = api.paths["/v1/carts/{id}/check-out"].post
      assert.notProperty(checkOut, "requestBody")
      assert.property(checkOut.responses, "204")
      const { get } = api.paths["/v1/carts/{id}/get-items"]
      assert.deepStrictEqual(get.parameters.map((_: any) => [_.in, _.name]), [["path", "id"], ["query", "atLeast"]])
      assert.isUndefined(get.responses[200].headers)
    }))

  it.effect("has a client with the types of the commands, and the errors of the entity", () =>
    Effect.gen(function*() {
      const { carts } = yield* HttpApiClient.make(Api, { baseUrl: yield* url })
      const params = { id: "c-1" }
      const added = yield* carts.AddItem({
        params,
        headers: { "idempotency-key": "1" },
        payload: { sku: "tea", quantity: 2 }
      })
      const reply: number = added.body
      assert.strictEqual(reply, 2)
      assert.deepStrictEqual(added.headers.receipt, receipt)
      const items: { readonly [sku: string]: number } = yield* carts.GetItems({ params, payload: { atLeast: 1 } })
      assert.deepStrictEqual(items, { tea: 2 })
      const failing = (sku: string) =>
        Effect.flip(carts.AddItem({ params, headers: {}, payload: { sku, quantity: 2 } }))
      assert.instanceOf(yield* failing("checked-out"), CartIsCheckedOut)
      assert.deepStrictEqual(yield* failing("unknown"), new NoSuchProduct({ sku: "unknown" }))
      for (const [name, error] of Object.entries(failures)) {
        const failed = yield* failing(name)
        assert.strictEqual(failed.constructor, error.constructor)
        assert.strictEqual((failed as EntityError.EntityError).isUnknown, error.isUnknown)
        assert.notInclude(failed.message, "SELECT")
      }
    }).pipe(Effect.provide(FetchHttpClient.layer)))
})

layer(serve({ maxBodySize: 40, maxParamLength: 255 }), options)(
  "EntityHttp with other limits",
  (it) => {
    it.effect("takes requests of another size", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* add("tea")).status, 200)
        const tooLarge = yield* add("x".repeat(20))
        assert.strictEqual(tooLarge.status, 413)
        assert.match(tooLarge.body.message, /40 B/)
      }))

    it.effect("takes longer ids", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* send(`/v1/carts/${"x".repeat(200)}/check-out`)).status, 204)
        const tooLong = yield* send(`/v1/carts/${"x".repeat(252)}/check-out`)
        assert.strictEqual(tooLong.status, 400)
        assert.match(tooLong.body.message, /too long/)
      }))
  }
)

const entity = (...commands: ReadonlyArray<Rpc.Any>) => ({
  name: "cart",
  commands,
  behaviour: Effect.die("it is not run")
})

const paths = (...tags: ReadonlyArray<string>) =>
  Object.values(EntityHttp.group("carts", entity(...tags.map((tag) => Rpc.make(tag)))).endpoints).map(
    ({ path }: any) => path.replace("/carts/:id/", "")
  )

describe("EntityHttp.group", () => {
  it("names paths after commands", () => {
    assert.deepStrictEqual(
      paths("AddItem", "getURL", "HTTPGet", "pay", "put_back", "Add2Items"),
      ["add-item", "get-url", "http-get", "pay", "put-back", "add2-items"]
    )
  })

  it("refuses names that cannot stand in a path, and paths that are the same", () => {
    assert.throws(() => EntityHttp.group("shop/carts", entity()), /'shop\/carts' cannot stand in a path/)
    assert.throws(() => EntityHttp.group("carts", entity(Rpc.make(":id"))), /':id' of 'cart' cannot stand in a path/)
    assert.throws(
      () => EntityHttp.group("carts", entity(Rpc.make("AddItem"), Rpc.make("addItem"))),
      /'AddItem' and 'addItem' of 'cart' have the same path/
    )
    assert.throws(
      () =>
        EntityHttp.group(
          "carts",
          entity(Rpc.make("Get", { payload: Schema.Array(Schema.String) }).pipe(EntityHttp.read))
        ),
      /its payload has to be a struct/
    )
  })

  it.effect("dies if a group has endpoints of others", () =>
    Effect.gen(function*() {
      const api = HttpApi.make("shop").add(
        EntityHttp.group("carts", Cart).add(HttpApiEndpoint.get("List", "/carts"))
      )
      const exit = yield* Effect.exit(
        Effect.scoped(
          Layer.build(Layer.provide(EntityHttp.layer(api, "carts", Cart), [Runner, HttpRouter.layer])).pipe(
            Effect.provideService(Sent, [])
          )
        )
      )
      assert.include(String(exit), "'List'")
    }))
})
