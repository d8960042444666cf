/** Appends as a journal hands them to its lanes. */
import type { AppendRequest, Written } from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Arr from "effect/Array"

let ids = 0

/** An append to the entity, of so many events with so many bytes each. */
export const request = (entity: string, options?: {
  readonly entityType?: string
  readonly events?: number
  readonly bytes?: number
}): AppendRequest => {
  const { bytes = 1, entityType = "note", events = 1 } = options ?? {}
  return {
    entityType,
    persistenceId: PersistenceId.make(entityType, entity),
    expected: "any",
    events: Arr.makeBy(events, () => ({
      id: `00000000-0000-4000-8000-${String(ids++).padStart(12, "0")}`,
      payload: { manifest: "", bytes: new Uint8Array(bytes) },
      tags: [],
      metadata: {}
    })),
    recheck: false
  }
}

/** What a server may have answered. */
export const written = ({ events, persistenceId }: AppendRequest): Written => ({
  persistenceId,
  slice: Slice.ofPersistenceId(persistenceId),
  sequenceNumber: SequenceNumber.make(events.length),
  position: Position.make(events.length),
  timestamp: Timestamp.make(1000 + events.length),
  count: events.length
})
