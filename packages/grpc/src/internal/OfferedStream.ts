import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { Offsets } from "@sluice/core/Offset"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type { SliceRange } from "@sluice/core/SliceRange"
import type { Feed, OpenOptions } from "@sluice/core/Source"
import type { Timestamp } from "@sluice/core/Timestamp"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"

/** @internal A stream that a server offers: a source with everything that it needs. */
export interface OfferedStream {
  readonly id: string
  readonly entityType: string | undefined
  readonly open: (options: OpenOptions) => Effect.Effect<Feed<unknown>, unknown, Scope.Scope>
  readonly entity: (
    persistenceId: PersistenceId,
    from: SequenceNumber,
    to: SequenceNumber
  ) => Stream.Stream<EncodedEnvelope, unknown>
  readonly heads: (range: SliceRange) => Effect.Effect<Offsets, unknown>
  readonly now: Effect.Effect<Timestamp, unknown>
  /** Runs what a call does. It is interrupted, and waited for, when the stream is offered no longer. */
  readonly within: <A>(effect: Effect.Effect<A, unknown>) => Effect.Effect<A, unknown>
}
