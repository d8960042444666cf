/**
 * Entities over HTTP: an endpoint for each command, as a group of an `HttpApi`. Whoever has no TypeScript calls them as well, and the description of the
 * API (OpenAPI) comes with it.
 *
 * @since 0.1.0
 */
import { Receipt } from "@sluice/core/Receipt"
import * as ByteSize from "effect/ByteSize"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiError from "effect/http-api/HttpApiError"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import { MaxBodySize } from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import type { Entity } from "./Entity.ts"
import * as EntityClient from "./EntityClient.ts"
import * as EntityError from "./EntityError.ts"
import * as Answers from "./internal/httpAnswers.ts"

/**
 * Whether a command only reads, for an HTTP API. {@link read} says so of a command.
 *
 * @category annotations
 * @since 0.1.0
 */
export const Read = Context.Reference<boolean>("@sluice/entity/EntityHttp/Read", { defaultValue: () => false })

/**
 * That a command only reads.
 *
 * @category models
 * @since 0.1.0
 */
export interface IsRead {
  readonly "~sluice/EntityHttp/Read": true
}

/**
 * Says that a command only reads: over HTTP it is a `GET`, its payload stands in the query, and it has neither an `Idempotency-Key` nor a receipt.
 *
 * **Example** (A command that is a GET)
 *
 * ```ts
 * import { EntityHttp } from "@sluice/entity"
 * import { Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 *
 * const GetCount = Rpc.make("GetCount", { success: Schema.Int }).pipe(EntityHttp.read)
 * GetCount._tag // => "GetCount"
 * ```
 *
 * @category annotations
 * @since 0.1.0
 */
export const read = <C extends Rpc.Any>(command: C): C & IsRead =>
  // `annotate` gives back a command of the same type
  (command as unknown as Rpc.Rpc<string>).annotate(Read, true) as unknown as C & IsRead

const Params = Schema.Struct({ id: Schema.String })

const Headers = Schema.Struct({ [Answers.idempotencyKey]: Schema.optionalKey(Schema.String) })

const ReplyHeaders = Schema.Struct({ receipt: Schema.optionalKey(Receipt) })

/**
 * What goes wrong between a caller and an entity, as answers to requests: each {@link EntityError.EntityError} with a status, and JSON that says what to
 * do. Every endpoint of a {@link group} has it; {@link layer} implements it.
 *
 * @category services
 * @since 0.1.0
 */
export class Errors extends HttpApiMiddleware.Service<Errors>()("@sluice/entity/EntityHttp/Errors", {
  error: Answers.errors
}) {}

/**
 * The endpoint of a command.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Endpoint<C extends Rpc.Any, Name extends string> = C extends Rpc.Rpc<
  infer Tag,
  infer Payload,
  infer Success,
  infer Failure,
  infer _Middleware,
  infer _Requires
> ? C extends IsRead ? HttpApiEndpoint.HttpApiEndpoint<
      Tag,
      "GET",
      `/${Name}/:id/${string}`,
      typeof Params,
      never,
      PayloadOf<Payload>,
      never,
      Success,
      Failure,
      Errors
    >
  : HttpApiEndpoint.HttpApiEndpoint<
    Tag,
    "POST",
    `/${Name}/:id/${string}`,
    typeof Params,
    never,
    PayloadOf<Payload>,
    typeof Headers,
    HttpApiSchema.WithHeaders<Success, typeof ReplyHeaders>,
    Failure,
    Errors
  >
  : never

type PayloadOf<Payload extends Schema.Top> = [Payload["Type"]] extends [void] ? never : Payload

/** `AddItem` as `add-item`. */
const kebab = (tag: string): string =>
  tag
    .replaceAll(/([a-z\d])([A-Z])/g, "$1-$2")
    .replaceAll(/([A-Z])([A-Z][a-z])/g, "$1-$2")
    .replaceAll(/[\s_]+/g, "-")
    .toLowerCase()

const isSegment = (text: string): boolean => /^[a-z\d](?:[\w.~-]*)$/i.test(text)

const statusOf = ({ ast }: Schema.Top): number | undefined =>
  SchemaAST.resolveAt<number>("httpApiStatus")(ast) ??
    ast.context?.annotations?.["httpApiStatus"]

