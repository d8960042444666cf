/**
 * Sluice's own tables, as Kysely knows them.
 *
 * @since 0.1.0
 */
import type { Generated } from "kysely"

/**
 * The tables by name.
 *
 * @category models
 * @since 0.1.0
 */
export interface SluiceTables {
  readonly sluice_journal: JournalTable
  readonly sluice_floor: FloorTable
  readonly sluice_offset: OffsetTable
  readonly sluice_offset_entity: OffsetEntityTable
  readonly sluice_projection: ProjectionTable
  readonly sluice_projection_source: ProjectionSourceTable
  readonly sluice_filter: FilterTable
  readonly sluice_filter_head: FilterHeadTable
  readonly sluice_passed_over: PassedOverTable
  readonly sluice_given_up: GivenUpTable
  readonly sluice_dead_letter: DeadLetterTable
  readonly sluice_skip: SkipTable
  readonly sluice_process: ProcessTable
  readonly sluice_worker: WorkerTable
  readonly sluice_command: CommandTable
  readonly sluice_runner: RunnerTable
  readonly sluice_runner_shard: RunnerShardTable
  readonly sluice_range_lease: RangeLeaseTable
  readonly sluice_snapshot: SnapshotTable
  readonly sluice_state: StateTable
  readonly sluice_state_head: StateHeadTable
  readonly sluice_meta: MetaTable
}

/**
 * A row per event. Without a payload it is the placeholder of a deleted event.
 *
 * @category models
 * @since 0.1.0
 */
export interface JournalTable {
  readonly entity_type: string
  readonly slice: number
  readonly position: number
  /** Microseconds since the epoch. */
  readonly timestamp: number
  readonly persistence_id: string
  readonly sequence_number: number
  readonly event_id: Uint8Array
  /** The journal instance that wrote it. */
  readonly writer_id: Uint8Array
  readonly manifest: string
  readonly payload: Uint8Array | null
  /** A JSON array, or null for none. */
  readonly tags: string | null
  /** A JSON object, or null for none. */
  readonly metadata: string | null
}

/**
 * Up to where events were removed from a log.
 *
 * @category models
 * @since 0.1.0
 */
export interface FloorTable {
  readonly entity_type: string
  readonly slice: number
  readonly position: number
  /** Microseconds since the epoch. */
  readonly timestamp: number
}

/**
 * A row per projection, source and slice, from when the projection was first started.
 *
 * @category models
 * @since 0.1.0
 */
export interface OffsetTable {
  readonly projection: string
  readonly source: string
  readonly slice: number
  readonly position: number
  readonly timestamp: number
  /** The identity of the journal that the position is in; empty where it is not known. */
  readonly journal: string
  /** Where a source leaves events out: the position up to which everything had been read before the first of them. */
  readonly complete_up_to: number | null
  /** The timestamp at that position; null if it is not known. */
  readonly complete_up_to_time: number | null
  /** A JSON array of the rewinds that have left something known of its entities; null if there are none. */
  readonly rewinds: string | null
  /** The revision of the projection's offsets, as in `sluice_projection_source`. */
  readonly revision: number
  /** Microseconds since the epoch. */
  readonly updated_at: number
}

/**
 * A row per projection, source and entity, for sources that leave events out.
 *
 * @category models
 * @since 0.1.0
 */
export interface OffsetEntityTable {
  readonly projection: string
  readonly source: string
  readonly persistence_id: string
  /** Of the last event that was read. */
  readonly sequence_number: number
  /** The revision of the projection's offsets when it was stored. */
  readonly revision: number
  /** From which time on its events come again, because of rewinds that `sluice_offset` does not hold any more; null if there are none. Microseconds since the epoch. */
  readonly since: Generated<number | null>
}

