/**
 * What processes say about their workers, in the storage, so that every process can read how a projection is doing: see
 * `ProjectionStatus.everywhere`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Os from "node:os"
import { checkName } from "./internal/checkName.ts"
import type { OffsetKey } from "./OffsetStore.ts"
import type { Slice } from "./Slice.ts"
import type { SliceRange } from "./SliceRange.ts"
import type { StorageError } from "./StorageError.ts"
import type { Timestamp } from "./Timestamp.ts"
import type { WorkerState } from "./WorkerStatus.ts"

/**
 * The process that a worker runs in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Owner {
  /** The name of the process, for a person; by default its host and process id. */
  readonly name: string
  /** Differs each time that a process is started, and for each storage that it has open. */
  readonly incarnation: string
}

/**
 * Why a worker has failed last, as it may be shown to others.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReportedFailure {
  /** The `_tag` or name of the error. */
  readonly tag: string
  /**
   * Up to {@link maxMessageLength} characters of the first line of its message, without what looks like a secret: what a URL has before its host,
   * what stands after a name such as `password` or `token`, and what comes after `Bearer`. Secrets that do not look like one are still in it.
   */
  readonly message: string
  /** The event that it has failed on, if an event is the reason. */
  readonly event: { readonly persistenceId: string; readonly sequenceNumber: number } | undefined
  /** When, by the clock of the database. */
  readonly at: Timestamp
}

/**
 * Where a worker does not get on: in a slice, of which its source has more, or, where the slice is undefined, anywhere.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stuck {
  readonly slice: Slice | undefined
  /** By the clock of the database. */
  readonly since: Timestamp
}

/**
 * How one worker is doing, as its process has said last.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkerReport {
  readonly key: OffsetKey
  readonly range: SliceRange
  readonly state: WorkerState
  /** The revision of the offsets that it began from last; undefined before it has begun. */
  readonly revision: number | undefined
  /** How many events it is behind its source; undefined if that is not known, or if the source has no positions. */
  readonly lag: number | undefined
  /** For how many milliseconds it is behind its source, at most; undefined if that is not known. */
  readonly timeLag: number | undefined
  /** How many events it handles in a second, smoothed. */
  readonly rate: number
  /** In how many milliseconds it will have caught up at its pace; undefined if that is not known, or if it does not get nearer, or in more than 30 days. */
  readonly eta: number | undefined
  readonly restarts: number
  readonly filterVersion: number | undefined
  /** How many events it has yet to look through once more; undefined if that is not known. */
  readonly pastLag: number | undefined
  /** What it has failed with last, also if it goes on since. */
  readonly failure: ReportedFailure | undefined
  /** Where it does not get on, if it has not done so for a while. */
  readonly stuck: Stuck | undefined
}

/**
 * A report that is to be stored: its failure was so many milliseconds ago, and for so many it does not get on.
 *
 * @category models
 * @since 0.1.0
 */
export interface NewReport extends Omit<WorkerReport, "failure" | "stuck"> {
  readonly failure: Omit<ReportedFailure, "at"> & { readonly age: number } | undefined
  readonly stuck: Omit<Stuck, "since"> & { readonly age: number } | undefined
}

/**
 * A report that is stored, and the sign of life of its process. A process that builds a version of a projection says how that goes with one more report, whose source
 * is `""`: its failure is why the version could not be switched to, and its `restarts` say how often that has failed in a row.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredReport extends WorkerReport {
  readonly owner: Owner
  /** How often the process gives a sign of life, in milliseconds. */
  readonly interval: number
  /** When it has done so last, by the clock of the database. */
  readonly at: Timestamp
  /** What that clock says now. */
  readonly now: Timestamp
  /** The revision that the offsets of the projection have now; undefined if it is not registered. */
  readonly storedRevision: number | undefined
}

/**
 * Which worker of a process.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkerId {
  readonly key: OffsetKey
  /** The first slice of its range. */
  readonly min: number
}

/**
 * A sign of life of a process.
 *
 * @category models
 * @since 0.1.0
 */
export interface Beat {
  readonly owner: Owner
  /** How often it gives one, in milliseconds. */
  readonly interval: number
  /** The reports that differ from what is stored. */
  readonly changed: ReadonlyArray<NewReport>
  /** The workers that it has no more. */
  readonly gone: ReadonlyArray<WorkerId>
}

/**
 * Stores the heartbeats of processes. Storage adapters provide it, beside the offset store.
 *
 * @category services
 * @since 0.1.0
 */
export class HeartbeatStore extends Context.Service<HeartbeatStore, {
  /** Stores what has changed, and that the process lives, in one transaction. Where nothing has changed, that is one statement. */
  readonly beat: (beat: Beat) => Effect.Effect<void, StorageError>
  /** Removes a process, and what it has said about its workers. */
  readonly leave: (owner: Owner) => Effect.Effect<void, StorageError>
  /** Removes the processes that have given no sign of life for {@link keptFor}. */
  readonly forget: Effect.Effect<void, StorageError>
  /** What is stored about the workers of projections, by projection, source, slices and process. */
  readonly reports: (projections: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<StoredReport>, StorageError>
}>()("@sluice/core/HeartbeatStore") {}

/**
 * For how long the workers of a process that gives no sign of life are kept, in milliseconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const keptFor = 60 * 60_000

/**
 * So many intervals without a sign of life make the workers of a process `Unknown`.
 *
 * @category constants
 * @since 0.1.0
 */
export const missedIntervals = 3

/**
 * How much of an error's message others are shown, in UTF-16 units.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxMessageLength = 500

const TypeId = "~@sluice/core/HeartbeatStore/Heartbeat"

/**
 * Under which name a process reports on its workers, and how often.
 *
 * @category models
 * @since 0.1.0
 */
export interface Heartbeat {
  readonly [TypeId]: typeof TypeId
  readonly name: string
  readonly interval: Duration.Duration
}

/**
 * A name and an interval to report with; what is not given is as {@link Heartbeat} has it by default. Throws a `RangeError` for a name that is
 * empty, is longer than 255 characters, or contains U+0000 or half a surrogate pair, and for an interval of less than a millisecond.
 *
 * **Example** (The name of a pod)
 *
 * ```ts
 * import { HeartbeatStore } from "@sluice/core"
 * import { Layer } from "effect"
 *
 * const Named = Layer.succeed(HeartbeatStore.Heartbeat, HeartbeatStore.heartbeat({ name: "analytics-0" }))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const heartbeat = (options?: {
  /** Of 1 to 255 characters. */
  readonly name?: string | undefined
  readonly interval?: Duration.Input | undefined
}): Heartbeat => {
  const { interval = "2 seconds", name = `${Os.hostname().slice(0, 200)}/${process.pid}` } = options ?? {}
  checkName("name of a process", name)
  const every = Duration.fromInputUnsafe(interval)
  if (!(Duration.toMillis(every) >= 1)) {
    throw new RangeError(`The interval of heartbeats is ${Duration.format(every)}: at least a millisecond`)
  }
  return { [TypeId]: TypeId, name, interval: every }
}

/**
 * Under which name this process reports on its workers, by default its host and process id, and how often: every 2 seconds by default. With an
 * infinite interval it does not. Made with {@link heartbeat}.
 *
 * @category references
 * @since 0.1.0
 */
export const Heartbeat = Context.Reference<Heartbeat>("@sluice/core/HeartbeatStore/Heartbeat", {
  defaultValue: heartbeat
})
