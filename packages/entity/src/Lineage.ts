/**
 * What a kind of event sourced entity says of its events beside their state, where some of them are not its own: of a replicated entity, which replica
 * each was written at first, and what that had seen.
 *
 * @since 0.1.0
 */
import type { EncodedEnvelope, Metadata } from "@sluice/core/Envelope"
import type { Payload } from "@sluice/core/Payload"
import type { ReplicationMetadata } from "@sluice/core/ReplicationMetadata"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type { Timestamp } from "@sluice/core/Timestamp"
import type * as Rpc from "effect/rpc/Rpc"

/**
 * An event that is to be stored as it was written elsewhere.
 *
 * @category models
 * @since 0.1.0
 */
export interface Arrived {
  readonly event: unknown
  /** The event as it was written there, which may have more than is decoded here; undefined where it is encoded anew. */
  readonly payload: Payload | undefined
  readonly replication: ReplicationMetadata
  readonly metadata: Metadata
}

/**
 * Where the events of entities come from. `Known` is what an entity keeps of that: a value, which nobody changes in place.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lineage<in out Known> {
  /** What stands behind the entity type in the persistence id of an entity. */
  readonly journalId: (id: string) => string
  /** Why an id, which would do for an entity of one's own, will not, if so. */
  readonly idProblem: (id: string) => string | undefined
  /** Before the first event. */
  readonly initial: Known
  /** What a snapshot is to say of it. */
  readonly encode: (known: Known) => Metadata
  /** What a snapshot says of it that includes the events up to a number. Throws where that is none. */
  readonly decode: (metadata: Metadata, sequenceNumber: number) => Known
  /** What a function of `decide` is told beside its request. */
  readonly request: (known: Known, now: Timestamp) => object
  /** What is to be stored with the next event that is decided here. */
  readonly written: (known: Known, sequenceNumber: SequenceNumber, now: Timestamp) => ReplicationMetadata
  /** Where a stored event comes from. */
  readonly stored: (
    event: Pick<EncodedEnvelope, "replication" | "sequenceNumber" | "timestamp">
  ) => ReplicationMetadata
  /** What is known after an event. */
  readonly after: (known: Known, replication: ReplicationMetadata) => Known
  /** What `evolve` is told of an event, beside its place. */
  readonly place: (replication: ReplicationMetadata, isRecovering: boolean) => object
  /**
   * A command that no caller sends: with it, events come that were written elsewhere. Its function is told what is known. As it is harmless to repeat, its id is
   * not remembered.
   */
  readonly arrival: Rpc.Any
  /** What that command decides: a decision whose events are {@link Arrived}. */
  readonly arrive: (
    request: {
      readonly id: string
      readonly payload: any
      readonly state: any
      readonly sequenceNumber: number
    },
    known: Known,
    now: Timestamp
  ) => unknown
}
