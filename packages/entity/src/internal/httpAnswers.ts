import * as Cause from "effect/Cause"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Struct from "effect/Struct"
import * as EntityError from "../EntityError.ts"

/** @internal The header with which a caller names a command, so that it may come again. */
export const idempotencyKey = "idempotency-key"

/** The statuses that an error may have, the usual one first. */
const statuses: { readonly [Tag in EntityError.EntityError["_tag"]]: ReadonlyArray<number> } = {
  RecoveryFailed: [500],
  JournalUnavailable: [503],
  EntityConflict: [409],
  Overloaded: [503],
  // the others: there is no such command, or not with that method; its payload is too large, or no JSON
  InvalidCommand: [400, 404, 405, 413, 415],
  // the other: its time ran out
  DecisionFailed: [500, 504],
  InvalidDecision: [500],
  EntityUnreachable: [503]
}

/** Seconds. */
const retryAfter = "1"

const isTimeout = (error: EntityError.EntityError): boolean =>
  error._tag === "DecisionFailed" && Cause.isTimeoutError(error.cause)

/** @internal */
export const statusOf = (error: EntityError.EntityError): number => isTimeout(error) ? 504 : statuses[error._tag][0]!

/**
 * What a caller is told of an error: what it may do about it. Causes and problems of the service's own are left out, as they may quote its data, its
 * code and its database.
 */
const told = (error: EntityError.EntityError): EntityError.EntityError => {
  const { entityType, id } = error
  const problem = isTimeout(error) ? "it took too long" : "the log of the service says why"
  switch (error._tag) {
    case "InvalidCommand":
    case "Overloaded":
      return error
    case "EntityConflict":
      return new EntityError.EntityConflict({ entityType, id, attempts: error.attempts })
    case "JournalUnavailable":
      return new EntityError.JournalUnavailable({ entityType, id, isUnknown: error.isUnknown, cause: undefined })
    case "RecoveryFailed":
      return new EntityError.RecoveryFailed({ entityType, id, problem })
    case "DecisionFailed":
      return new EntityError.DecisionFailed({ entityType, id, command: error.command, problem })
    case "InvalidDecision":
      return new EntityError.InvalidDecision({
        entityType,
        id,
        command: error.command,
        problem,
        wasExecuted: error.wasExecuted
      })
    case "EntityUnreachable":
      return new EntityError.EntityUnreachable({ entityType, id, isUnknown: error.isUnknown, problem })
  }
}

/** The error as JSON: its fields and its message, without its cause. A caller in TypeScript gets the error itself again. */
const bodies = EntityError.EntityError.members.map((member) => {
  const { cause: _, ...fields }: Schema.Struct.Fields = member.fields
  const self = member as unknown as Schema.Codec<EntityError.EntityError> & {
    new(fields: object): EntityError.EntityError
  }
  const body = Schema.Struct({ ...fields, message: Schema.String }).pipe(
    Schema.decodeTo(
      Schema.toType(self),
      SchemaTransformation.transform<any, any>({
        decode: (body) => new self({ cause: undefined, ...Struct.omit(body, ["message"]) }),
        // the id of a command has the name of its header here
        encode: (error) => ({ ...error, message: error.message.replaceAll("command id", "Idempotency-Key") })
      })
    )
  )
  return [member.fields._tag.schema.literal, body] as const
})

/** @internal The bodies of all errors, with each status that they may have, for descriptions of the API and for its clients. */
export const errors: ReadonlyArray<Schema.Codec<EntityError.EntityError, unknown>> = bodies.flatMap(([tag, body]) =>
  statuses[tag].map((status) => body.annotate({ httpApiStatus: status }))
)

const encode = Schema.encodeUnknownSync(Schema.Union(bodies.map(([, body]) => body)))

/** @internal The answer to a command that went wrong. */
export const respond = (
  error: EntityError.EntityError,
  options?: {
    readonly status?: number | undefined
    readonly headers?: Record<string, string> | undefined
    /** Whether the caller may repeat the command whatever has happened, as it has given a command id, or only reads. */
    readonly isRepeatable?: boolean | undefined
  }
): HttpServerResponse.HttpServerResponse => {
  const status = options?.status ?? statusOf(error)
  const isInvited = status === 503 && (!error.isUnknown || options?.isRepeatable === true)
  return HttpServerResponse.jsonUnsafe(encode(told(error)), {
    status,
    headers: { ...options?.headers, ...isInvited ? { "retry-after": retryAfter } : {} }
  })
}
