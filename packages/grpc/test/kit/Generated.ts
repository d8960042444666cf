/** The messages of envelopes, made with the generated code, to compare ours with. */
import { create } from "@bufbuild/protobuf"
import { AnySchema } from "@bufbuild/protobuf/wkt"
import { type EncodedElement, type EncodedEnvelope, nothing, type Skipped } from "@sluice/core/Envelope"
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
import { fromStreamOut, toTimestampMessage } from "../../src/internal/wire/messages.ts"
import { encodeSaid } from "../../src/internal/wire/metadata.ts"

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
    ...metadataOf(envelope)
  })

const metadataOf = (envelope: EncodedEnvelope) => {
  const [metadata, ...sluiceMetadata] = encodeSaid(envelope).map(({ bytes, manifest }) =>
    create(AnySchema, { typeUrl: manifest, value: bytes })
  )
  return metadata === undefined ? {} : { metadata, sluiceMetadata }
}

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
    message: {
      case: "event",
      value: { ...toEvent({ ...envelope, ...nothing, tags: envelope.tags, payload: undefined }), source: "BT" }
    }
  })

export const toSkipped = ({ from, isDeferred, position, slice, timestamp }: Skipped): StreamOut =>
  create(StreamOutSchema, {
    message: {
      case: "sluiceSkipped",
      value: {
        slice,
        from: BigInt(from),
        to: BigInt(position),
        timestamp: BigInt(timestamp ?? 0),
        deferred: isDeferred
      }
    }
  })

/** As in a batch. */
export const withoutSeen = (answer: StreamOut): StreamOut => {
  const { message } = answer
  if (message.case === "event" || message.case === "filteredEvent") message.value.offset[0]!.seen = []
  return answer
}

export const toBatch = (messages: ReadonlyArray<StreamOut>): StreamOut =>
  create(StreamOutSchema, { message: { case: "sluiceBatch", value: { messages: messages as Array<StreamOut> } } })

/** What a message carries. */
export const elementsOf = (answer: Pick<StreamOut, "message">): ReadonlyArray<EncodedElement> => {
  const elements: Array<EncodedElement> = []
  fromStreamOut(answer, elements)
  return elements
}

/** The event of a message. */
export const envelopeOf = (answer: Pick<StreamOut, "message">): EncodedEnvelope => {
  const [element] = elementsOf(answer)
  if (element === undefined || "_tag" in element) throw new Error("no event")
  return element
}