/** The errors of a command, each with its status: that of the error, or else 422, as the entity has understood the command and rejects it. */
const rejections = (schema: Schema.Top): ReadonlyArray<Schema.Top> => {
  if (SchemaAST.isNever(schema.ast)) return []
  if (statusOf(schema) !== undefined) return [schema]
  const { members } = schema as { readonly members?: ReadonlyArray<Schema.Top> }
  return SchemaAST.isUnion(schema.ast) && members !== undefined
    ? members.flatMap(rejections)
    : [schema.pipe(HttpApiSchema.status(422))]
}

/**
 * The group of an `HttpApi` with an endpoint for each command of an entity.
 *
 * **Details**
 *
 * The command `AddItem` of the entity `c-17` is `POST /carts/c-17/add-item`, with its payload as JSON; a command that is a {@link read} is a `GET`.
 * The reply is the body. A success that is void has status 204. The header `Receipt` says where the events of the command stand, for
 * `ProjectionStatus.reached`.
 *
 * The header `Idempotency-Key` is the id of the command: a request that comes again with the same one is not executed again, and gets the first reply.
 * What was rejected, and what had nothing to persist, is not remembered, and is decided anew.
 *
 * An error that the command declares has the status that it is annotated with (`httpApiStatus`), and 422 without one. The others are those of
 * {@link EntityError.EntityError}: 400 for what is no command, 404 for an unknown one, 409 for a conflict, 503 with `Retry-After` for an overload and for
 * a journal or a process that is away, 504 for a decision that took too long, 500 for a bug. Their body says what to do, and nothing of how the service
 * is built; that stands in its log.
 *
 * Throws a `TypeError` if a name cannot stand in a path, if two commands have the same path, or if the payload of a `GET` is no struct.
 *
 * **Gotchas**
 *
 * Anybody may send commands to any entity. Give the API a middleware that asks who it is.
 *
 * An id is one segment of the path, so encode it: `/` is `%2F`. One that cannot be decoded is answered with 400. The router takes none of more than 100 characters, unless `HttpRouter.serve` is given
 * `routerConfig: { maxParamLength: 255 }`.
 *
 * **Example** (An API)
 *
 * ```ts
 * import { EntityType } from "@sluice/core"
 * import { Decision, EntityHttp, EventSourced } from "@sluice/entity"
 * import { Schema } from "effect"
 * import { HttpApi, OpenApi } from "effect/http-api"
 * import { Rpc } from "effect/rpc"
 *
 * class Incremented extends Schema.TaggedClass<Incremented>()("Incremented", {}) {}
 *
 * const Counter = EventSourced.make(EntityType.make("counter", { event: Incremented }), {
 *   state: Schema.Int,
 *   initial: 0,
 *   commands: [
 *     Rpc.make("Increment", { success: Schema.Int }),
 *     Rpc.make("GetCount", { success: Schema.Int }).pipe(EntityHttp.read)
 *   ],
 *   decide: {
 *     Increment: () => Decision.persist([new Incremented()], (count: number) => count),
 *     GetCount: ({ state }) => Decision.reply(state)
 *   },
 *   evolve: (count) => count + 1
 * })
 *
 * const Api = HttpApi.make("counting").add(EntityHttp.group("counters", Counter))
 * Object.keys(OpenApi.fromApi(Api).paths) // => ["/counters/{id}/increment", "/counters/{id}/get-count"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const group = <const Name extends string, Rpcs extends Rpc.Any>(
  name: Name,
  entity: Entity<any, Rpcs, any>
): HttpApiGroup.HttpApiGroup<Name, Endpoint<Rpcs, Name>> => {
  if (!isSegment(name)) throw new TypeError(`'${name}' cannot stand in a path: letters, digits, '-', '_', '.' and '~'`)
  const paths = new Map<string, string>()
  const endpoints = (entity.commands as ReadonlyArray<Rpc.Any>).map((command): HttpApiEndpoint.Constraint => {
    const { _tag, annotations, errorSchema, payloadSchema, successSchema } = command as Rpc.AnyWithProps
    const segment = kebab(_tag)
    const other = paths.get(segment)
    if (!isSegment(segment)) throw new TypeError(`The command '${_tag}' of '${entity.name}' cannot stand in a path`)
    if (other !== undefined) {
      throw new TypeError(`The commands '${other}' and '${_tag}' of '${entity.name}' have the same path, '${segment}'`)
    }
    paths.set(segment, _tag)
    const isRead = Context.get(annotations, Read)
    const hasPayload = !SchemaAST.isVoid(payloadSchema.ast)
    if (isRead && hasPayload && !SchemaAST.isObjects(SchemaAST.toEncoded(payloadSchema.ast))) {
      throw new TypeError(`The command '${_tag}' of '${entity.name}' is a GET, so that its payload has to be a struct`)
    }
    const success = SchemaAST.isVoid(successSchema.ast) && statusOf(successSchema) === undefined
      ? HttpApiSchema.NoContent
      : successSchema
    const path = `/${name}/:id/${segment}` as const
    const payload = hasPayload ? payloadSchema : undefined
    const error = rejections(errorSchema)
    return isRead
      ? HttpApiEndpoint.get(_tag, path, { params: Params, payload: payload as any, success, error })
        .annotateMerge(annotations)
      : HttpApiEndpoint.post(_tag, path, {
        params: Params,
        headers: Headers,
        payload: payload as any,
        success: HttpApiSchema.WithHeaders(success, ReplyHeaders),
        error
      }).annotateMerge(annotations)
  })
  // the endpoints are those that their types say, which the compiler does not follow
  const all: any = HttpApiGroup.make(name).add(...endpoints as [HttpApiEndpoint.Constraint])
  return all.middleware(Errors)
}

/** How large a request may be where nothing else is said. */
const maxBodySize = ByteSize.fromInputUnsafe("1 MiB")

