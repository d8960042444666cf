/**
 * How one worker of a projection is doing.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type * as Offset from "./Offset.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"
import type { SliceRange } from "./SliceRange.ts"
import type { Timestamp } from "./Timestamp.ts"

/**
 * What a worker is doing:
 *
 * - `Starting`: it reads its command, loads its offsets, and opens its source.
 * - `CatchingUp`: it handles the events that its source had when it was opened.
 * - `Running`: it has caught up, and handles new events.
 * - `Disrupted`: its source is cut off from where its events come from, and tries to reconnect.
 * - `Restarting`: it has failed. It waits, and opens its source again.
 * - `Fenced`: another worker is working on the same slices. It waits, and looks again.
 * - `Paused`: it waits for a command to go on.
 * - `Retired`: another version of its projection has taken its place, or the building of its own was cancelled. It does nothing any more.
 * - `Stopped`: it has met an event that it must not pass, or a final error, such as a journal that its offsets do not
 *   belong to. No restart helps. It goes on once its projection is resumed.
 * - `Ended`: nobody runs it any more.
 *
 * @category models
 * @since 0.1.0
 */
export type WorkerState =
  | "Starting"
  | "CatchingUp"
  | "Running"
  | "Disrupted"
  | "Restarting"
  | "Fenced"
  | "Paused"
  | "Retired"
  | "Stopped"
  | "Ended"

/**
 * Why a worker is disrupted, restarting, fenced or stopped, and at which event, if an event is the reason.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkerFailure {
  readonly cause: Cause.Cause<unknown>
  readonly event: { readonly persistenceId: PersistenceId; readonly sequenceNumber: SequenceNumber } | undefined
}

/**
 * Why a worker that is not exactly-once hands over nothing for now: it cannot tell whether its filter is the newest, as the storage takes longer than half
 * a second to say so, or does not say it.
 *
 * @category models
 * @since 0.1.0
 */
export interface FilterWait {
  /** By the clock of this process. */
  readonly since: Timestamp
  /** How many milliseconds the storage took to answer last; undefined if it has failed to. */
  readonly tookMillis: number | undefined
}

/**
 * How a worker is doing, and how far it has come.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkerStatus {
  readonly projection: string
  /** The key of the source that it reads. */
  readonly source: string
  readonly range: SliceRange
  readonly state: WorkerState
  readonly failure: WorkerFailure | undefined
  /**
   * What is odd about its source, though it may be on purpose, such as that a journal has events, but none of the entity type, until a worker of
   * the projection in this process knows of one; or why the source does not say how far behind the worker is.
   */
  readonly notice: string | undefined
  /** Envelopes that the handler was done with, since the process began. */
  readonly handled: number
  /** Envelopes that it has gone past without the handler: skipped, put aside, or queued behind those. */
  readonly skipped: number
  /**
   * The entities that it knows to be parked, as an event of them was put aside. One whose dead letters were handled since counts until its next event.
   * `ProjectionManagement.deadLetterCounts` says how many there are in all, and how many events wait.
   */
  readonly parked: number
  /** How often the worker has restarted, or was fenced, since the process began. */
  readonly restarts: number
  /** That of the last rewind, or of the last change of its filter, before it began; 0 if there was none, undefined before it has begun. */
  readonly revision: number | undefined
  /** The version of its stream's filter that it goes by; undefined before it has begun, and of a source without a filter. */
  readonly filterVersion: number | undefined
  /** Set while it hands over nothing, as it cannot tell whether that version is the newest. Exactly-once workers do not wait for that. */
  readonly filterWait: FilterWait | undefined
  /**
   * How many events it has yet to look through for earlier ones that a change of its filter has included, with the history `"now"`. 0 if there
   * are none.
   */
  readonly pastLag: number
  /**
   * The time of the earliest event that may wait, as earlier ones of its entity are missing, while later events are handled. Undefined if none
   * waits.
   */
  readonly waitsFrom: Timestamp | undefined
  /** The offsets as it has stored them last. */
  readonly offsets: Offset.Offsets
}
