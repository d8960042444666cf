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
import type { Offsets } from "./Offset.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"

/**
 * Where to begin: after the offsets, which were taken in the journal with that identity, if it is known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Start {
  readonly journal: string | undefined
  readonly offsets: Offsets
  /** Whether to go on with the events that are left where some were deleted, instead of failing. */
  readonly pastDeleted?: boolean | undefined
  /**
   * Whether events have to come in the order of their timestamps over all slices. A reader that keeps one timestamp for
   * all slices needs that: it would miss an event that comes after a younger one.
   */
  readonly byTime?: boolean | undefined
}

/**
 * What is asked for of one entity: its events again, from a number on to the last that was read. Later ones come with the logs.
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
  /** The identity of the journal that the positions are in. */
  readonly journal: string
  /** In each slice, positions rise one by one: what is left out between two events is covered by a `Skipped`. */
  readonly envelopes: Stream.Stream<EncodedElement, E, R>
  /**
   * Asks for the events of one entity, which then come among the envelopes, with the positions that they have, before what is next in the
   * logs. An entity whose slice is not read is passed over. Says whether the request was taken: it is not where too many wait already.
   * Undefined where a source cannot be asked. It is there for filters that change while a source is open; no projection asks yet.
   */
  readonly replay?: ((request: Replay) => Effect.Effect<boolean>) | undefined
}

/**
 * How a source says that it is cut off from where its events come from, and trying to get back, and that it is back. A worker shows
 * it in its status.
 *
 * @category models
 * @since 0.1.0
 */
export interface Health {
  /** It is cut off, and tries to get back. */
  readonly disrupted: (cause: Cause.Cause<unknown>) => void
  /** It is back. */
  readonly restored: () => void
}

/**
 * Whom a source tells how it is: nobody by default.
 *
 * @category references
 * @since 0.1.0
 */
export const Health = Context.Reference<Health>("@sluice/core/Source/Health", {
  defaultValue: () => ({ disrupted: () => {}, restored: () => {} })
})
