/** Events as readers see them, of which only the places count. */
import * as Envelope from "@sluice/core/Envelope"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import type { Slice } from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"

/** The event at a place. */
export const eventAt = (slice: Slice, position: number, timestamp: number): Envelope.EncodedEnvelope =>
  Envelope.encoded({
    persistenceId: PersistenceId.make("note", `${slice}`),
    sequenceNumber: SequenceNumber.make(position),
    slice,
    position: Position.make(position),
    timestamp: Timestamp.make(timestamp)
  }, undefined)
