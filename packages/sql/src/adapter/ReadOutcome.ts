/**
 * What a read of the journal has found, and what its reader does with that.
 *
 * @since 0.1.0
 */
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Floor from "@sluice/core/Floor"
import { JournalForked, OffsetBelowFloor } from "@sluice/core/Journal"
import type { Offset, Offsets } from "@sluice/core/Offset"
import type { Slice } from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"

/**
 * A log has another history than the one that was read: other events stand where those were, or none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Fork {
  readonly _tag: "Fork"
  readonly slice: Slice
  /** The last event read of the log. */
  readonly offset: Offset
}

/**
 * The outcome of a read:
 *
 * - `Page`: the events that come next; none at the end.
 * - `ReadOn`: it had no new events, but the next one may have.
 * - `Gap`: the event does not follow what was read of its log, up to the offset.
 * - `Fork`.
 *
 * @category models
 * @since 0.1.0
 */
export type ReadOutcome =
  | { readonly _tag: "Page"; readonly events: ReadonlyArray<EncodedEnvelope> }
  | { readonly _tag: "ReadOn" }
  | { readonly _tag: "Gap"; readonly event: EncodedEnvelope; readonly offset: Offset }
  | Fork

/**
 * The outcome of a read that found nothing new, where the next may.
 *
 * @category constants
 * @since 0.1.0
 */
export const readOn: ReadOutcome = { _tag: "ReadOn" }

/**
 * What the readers of an entity type do with outcomes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settling<out E> {
  /** Fails with the fork. */
  readonly forked: (fork: Fork) => Effect.Effect<never, JournalForked>
  /** Fails with what is missing between the offset and the event. */
  readonly gap: (event: EncodedEnvelope, offset: Offset) => Effect.Effect<never, E | OffsetBelowFloor | StorageError>
  /** The events of a page. Reads on by `next`, or fails. */
  readonly settle: <E2>(
    outcome: ReadOutcome,
    next: () => Effect.Effect<ReadonlyArray<EncodedEnvelope>, E2>
  ) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, E | E2 | JournalForked | OffsetBelowFloor | StorageError>
}

/**
 * Settles outcomes of reads of an entity type. `floors` asks up to where events of a range were deleted.
 *
 * @category constructors
 * @since 0.1.0
 */
export const settling = <E>(
  entityType: string,
  floors: (range: SliceRange.SliceRange) => Effect.Effect<Offsets, E>
): Settling<E> => {
  const forked: Settling<E>["forked"] = ({ offset, slice }) =>
    Effect.fail(new JournalForked({ entityType, slice, offset }))
  const gap: Settling<E>["gap"] = (event, offset) =>
    Effect.flatMap(
      floors(SliceRange.make(event.slice, event.slice)),
      (floors) => Effect.fail(missing(entityType, offset, event, floors.get(event.slice)))
    )
  return {
    forked,
    gap,
    settle: (outcome, next) => {
      switch (outcome._tag) {
        case "Page":
          return Effect.succeed(outcome.events)
        case "ReadOn":
          return next()
        case "Gap":
          return gap(outcome.event, outcome.offset)
        case "Fork":
          return forked(outcome)
      }
    }
  }
}

/** What a reader fails with that is at the offset, and then is shown the event. What is between was deleted, or ought to be there. */
const missing = (
  entityType: string,
  offset: Offset,
  { persistenceId, position, sequenceNumber, slice }: EncodedEnvelope,
  floor: Offset | undefined
): OffsetBelowFloor | StorageError =>
  floor !== undefined && Floor.isBelow(offset, floor)
    ? new OffsetBelowFloor({ entityType, slice, offset, floor })
    : new StorageError({
      operation: "read the journal",
      reason: "Damaged",
      cause: new Error(
        `position ${position} of slice ${slice} (event ${sequenceNumber} of '${persistenceId}') follows ${offset.position}`
      )
    })
