/** The messages of envelopes, made with the generated code, to compare ours with. */
import { create } from "@bufbuild/protobuf"
import { AnySchema } from "@bufbuild/protobuf/wkt"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type {
  Event,
  FilteredEvent,
  Offset,
  StreamOut
} from "../../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import {
  EventSchema,
  FilteredEventSchema,
  OffsetSchema,
  PersistenceIdSeqNrSchema,
  StreamOutSchema
} from "../../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { toTimestampMessage } from "../../src/internal/messages.ts"

const toOffsets = ({ persistenceId, sequenceNumber, timestamp }: EncodedEnvelope): Array<Offset> => [
  create(OffsetSchema, {
    timestamp: toTimestampMessage(timestamp),
    seen: [create(PersistenceIdSeqNrSchema, { persistenceId, seqNr: BigInt(sequenceNumber) })]
  })
]

export const toEvent = (envelope: EncodedEnvelope): Event =>
  create(EventSchema, {
    persistenceId: envelope.persistenceId,
    seqNr: BigInt(envelope.sequenceNumber),
    slice: envelope.slice,
    offset: toOffsets(envelope),
    tags: envelope.tags as Array<string>,
    sluicePosition: BigInt(envelope.position ?? 0),
    ...(envelope.payload && {
      payload: create(AnySchema, { typeUrl: envelope.payload.manifest, value: envelope.payload.bytes })
    }),
    ...(Object.keys(envelope.metadata).length > 0 && {
      metadata: create(AnySchema, {
        typeUrl: "json.sluice/metadata",
        value: Buffer.from(JSON.stringify(envelope.metadata))
      })
    })
  })

const toFilteredEvent = (envelope: EncodedEnvelope): FilteredEvent =>
  create(FilteredEventSchema, {
    persistenceId: envelope.persistenceId,
    seqNr: BigInt(envelope.sequenceNumber),
    slice: envelope.slice,
    offset: toOffsets(envelope),
    sluicePosition: BigInt(envelope.position ?? 0)
  })

export const toStreamOut = (envelope: EncodedEnvelope): StreamOut =>
  create(StreamOutSchema, {
    message: envelope.payload === undefined
      ? { case: "filteredEvent", value: toFilteredEvent(envelope) }
      : { case: "event", value: toEvent(envelope) }
  })

export const toRepetition = (envelope: EncodedEnvelope): StreamOut =>
  envelope.payload === undefined ? toStreamOut(envelope) : create(StreamOutSchema, {
    message: { case: "event", value: { ...toEvent({ ...envelope, payload: undefined, metadata: {} }), source: "BT" } }
  })
