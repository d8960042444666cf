/**
 * Why an event does not follow the one before it in its log.
 *
 * @since 0.1.0
 */
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Floor from "@sluice/core/Floor"
import { OffsetBelowFloor } from "@sluice/core/Journal"
import type { Offset } from "@sluice/core/Offset"
import { StorageError } from "@sluice/core/StorageError"

/**
 * What a reader fails with that is at the offset, and then is shown the event. What is between was deleted, or ought to be there.
 *
 * @category constructors
 * @since 0.1.0
 */
export const error = (options: {
  readonly entityType: string
  readonly offset: Offset
  readonly event: EncodedEnvelope
  readonly floor: Offset | undefined
}): OffsetBelowFloor | StorageError => {
  const { entityType, event: { persistenceId, position, sequenceNumber, slice }, floor, offset } = options
  return floor !== undefined && Floor.isBelow(offset, floor)
    ? new OffsetBelowFloor({ entityType, slice, offset, floor })
    : new StorageError({
      operation: "read the journal",
      reason: "Damaged",
      cause: new Error(
        `position ${position} of slice ${slice} (event ${sequenceNumber} of '${persistenceId}') follows ${offset.position}`
      )
    })
}
