/**
 * How far a replica of replicated entities has stored the events of another one, as it says itself.
 *
 * @since 0.1.0
 */
import type { EventFilter } from "@sluice/core/EventFilter"
import type { Offsets } from "@sluice/core/Offset"
import type { ReportedWorker } from "@sluice/core/ReportedWorker"
import type { Slice } from "@sluice/core/Slice"

/**
 * How far a replica has stored the events of another one.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReplicaProgress {
  /** The identity of the journal that the offsets are of; undefined where nothing is stored, or they are of several. */
  readonly journal: string | undefined
  /** How far it has come in each log. */
  readonly offsets: Offsets
  /**
   * The logs of which some is not stored, though the replica has gone past it: events wait for their entities, or are still to be looked through for a filter.
   */
  readonly incomplete: ReadonlySet<Slice>
  /** How many events were put aside, as their entities do not take them. */
  readonly waiting: number
  /** What the workers do that consume the other replica, as the least of them. `Unknown` where none has given a sign of life, or not those of all slices. */
  readonly state: ReportedWorker["state"]
  /** The replicas that it consumes. */
  readonly others: ReadonlyArray<string>
  /** The filter by which it takes the events of the other one; undefined where it takes all, or has not begun. */
  readonly filter?: EventFilter | undefined
}