/**
 * What projections are told.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProjectionTable {
  readonly projection: string
  /** 1 or 0. */
  readonly paused: number
  /** How often it was told something. */
  readonly revision: number
  /** How many workers it is to have; null for as many as its code says. */
  readonly workers: Generated<number | null>
  /** How often it was told what its workers have nothing to read in: how many of them to have, and to discard dead letters. */
  readonly scalings: Generated<number>
  /** The name that all versions of the projection have in common; null if this is the first one, of which it is the name. */
  readonly version_of: Generated<string | null>
  readonly version: Generated<number>
  /** What has become of the version. */
  readonly phase: Generated<string>
  /** 1 if the number of workers was found by the projection itself, else 0. */
  readonly automatic: Generated<number>
}

/**
 * A row per projection and source that is known.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProjectionSourceTable {
  readonly projection: string
  readonly source: string
  /** The revision of its offsets: set when it was registered, and raised by each rewind and each change of its filter. */
  readonly revision: number
  /** 1 once an at-least-once projection of this name has followed the source's filter, else 0. */
  readonly at_least_once: number
}

/**
 * A row per version of the filter of a stream.
 *
 * @category models
 * @since 0.1.0
 */
export interface FilterTable {
  readonly source: string
  readonly version: number
  /** A JSON object. */
  readonly filter: string
  /** Who has changed it. */
  readonly author: string
  readonly reason: string
  /** What becomes of the past of what it includes. */
  readonly history: string
  /** Microseconds since the epoch. */
  readonly stored_at: number
}

/**
 * A row per projection, source and slice of which a part is to be looked through once more, as the filter includes more of it now.
 *
 * @category models
 * @since 0.1.0
 */
export interface PassedOverTable {
  readonly projection: string
  readonly source: string
  readonly slice: number
  /** Of the offsets of the projection. Where they have another one, the row is of no use any more. */
  readonly revision: number
  /** After which event to go on. */
  readonly position: number
  readonly timestamp: number
  /** The last position of the part. */
  readonly up_to: number
}

/**
 * A row per projection, source, slice and version of a filter, if that has given up the past of what it newly includes. The version and the one before it are
 * kept meanwhile.
 *
 * @category models
 * @since 0.1.0
 */
export interface GivenUpTable {
  readonly projection: string
  readonly source: string
  readonly slice: number
  readonly version: number
  /** Events that are older than this are given up, in microseconds since the epoch. */
  readonly until: number
}

/**
 * The newest version of the filter of each stream.
 *
 * @category models
 * @since 0.1.0
 */
export interface FilterHeadTable {
  readonly source: string
  readonly version: number
}

/**
 * A row per event that a projection has put aside, or that waits behind one of its entity.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetterTable {
  readonly projection: string
  readonly source: string
  readonly persistence_id: string
  readonly sequence_number: number
  readonly slice: number
  readonly position: number | null
  /** Microseconds since the epoch. */
  readonly timestamp: number
  readonly manifest: string | null
  readonly payload: Uint8Array | null
  /** A JSON array, or null for none. */
  readonly tags: string | null
  /** A JSON object, or null for none. */
  readonly metadata: string | null
  readonly error: string
  /** Microseconds since the epoch. */
  readonly put_aside_at: number
  /** When somebody began to handle it, in microseconds since the epoch. */
  readonly claimed_at: number | null
  /** 1 for an event that has not failed, and waits behind one of its entity, else 0. */
  readonly queued: number
  /** By what failures are the same; empty if that is not known. */
  readonly fingerprint: string
}

/**
 * A row per event that a projection is to go past when it comes to it.
 *
 * @category models
 * @since 0.1.0
 */
export interface SkipTable {
  readonly projection: string
  readonly source: string
  readonly persistence_id: string
  readonly sequence_number: number
  readonly slice: number
  /** Who has said so. */
  readonly author: string
  readonly reason: string
}

/**
 * A row per process that has workers, or has been killed within the last hour.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProcessTable {
  readonly incarnation: string
  readonly name: string
  /** How often it gives a sign of life, in milliseconds. */
  readonly beat_every: number
  /** When it has done so last, in microseconds since the epoch. */
  readonly beat_at: number
}