const isEntityError = (error: unknown): error is EntityError.EntityError =>
  EntityError.EntityError.members.some((member) => error instanceof member)

/** Callers are not told of it. */
const isInternal = (error: EntityError.EntityError): boolean => !("full" in error) && Answers.statusOf(error) >= 500

/** An outage is told of once in so many milliseconds, as it fails each command. */
const outageEach = 10_000

/** Logs what callers are not told of. */
const logging = (entityType: string) => {
  const outages = new Map<string, { readonly until: number; more: number }>()
  return Effect.fnUntraced(function*(error: EntityError.EntityError, id: string, command: string) {
    const annotations = { entity: entityType, id, command }
    if (!error.isRetryable) {
      return yield* Effect.annotateLogs(Effect.logError("A command failed", error), annotations)
    }
    const now = Number(yield* Clock.monotonicTimeNanos) / 1e6
    const outage = outages.get(error._tag)
    if (outage !== undefined && now < outage.until) {
      outage.more++
      return
    }
    const more = outage === undefined || outage.more === 0
      ? ""
      : `, and ${outage.more} others in the same way meanwhile`
    outages.set(error._tag, { until: now + outageEach, more: 0 })
    yield* Effect.annotateLogs(Effect.logWarning(`A command failed${more}: ${error.message}`), annotations)
  })
}

