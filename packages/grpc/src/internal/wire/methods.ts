import type { DescMessage, DescMethod, MessageShape } from "@bufbuild/protobuf"
import { fromBinary, toBinary } from "@bufbuild/protobuf"
import { EventProducerService } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { Health } from "../generated/grpc/health/v1/health_pb.ts"

/** @internal */
export const encode = <Desc extends DescMessage>(desc: Desc, message: MessageShape<Desc>): Buffer => {
  const bytes = toBinary(desc, message)
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** @internal */
export const decode = <Desc extends DescMessage>(desc: Desc, bytes: Uint8Array): MessageShape<Desc> =>
  fromBinary(desc, bytes)

const pathOf = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`

/** @internal The paths of the methods. */
export const eventProducerPaths = {
  eventsBySlices: pathOf(EventProducerService.method.eventsBySlices),
  eventTimestamp: pathOf(EventProducerService.method.eventTimestamp),
  loadEvent: pathOf(EventProducerService.method.loadEvent),
  latestEventTimestamp: pathOf(EventProducerService.method.latestEventTimestamp),
  currentEventsByPersistenceId: pathOf(EventProducerService.method.currentEventsByPersistenceId)
}

/** @internal */
export const healthPaths = {
  check: pathOf(Health.method.check),
  list: pathOf(Health.method.list),
  watch: pathOf(Health.method.watch)
}

/** @internal The name of a method without its service's. */
export const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1)
