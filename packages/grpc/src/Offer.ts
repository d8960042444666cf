/**
 * A stream that a server offers to consumers.
 *
 * @since 0.1.0
 */
import type { EncodedEnvelope, Place } from "@sluice/core/Envelope"
import type { Feed } from "@sluice/core/Feed"
import type { Offsets } from "@sluice/core/Offset"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type { SliceRange } from "@sluice/core/SliceRange"
import type { EntityEncodedOptions, OpenEncodedOptions } from "@sluice/core/Source"
import type { Timestamp } from "@sluice/core/Timestamp"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Caller } from "./Caller.ts"
import type { ProducerReplica } from "./ReplicaInfo.ts"
import type { Changing, Visible } from "./Visibility.ts"

/**
 * A stream to be offered: a source with everything that it needs, its events encoded as the stream's.
 *
 * @category models
 * @since 0.1.0
 */
export interface Offer {
  /** The id of the stream. */
  readonly id: string
  /** The entity type that all persistence ids begin with, where it is known. */
  readonly entityType: string | undefined
  /** As `supersedes` of a source's provider. */
  readonly supersedes: boolean
  /** What those tags begin with that are topics; `EventFilter.defaultTopicPrefix` if undefined. */
  readonly topicPrefix?: string | undefined
  /** What a caller may see of it; everything if undefined. What it fails with refuses the call. */
  readonly select?: ((caller: Caller) => Effect.Effect<Visible | Changing, unknown>) | undefined
  /** Which events are never for a caller; none if undefined. */
  readonly drop?: ((caller: Caller) => (event: Place) => boolean) | undefined
  /** Which replica it is of, where its entities are replicated. */
  readonly replica?: ProducerReplica | undefined
  /** Opens a slice range, for one consumer. */
  readonly open: (options: OpenEncodedOptions) => Effect.Effect<Feed<unknown>, unknown, Scope.Scope>
  /** One entity's events, numbered from `from` to `to`, both included. */
  readonly entity: (
    persistenceId: PersistenceId,
    from: SequenceNumber,
    to: SequenceNumber,
    options?: EntityEncodedOptions
  ) => Stream.Stream<EncodedEnvelope, unknown>
  /** The newest position and timestamp of each log in the range that has events. */
  readonly heads: (range: SliceRange) => Effect.Effect<Offsets, unknown>
  /** As `Provider.before` of a source. */
  readonly before: (range: SliceRange, time: Timestamp) => Effect.Effect<Offsets, unknown>
  /** Whether the source has nothing of what it offers, though its journal has other events. */
  readonly isMissing: Effect.Effect<boolean, unknown>
  /** What time it is by the clock that events are stamped with. */
  readonly now: Effect.Effect<Timestamp, unknown>
}