const answering = (
  entityType: string
): HttpApiMiddleware.HttpApiMiddleware<never, ReadonlyArray<Schema.Top>, never> => {
  const log = logging(entityType)
  return (handling, { endpoint }) =>
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const { params } = yield* HttpRouter.RouteContext
      const command = endpoint.identifier
      const id = params["id"]!
      const invalid = (problem: string) => new EntityError.InvalidCommand({ entityType, id, command, problem })
      // a read may be repeated whatever has happened
      const isRepeatable = endpoint.method === "GET" || Answers.idempotencyKey in request.headers
      const limit = (yield* MaxBodySize) ?? maxBodySize
      const respond = Effect.fnUntraced(function*(error: EntityError.EntityError) {
        if (isInternal(error)) yield* log(error, id, command)
        return Answers.respond(error, { isRepeatable })
      })
      return yield* handling.pipe(
        Effect.provideService(MaxBodySize, limit),
        Effect.map((response) =>
          // what comes from the entity never has it
          response.status === 415
            ? Answers.respond(invalid("its payload has to be JSON: say so with `content-type: application/json`"), {
              status: 415
            })
            : response
        ),
        Effect.catch((error: unknown) => {
          if (isEntityError(error)) return respond(error)
          if (!HttpApiError.HttpApiSchemaError.is(error)) return Effect.fail(error as never)
          const problem = error.cause.message
          // the entity has replied by then
          const wasExecuted = endpoint.method !== "GET"
          return error.kind === "Body" || error.kind === "ResponseHeaders"
            ? respond(new EntityError.InvalidDecision({ entityType, id, command, problem, wasExecuted }))
            : respond(invalid(`its ${parts[error.kind]} not what it declares: ${problem}`))
        }),
        Effect.catchDefect((defect) => {
          if (!HttpServerError.isHttpServerError(defect) || defect.reason._tag !== "RequestParseError") {
            return Effect.die(defect)
          }
          return Effect.succeed(
            defect.reason.reason === "BodyTooLarge"
              ? Answers.respond(invalid(`its payload is larger than ${ByteSize.format(limit)}`), {
                status: 413,
                // what is left of it is not read
                headers: { connection: "close" }
              })
              : Answers.respond(invalid("its payload cannot be read"))
          )
        })
      )
    })
}

const parts = { Params: "path is", Headers: "headers are", Query: "query is", Payload: "payload is" } as const

