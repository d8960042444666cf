import { create } from "@bufbuild/protobuf"
import * as Grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import { frame, type IncomingCall, type Method } from "../../Call.ts"
import { EventProducerService } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import {
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
  HealthListResponseSchema
} from "../generated/grpc/health/v1/health_pb.ts"
import { decodeRequest } from "../wire/decodeRequest.ts"
import { encode, healthPaths as paths } from "../wire/methods.ts"
import { parse, Status } from "../wire/status.ts"
import type { Run } from "./Run.ts"
import { requestOf, streaming, unary } from "./serverCall.ts"

const { NOT_SERVING, SERVICE_UNKNOWN, SERVING } = HealthCheckResponse_ServingStatus

/** @internal What a server says of itself. */
export interface Health {
  readonly methods: ReadonlyArray<Method>
  /** Whether the server as a whole serves. */
  readonly server: (serves: boolean) => void
  /** Whether it offers any stream. */
  readonly producer: (serves: boolean) => void
}

const requested = (bytes: Buffer) =>
  Effect.map(parse("request", () => decodeRequest(HealthCheckRequestSchema, bytes)), (request) => request.service)

const respond = (status: HealthCheckResponse_ServingStatus) =>
  encode(HealthCheckResponseSchema, create(HealthCheckResponseSchema, { status }))

/**
 * @internal
 * Answers `grpc.health.v1`. (The library `grpc-health-check` leaves the calls of those who watch open, for which a server that
 * shuts down would wait, and its descriptors are none that reflection could show.)
 */
export const makeHealth = (run: Run): Health => {
  const statuses = new Map<string, HealthCheckResponse_ServingStatus>()
  const watchers = new Set<() => void>()
  // at once, as the next thing to happen may be the end of the calls
  const setter = (service: string) => {
    statuses.set(service, NOT_SERVING)
    return (serves: boolean) => {
      statuses.set(service, serves ? SERVING : NOT_SERVING)
      for (const tell of watchers) tell()
    }
  }

  const check = (bytes: Buffer) =>
    Effect.flatMap(requested(bytes), (service) => {
      const status = statuses.get(service)
      return status === undefined
        ? Effect.fail(new Status(Grpc.status.NOT_FOUND, `there is no service '${service}' here`))
        : Effect.succeed(respond(status))
    })
  const list = Effect.sync(() =>
    encode(
      HealthListResponseSchema,
      create(HealthListResponseSchema, {
        statuses: Object.fromEntries(
          Array.from(statuses, ([service, status]) => [service, create(HealthCheckResponseSchema, { status })])
        )
      })
    )
  )
  const watch = (call: IncomingCall) =>
    Effect.flatMap(Effect.flatMap(requestOf(call), requested), (service) =>
      Effect.callback<never>(() => {
        let told: HealthCheckResponse_ServingStatus | undefined
        const tell = () => {
          const status = statuses.get(service) ?? SERVICE_UNKNOWN
          if (status !== told) call.write(frame(respond(told = status)), () => {})
        }
        tell()
        watchers.add(tell)
        return Effect.sync(() => watchers.delete(tell))
      }))

  return {
    server: setter(""),
    producer: setter(EventProducerService.typeName),
    methods: [
      unary(paths.check, run, check),
      unary(paths.list, run, () => list),
      streaming(paths.watch, run, watch)
    ]
  }
}
