/**
 * A source that is open, and where it was told to begin.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { EncodedElement } from "./Envelope.ts"
import type { EventFilter } from "./EventFilter.ts"
import type { Offsets } from "./Offset.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"

/**
 * What stands for the identity of a journal without positions, such as that of a plain Akka producer. Offsets there are timestamps, at position 0:
 * every event up to the timestamp was read. What was handled is known by the sequence numbers of the entities.
 *
 * @category constants
 * @since 0.1.0
 */
export const timestamps = "timestamps"

/**
 * Where to begin: after the offsets. They were taken in the journal with this identity, if it is known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Start {
  readonly journal: string | undefined
  readonly offsets: Offsets
  /** Whether to go on after events that were deleted, instead of failing. */
  readonly pastDeleted?: boolean | undefined
  /** Which events are wanted, of a source that takes a filter. Without it the source goes by the one that it begins with. */
  readonly filter?: EventFilter | undefined
  /**
   * Whether events have to come in the order of their timestamps over all slices. A reader that keeps one timestamp for
   * all slices needs that: it would miss an event that comes after a younger one.
   */
  readonly byTime?: boolean | undefined
  /**
   * Whether the reader loads an event that it has not handled and of which only the place comes, as a reminder. Such places are left out
   * otherwise.
   */
  readonly reminders?: boolean | undefined
  /** Whether only the places of events are wanted, with their tags. A source need not show payloads then. */
  readonly placesOnly?: boolean | undefined
}

/**
 * A request for the events of one entity again: from a number on, up to the last one that was read. Later ones come
 * with the logs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Replay {
  readonly persistenceId: PersistenceId
  readonly from: SequenceNumber
}

/**
 * A source that is open. Its envelopes have no end: they wait for the next event.
 *
 * @category models
 * @since 0.1.0
 */
export interface Feed<out E, out R = never> {
  /** The identity of the journal that the positions are in, or of logs in it (`LogsIdentity`). */
  readonly journal: string
  /** As `supersedes` of a provider, if only the one who sends the events knows. */
  readonly supersedes?: boolean | undefined
  /**
   * In each slice, positions rise one by one. A `Skipped` covers the positions that are left out between two events.
   */
  readonly envelopes: Stream.Stream<EncodedElement, E, R>
  /**
   * Asks for the events of one entity. They come among the envelopes, with their own positions, before the next events
   * of the logs. An entity of another type, or whose slice is not read, has none. Returns false, and does nothing, if too many requests wait
   * already. Undefined if the source has no replay.
   */
  readonly replay?: ((request: Replay) => Effect.Effect<boolean>) | undefined
  /** Whether an element of the last array that came was asked for by `replay`, and is none that is next in the logs. */
  readonly isReplayed?: ((element: EncodedElement) => boolean) | undefined
  /**
   * Sets what is shown before the feed waits for new events, if that is not empty. So who passes the envelopes on may hold some of them back while more
   * are read. Undefined if the source does not know when it waits.
   */
  readonly beforeWaiting?: ((rest: () => ReadonlyArray<EncodedElement>) => void) | undefined
}

/**
 * How a source reports that it is disrupted, and that it is restored. A worker shows it in its status.
 *
 * @category models
 * @since 0.1.0
 */
export interface Health {
  /** It is cut off from where its events come from, and tries to reconnect. */
  readonly disrupted: (cause: Cause.Cause<unknown>) => void
  /** It is connected again. */
  readonly restored: () => void
}

/**
 * Receives the health of a source. By default nobody does.
 *
 * @category references
 * @since 0.1.0
 */
export const Health = Context.Reference<Health>("@sluice/core/Source/Health", {
  defaultValue: () => ({ disrupted: () => {}, restored: () => {} })
})