/**
 * A row per process and worker.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkerTable {
  readonly incarnation: string
  readonly projection: string
  readonly source: string
  readonly slice_min: number
  readonly slice_max: number
  readonly state: string
  /** Of the offsets that it began from, as in `sluice_projection_source`. */
  readonly revision: number | null
  readonly lag_events: number | null
  readonly lag_millis: number | null
  /** Events in 1000 seconds. */
  readonly rate: number
  readonly eta_millis: number | null
  readonly restarts: number
  readonly filter_version: number | null
  /** How many events it has yet to look through once more; null if that is not known. */
  readonly past_lag: number | null
  readonly error_tag: string | null
  readonly error: string | null
  /** The event that it has failed on. */
  readonly error_persistence_id: string | null
  readonly error_sequence_number: number | null
  /** Microseconds since the epoch. */
  readonly failed_at: number | null
  /** The slice that stands still; null where it is the worker. */
  readonly stuck_slice: number | null
  /** Since when, in microseconds since the epoch; null if nothing does. */
  readonly stuck_since: number | null
}

/**
 * A row per command to a projection, of the last thousand.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommandTable {
  readonly projection: string
  /** The revision that the projection has had since. */
  readonly revision: number
  /** Null for a command to the projection in all of its sources. */
  readonly source: string | null
  readonly command: string
  /** Where it is to go on. */
  readonly target: string | null
  /** Who has given it. */
  readonly author: string
  readonly reason: string
  /** Microseconds since the epoch. */
  readonly commanded_at: number
}

/**
 * A row per process that workers are placed in, and number of workers that it has a projection with; with 0 workers, per process that entities run in. `@sluice/cluster` writes it.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunnerTable {
  readonly workers: number
  readonly address: string
  /** What Effect Cluster says of the process, as JSON. */
  readonly runner: string
  /** 1 or 0. */
  readonly healthy: number
  /** Until when it counts as alive unless it is heard of again. Microseconds since the epoch. */
  readonly expires_at: number
}

/**
 * A row per worker that is placed: worker `i` of each projection with so many workers is shard `i + 1`. With 0 workers, a row per shard of entities.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunnerShardTable {
  readonly workers: number
  readonly shard: string
  /** Of the process that it is leased to. */
  readonly address: string
  /** Until when, unless the lease is renewed. Microseconds since the epoch. */
  readonly expires_at: number
}

/**
 * A row per worker that runs in a process of `sluice_runner`, or still has something in hand. It counts for as long as that process is alive.
 *
 * @category models
 * @since 0.1.0
 */
export interface RangeLeaseTable {
  /** Of the process. */
  readonly address: string
  /** Of the lease, in its process. */
  readonly id: number
  readonly projection: string
  readonly source: string
  readonly slice_min: number
  readonly slice_max: number
  /** What the worker still has in hand, where others do not wait for it any more. */
  readonly overdue: Generated<string | null>
}

/**
 * A row per snapshot of an entity.
 *
 * @category models
 * @since 0.1.0
 */
export interface SnapshotTable {
  readonly persistence_id: string
  readonly sequence_number: number
  /** Microseconds since the epoch. */
  readonly timestamp: number
  readonly manifest: string
  readonly payload: Uint8Array
  /** A JSON object, or null for none. */
  readonly metadata: string | null
}

/**
 * A row per entity that has, or had, a durable state. Without a payload it is deleted.
 *
 * @category models
 * @since 0.1.0
 */
export interface StateTable {
  readonly persistence_id: string
  readonly entity_type: string
  readonly slice: number
  readonly revision: number
  /** Of the last change in the log of its slice. */
  readonly position: number
  /** Microseconds since the epoch. */
  readonly timestamp: number
  readonly manifest: string | null
  readonly payload: Uint8Array | null
  /** A JSON array, or null for none. */
  readonly tags: string | null
  /** A JSON object, or null for none. */
  readonly metadata: string | null
}

/**
 * The last change of durable states in each slice.
 *
 * @category models
 * @since 0.1.0
 */
export interface StateHeadTable {
  readonly entity_type: string
  readonly slice: number
  readonly position: number
  /** Microseconds since the epoch. */
  readonly timestamp: number
}

/**
 * Single values, such as the identity of the journal.
 *
 * @category models
 * @since 0.1.0
 */
export interface MetaTable {
  readonly key: string
  readonly value: string
}
