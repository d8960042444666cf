/**
 * How one worker of a projection is doing, as it is known in every process.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type { Owner, ReportedFailure, Stuck } from "./HeartbeatStore.ts"
import type { SliceRange } from "./SliceRange.ts"
import type { Timestamp } from "./Timestamp.ts"
import type { WorkerState } from "./WorkerStatus.ts"

/**
 * How a worker of any process is doing, as that process has said last.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReportedWorker {
  readonly projection: string
  readonly source: string
  readonly range: SliceRange
  /** The process that it runs in. */
  readonly owner: Owner
  /** `Unknown` if its process has given no sign of life for three intervals: it may have ended, be halted, or be cut off from the storage. */
  readonly state: WorkerState | "Unknown"
  /**
   * How many events it is behind its source. Undefined if that is not known: the source cannot be asked, or has no positions, or the projection was
   * rewound and the worker has not begun anew.
   */
  readonly lag: number | undefined
  /** For how long it is behind its source, at most: from the newest event that is stored to the newest one of the source. */
  readonly timeLag: Duration.Duration | undefined
  /** How many events it handles in a second, smoothed over some 10 seconds. */
  readonly rate: number | undefined
  /** How long after `at` it will have caught up, if its lag goes on to fall as it does; undefined if that is not known, or takes more than 30 days. */
  readonly eta: Duration.Duration | undefined
  /** What it has failed with last, also if it goes on since. */
  readonly failure: ReportedFailure | undefined
  /**
   * Where it does not get on, if it has not done so for 10 seconds or more: in a slice, of which its source has more, or, where the slice is undefined, as
   * it has not begun, fails again and again, or is to look through a part of the past once more. `ProjectionHealth` judges that.
   */
  readonly stuck: Stuck | undefined
  /** How often it has restarted, or was fenced, since its process began. */
  readonly restarts: number
  /** The version of its stream's filter that it goes by. */
  readonly filterVersion: number | undefined
  /**
   * How many events it has yet to look through for earlier ones that a change of its filter has included, with the history `"now"`, or that are to be repaired; they are no
   * part of its lag. 0 if there are none, undefined if that is not known.
   */
  readonly pastLag: number | undefined
  /** When its process has given a sign of life last, by the clock of the database. */
  readonly at: Timestamp
}
