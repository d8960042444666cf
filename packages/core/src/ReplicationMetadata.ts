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
  /**
   * What its origin knew of the events of the entity, this one included: those that were stored there, and those that these had seen, of which
   * some may still have been on their way. The same in all replicas.
   */
  readonly version: VersionVector
  /**
   * Whether it was written concurrently, as far as versions tell: that which came with it and that of the replica that stored it each had events that the other had
   * not.
   */
  readonly concurrent: boolean
  /**
   * When it was decided at its origin, by the clock there, and later than any event of the entity that the origin had seen. Undefined where the origin does not
   * say, as Akka does not.
   */
  readonly time?: Timestamp | undefined
}
