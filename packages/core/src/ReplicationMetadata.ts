/**
 * What is known of an event of a replicated entity: at which replica it was written first, and what that had seen.
 *
 * @since 0.1.0
 */
import type { SequenceNumber } from "./SequenceNumber.ts"

/**
 * How far a replica has seen the events of an entity, replica by replica. One that is missing has been seen nothing of.
 *
 * @category models
 * @since 0.1.0
 */
export type VersionVector = ReadonlyMap<string, SequenceNumber>

/**
 * Where an event of a replicated entity comes from.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReplicationMetadata {
  /** The replica that the event was written at first. */
  readonly origin: string
  /** The number of the event in the journal of its origin. */
  readonly originSequenceNumber: SequenceNumber
  /** What the replica that stored the event had seen of the entity, this event included. */
  readonly version: VersionVector
  /** Whether the replica that stored the event had seen events which the origin had not, and the origin others. */
  readonly concurrent: boolean
}