/**
 * Implements the group of an entity in an API by the entity's client, in whatever way the entity is run.
 *
 * **Details**
 *
 * A request may have 1 MiB, unless the layer is given another `HttpIncomingMessage.MaxBodySize`. Where a caller goes away, its command is
 * executed to the end nevertheless if an activation has begun it. Where the entity runs the plain way it is stopped, and all of its events are written, or none.
 *
 * Dies if the group has endpoints that are none of the entity's commands: they belong into a group of their own.
 *
 * **Example** (A server)
 *
 * ```ts skip
 * import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
 * import { EntityType } from "@sluice/core"
 * import { Decision, EntityHttp, EventSourced } from "@sluice/entity"
 * import { SqliteStorage } from "@sluice/sqlite"
 * import { Layer, Schema } from "effect"
 * import { HttpRouter } from "effect/http"
 * import { HttpApi, HttpApiBuilder } from "effect/http-api"
 * import { Rpc } from "effect/rpc"
 * import { createServer } from "node:http"
 *
 * class Incremented extends Schema.TaggedClass<Incremented>()("Incremented", {}) {}
 *
 * const Counter = EventSourced.make(EntityType.make("counter", { event: Incremented }), {
 *   state: Schema.Int,
 *   initial: 0,
 *   commands: [Rpc.make("Increment", { success: Schema.Int })],
 *   decide: { Increment: () => Decision.persist([new Incremented()], (count: number) => count) },
 *   evolve: (count) => count + 1
 * })
 *
 * const Api = HttpApi.make("counting").add(EntityHttp.group("counters", Counter))
 *
 * // POST http://localhost:8100/counters/c-1/increment
 * const Server = HttpRouter.serve(
 *   HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }).pipe(
 *     Layer.provide(EntityHttp.layer(Api, "counters", Counter))
 *   )
 * ).pipe(
 *   Layer.provide(EventSourced.layer(Counter)),
 *   Layer.provide(SqliteStorage.layer({ filename: "counter.db" })),
 *   Layer.provide(NodeHttpServer.layer(createServer, { port: 8100 }))
 * )
 *
 * NodeRuntime.runMain(Layer.launch(Server))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <
  ApiId extends string,
  Groups extends HttpApiGroup.Constraint,
  const Name extends HttpApiGroup.Identifier<Groups>,
  EntityName extends string,
  Rpcs extends Rpc.Any
>(
  api: HttpApi.HttpApi<ApiId, Groups>,
  name: Name,
  entity: Entity<EntityName, Rpcs, any>
): Layer.Layer<
  HttpApiGroup.Service<ApiId, Name>,
  never,
  EntityClient.Runs<EntityName> | HttpRouter.HttpRouter | Rpc.ServicesServer<Rpcs>
> =>
  HttpApiBuilder.group(
    api,
    name,
    Effect.fnUntraced(function*(handlers: any) {
      const { endpoints } = api.groups[name] as unknown as HttpApiGroup.Top
      const client: any = yield* EntityClient.make(entity)
      const commands = new Set((entity.commands as ReadonlyArray<Rpc.Any>).map(({ _tag }) => _tag))
      const foreign = Object.keys(endpoints).filter((tag) => !commands.has(tag))
      if (foreign.length > 0) {
        return yield* Effect.die(
          new TypeError(
            `The group '${name}' has endpoints that are no commands of '${entity.name}', such as '${foreign[0]}': ` +
              "put them into a group of their own"
          )
        )
      }
      for (const { _tag, annotations } of entity.commands as ReadonlyArray<Rpc.Any>) {
        handlers = handlers.handle(
          _tag,
          Context.get(annotations, Read)
            ? ({ params, payload }: Handled) => client(params.id)[_tag](payload)
            : ({ headers, params, payload }: Handled) =>
              Effect.map(
                client(params.id)[_tag].withReceipt(payload, { commandId: headers[Answers.idempotencyKey] }),
                ({ receipt, reply }: EntityClient.Acknowledged<unknown>) =>
                  HttpApiSchema.withHeaders({ body: reply, headers: receipt === undefined ? {} : { receipt } })
              )
        )
      }
      yield* addUnknown(entity.name, endpoints)
      return handlers as HttpApiBuilder.Handlers<never>
    })
  ).pipe(Layer.provide(Layer.succeed(Errors, answering(entity.name)))) as any

interface Handled {
  readonly params: { readonly id: string }
  readonly headers: { readonly [Answers.idempotencyKey]?: string }
  readonly payload: unknown
}

/** Answers commands that there are not, those with a wrong method, and those whose id the router does not take. */
const addUnknown = Effect.fnUntraced(function*(entityType: string, endpoints: HttpApiGroup.Top["endpoints"]) {
  const router = yield* HttpRouter.HttpRouter
  const methods = new Map(
    Object.values(endpoints).map(({ method, path }) => [path.slice(path.lastIndexOf("/") + 1), method])
  )
  const [first] = Object.values(endpoints)
  if (first === undefined) return
  const path = `${first.path.slice(0, first.path.lastIndexOf("/"))}/:command` as HttpRouter.PathInput
  const answer = Effect.map(HttpRouter.RouteContext, ({ params }) => {
    const { command, id } = params as { readonly command: string; readonly id: string }
    const method = methods.get(command)
    const problem = method === undefined
      ? `there is no such command, but these: ${[...methods.keys()].join(", ")}`
      : `it takes ${method} alone`
    return Answers.respond(
      new EntityError.InvalidCommand({ entityType, id, command, problem }),
      method === undefined ? { status: 404 } : { status: 405, headers: { allow: method } }
    )
  })
  // HEAD is answered by what answers GET
  for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"] as const) yield* router.add(method, path, answer)

  const segments = path.split("/")
  /** The answer to a request that no route was found for; undefined where it is none for these entities. */
  const answerToLost = ({ description, request }: HttpServerError.RouteNotFound) => {
    // there may be a prefix
    const sent = request.url.replace(/[?#].*$/s, "").split("/").slice(-segments.length + 1)
    if (!segments.slice(1, -2).every((segment, i) => segment === sent[i])) return undefined
    const [id, command] = sent.slice(-2) as [string, string]
    if (!isDecodable(command)) return undefined
    const problem = id === ""
      ? "the entity id is empty"
      : isDecodable(id)
      ? description
      : "the entity id cannot be decoded: encode it as one segment of a path, so that '%' is '%25'"
    return problem && Answers.respond(new EntityError.InvalidCommand({ entityType, id, command, problem }))
  }
  yield* router.addGlobalMiddleware((handling) =>
    Effect.catch(handling, (error) => {
      const answer = HttpServerError.isHttpServerError(error) && error.reason._tag === "RouteNotFound" &&
        answerToLost(error.reason)
      return answer ? Effect.succeed(answer) : Effect.fail(error)
    })
  )
})

const isDecodable = (segment: string): boolean => {
  try {
    decodeURIComponent(segment)
    return true
  } catch {
    return false
  }
}
