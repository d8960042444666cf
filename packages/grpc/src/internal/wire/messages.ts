import { create } from "@bufbuild/protobuf"
import type { Any, Timestamp as TimestampMessage } from "@bufbuild/protobuf/wkt"
import { TimestampSchema } from "@bufbuild/protobuf/wkt"
import type { EncodedElement, EncodedEnvelope, PlaceInput, Skipped } from "@sluice/core/Envelope"
import * as Envelope from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import type { Payload } from "@sluice/core/Payload"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import type {
  Event,
  FilteredEvent,
  SlicePosition,
  StreamOut
} from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { SlicePositionSchema } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { integer } from "./integer.ts"
import { decodeSaid } from "./metadata.ts"

/** @internal */
export const toTimestampMessage = (timestamp: Timestamp.Timestamp): TimestampMessage =>
  create(TimestampSchema, {
    seconds: BigInt(Math.floor(timestamp / 1_000_000)),
    nanos: (timestamp % 1_000_000) * 1000
  })

/** @internal */
export const fromTimestampMessage = ({ nanos, seconds }: TimestampMessage): Timestamp.Timestamp => {
  if (nanos < 0 || nanos > 999_999_999) {
    throw new RangeError(`${nanos} nanoseconds, which are not between 0 and 999999999`)
  }
  return Timestamp.make(integer(seconds) * 1_000_000 + Math.floor(nanos / 1000))
}

/** @internal */
export const toSlicePositions = (offsets: Offset.Offsets): Array<SlicePosition> =>
  Array.from(
    offsets,
    ([slice, { position, timestamp }]) =>
      create(SlicePositionSchema, { slice, position: BigInt(position), timestamp: BigInt(timestamp) })
  )

/** @internal */
export const fromSlicePositions = (positions: ReadonlyArray<SlicePosition>): Offset.Offsets =>
  new Map(positions.map(({ position, slice, timestamp }) => [
    Slice.make(slice),
    Offset.make(integer(position), integer(timestamp))
  ]))

/** @internal The source of an event that the consumer should have seen, and loads if it has not. */
export const backtracking = "BT"

/** @internal The source of an event that was sent as soon as it was written, ahead of its turn. */
export const published = "PS"

/** @internal How many events the offsets of an init name at most, which are those of one microsecond, of each slice. */
export const maxSeen = 4096

const fromEvent = (message: Event | FilteredEvent): EncodedEnvelope => {
  const { offset: [offset], persistenceId, seqNr, sluicePosition } = message
  if (offset?.timestamp === undefined) throw new RangeError("an event without an offset")
  const id = PersistenceId.parse(persistenceId)
  const place: PlaceInput = {
    persistenceId: id,
    sequenceNumber: SequenceNumber.make(integer(seqNr)),
    // the slice is a function of the id, whatever the peer says
    slice: Slice.ofPersistenceId(id),
    position: sluicePosition === 0n ? undefined : Position.make(integer(sluicePosition)),
    timestamp: fromTimestampMessage(offset.timestamp)
  }
  if (message.$typeName === "akka.projection.grpc.FilteredEvent") return Envelope.encoded(place, undefined)
  const { metadata, payload, sluiceMetadata, tags } = message
  const said = (metadata === undefined ? sluiceMetadata : [metadata, ...sluiceMetadata]).map(fromAny)
  return Envelope.encoded({ ...place, tags, ...decodeSaid(said) }, payload && fromAny(payload))
}

const fromAny = ({ typeUrl, value }: Any): Payload => ({ manifest: typeUrl, bytes: value })

/** @internal Throws at a range that ends before it begins. */
export const skipped = (slice: number, from: number, to: number, timestamp: number, isDeferred: boolean): Skipped => {
  if (from < 1 || to < from) throw new RangeError(`positions ${from} to ${to}, which are no range, left out`)
  return Envelope.skipped(
    Slice.make(slice),
    Position.make(from),
    Position.make(to),
    timestamp === 0 ? undefined : Timestamp.make(timestamp),
    isDeferred
  )
}

/** @internal Adds what the message carries. Throws when it is not what the protocol promises, after what is before. */
export const fromStreamOut = (
  { message }: Pick<StreamOut, "message">,
  elements: Array<EncodedElement>,
  inBatch = false
): void => {
  switch (message.case) {
    case "event":
    case "filteredEvent":
      elements.push(fromEvent(message.value))
      return
    case "sluiceSkipped": {
      const { deferred, from, slice, timestamp, to } = message.value
      elements.push(skipped(slice, integer(from), integer(to), integer(timestamp), deferred))
      return
    }
    case "sluiceBatch":
      if (inBatch) throw new RangeError("a batch in a batch")
      for (const inner of message.value.messages) fromStreamOut(inner, elements, true)
      return
    default:
      throw new RangeError("a message with neither an event nor a filtered event")
  }
}
