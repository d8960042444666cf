/**
 * The metadata of an event of a replicated entity: the replica that it was written at first, and which events that
 * replica had seen.
 *
 * @since 0.1.0
 */
import type { SequenceNumber } from "./SequenceNumber.ts"
import type { Timestamp } from "./Timestamp.ts"

/**
 * How far a replica has seen the events of an entity, replica by replica. Of a replica that is missing it has seen
 * none.
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
  /** Which events of the entity the replica that stored this one had seen, this one included. */
  readonly version: VersionVector
  /**
   * Whether it was written concurrently: its origin and the replica that stored it had each seen events that the other
   * had not.
   */
  readonly concurrent: boolean
  /**
   * When it was decided at its origin, by the clock there, and later than any event of the entity that the origin had seen. Undefined where the origin does not
   * say, as Akka does not.
   */
  readonly time?: Timestamp | undefined
}
