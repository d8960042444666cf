import type { DescMessage, DescMethod, MessageShape } from "@bufbuild/protobuf"
import { fromBinary, toBinary } from "@bufbuild/protobuf"
import type * as Grpc from "@grpc/grpc-js"
import { EventProducerService } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { Health } from "../generated/grpc/health/v1/health_pb.ts"

/** @internal */
export const encode = <Desc extends DescMessage>(desc: Desc, message: MessageShape<Desc>): Buffer => {
  const bytes = toBinary(desc, message)
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

const pass = (bytes: Buffer): Buffer => bytes

/**
 * Messages pass the library as bytes: they are encoded and decoded where a mistake can be named, and the one that is sent
 * most has a codec of its own.
 */
const definition = (method: DescMethod): Grpc.MethodDefinition<Buffer, Buffer> => ({
  path: `/${method.parent.typeName}/${method.name}`,
  requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
  responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
  requestSerialize: pass,
  requestDeserialize: pass,
  responseSerialize: pass,
  responseDeserialize: pass
})

/** @internal */
export const decode = <Desc extends DescMessage>(desc: Desc, bytes: Uint8Array): MessageShape<Desc> =>
  fromBinary(desc, bytes)

/** @internal */
export const eventProducerService = {
  eventsBySlices: definition(EventProducerService.method.eventsBySlices),
  eventTimestamp: definition(EventProducerService.method.eventTimestamp),
  // one answer, which is the same on the wire as a stream of one: how far it is taken can be seen of a stream only
  loadEvent: { ...definition(EventProducerService.method.loadEvent), responseStream: true },
  latestEventTimestamp: definition(EventProducerService.method.latestEventTimestamp),
  currentEventsByPersistenceId: definition(EventProducerService.method.currentEventsByPersistenceId)
} satisfies Grpc.ServiceDefinition

/** @internal */
export const healthService = {
  check: definition(Health.method.check),
  list: definition(Health.method.list),
  watch: definition(Health.method.watch)
} satisfies Grpc.ServiceDefinition
