import type { Migration } from "@sluice/sql/Migrations"

/**
 * @internal
 * The timestamp is the rowid: one writer at a time makes it strictly increasing over the whole file, so that rows lie in the
 * order of the commits, and a reader needs one number to go on.
 */
export const migrations: ReadonlyArray<Migration> = [{
  name: "journal and offsets",
  statements: ({ name, table }) => [
    `CREATE TABLE ${table("sluice_meta")} (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID`,
    `CREATE TABLE ${table("sluice_journal")} (
      timestamp INTEGER PRIMARY KEY,
      entity_type TEXT NOT NULL,
      slice INTEGER NOT NULL,
      position INTEGER NOT NULL,
      persistence_id TEXT NOT NULL,
      sequence_number INTEGER NOT NULL,
      event_id BLOB NOT NULL,
      writer_id BLOB NOT NULL,
      manifest TEXT NOT NULL,
      payload BLOB,
      tags TEXT,
      metadata TEXT
    ) STRICT`,
    `CREATE UNIQUE INDEX ${name("sluice_journal_entity")} ON ${
      table("sluice_journal")
    } (persistence_id, sequence_number)`,
    `CREATE UNIQUE INDEX ${name("sluice_journal_log")} ON ${table("sluice_journal")} (entity_type, slice, position)`,
    `CREATE INDEX ${name("sluice_journal_time")} ON ${table("sluice_journal")} (entity_type, timestamp, slice)`,
    `CREATE TABLE ${table("sluice_floor")} (
      entity_type TEXT NOT NULL,
      slice INTEGER NOT NULL,
      position INTEGER NOT NULL,
      timestamp INTEGER NOT NULL,
      PRIMARY KEY (entity_type, slice)
    ) STRICT, WITHOUT ROWID`,
    `CREATE TABLE ${table("sluice_offset")} (
      projection TEXT NOT NULL,
      source TEXT NOT NULL,
      slice INTEGER NOT NULL,
      position INTEGER NOT NULL,
      timestamp INTEGER NOT NULL,
      journal TEXT NOT NULL,
      complete_up_to INTEGER,
      updated_at INTEGER NOT NULL,
      PRIMARY KEY (projection, source, slice)
    ) STRICT, WITHOUT ROWID`,
    `CREATE TABLE ${table("sluice_offset_entity")} (
      projection TEXT NOT NULL,
      source TEXT NOT NULL,
      persistence_id TEXT NOT NULL,
      sequence_number INTEGER NOT NULL,
      PRIMARY KEY (projection, source, persistence_id)
    ) STRICT, WITHOUT ROWID`,
    // a person reads JSON events here
    `CREATE VIEW ${table("sluice_event")} AS
      SELECT entity_type, slice, position, strftime('%Y-%m-%dT%H:%M:%fZ', timestamp / 1000000.0, 'unixepoch') AS written_at,
        persistence_id, sequence_number, manifest, tags, metadata,
        CASE WHEN manifest LIKE 'json.sluice/%' THEN CAST(payload AS TEXT) END AS event
      FROM ${table("sluice_journal")}`
  ]
}, {
  name: "snapshots and durable state",
  statements: ({ name, table }) => [
    `CREATE TABLE ${table("sluice_snapshot")} (
      persistence_id TEXT NOT NULL,
      sequence_number INTEGER NOT NULL,
      timestamp INTEGER NOT NULL,
      manifest TEXT NOT NULL,
      payload BLOB NOT NULL,
      metadata TEXT,
      PRIMARY KEY (persistence_id, sequence_number)
    ) STRICT`,
    `CREATE TABLE ${table("sluice_state")} (
      persistence_id TEXT PRIMARY KEY,
      entity_type TEXT NOT NULL,
      slice INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      position INTEGER NOT NULL,
      timestamp INTEGER NOT NULL,
      manifest TEXT,
      payload BLOB,
      tags TEXT,
      metadata TEXT
    ) STRICT`,
    `CREATE UNIQUE INDEX ${name("sluice_state_log")} ON ${table("sluice_state")} (entity_type, slice, position)`,
    `CREATE TABLE ${table("sluice_state_head")} (
      entity_type TEXT NOT NULL,
      slice INTEGER NOT NULL,
      position INTEGER NOT NULL,
      timestamp INTEGER NOT NULL,
      PRIMARY KEY (entity_type, slice)
    ) STRICT, WITHOUT ROWID`
  ]
}, {
  name: "what projections are told and put aside",
  statements: ({ table }) => [
    `CREATE TABLE ${table("sluice_projection")} (
      projection TEXT PRIMARY KEY,
      paused INTEGER NOT NULL,
      revision INTEGER NOT NULL
    ) STRICT`,
    `CREATE TABLE ${table("sluice_dead_letter")} (
      projection TEXT NOT NULL,
      source TEXT NOT NULL,
      persistence_id TEXT NOT NULL,
      sequence_number INTEGER NOT NULL,
      slice INTEGER NOT NULL,
      position INTEGER,
      timestamp INTEGER NOT NULL,
      manifest TEXT,
      payload BLOB,
      tags TEXT,
      metadata TEXT,
      error TEXT NOT NULL,
      put_aside_at INTEGER NOT NULL,
      PRIMARY KEY (projection, source, persistence_id, sequence_number)
    ) STRICT`
  ]
}, {
  name: "revisions of offsets, and claims of dead letters",
  statements: ({ name, table }) => [
    `CREATE TABLE ${table("sluice_projection_source")} (
      projection TEXT NOT NULL,
      source TEXT NOT NULL,
      revision INTEGER NOT NULL,
      PRIMARY KEY (projection, source)
    ) STRICT, WITHOUT ROWID`,
    `ALTER TABLE ${table("sluice_offset")} ADD COLUMN revision INTEGER NOT NULL DEFAULT 0`,
    `ALTER TABLE ${table("sluice_dead_letter")} ADD COLUMN claimed_at INTEGER`,
    `CREATE INDEX ${name("sluice_dead_letter_event")} ON ${
      table("sluice_dead_letter")
    } (persistence_id, sequence_number)`
  ]
}, {
  name: "changes of states in the order of time",
  statements: ({ name, table }) => [
    `CREATE INDEX ${name("sluice_state_time")} ON ${table("sluice_state")} (entity_type, timestamp, slice)`
  ]
}, {
  name: "filters of streams",
  statements: ({ table }) => [
    `CREATE TABLE ${table("sluice_filter")} (
      source TEXT NOT NULL,
      version INTEGER NOT NULL,
      filter TEXT NOT NULL,
      author TEXT NOT NULL,
      reason TEXT NOT NULL,
      history TEXT NOT NULL,
      stored_at INTEGER NOT NULL,
      PRIMARY KEY (source, version)
    ) STRICT`,
    `CREATE TABLE ${table("sluice_filter_head")} (
      source TEXT PRIMARY KEY,
      version INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID`,
    `ALTER TABLE ${table("sluice_projection_source")} ADD COLUMN at_least_once INTEGER NOT NULL DEFAULT 0`
  ]
}, {
  name: "what filters have passed over",
  statements: ({ name, table }) => [
    // the newest one by a pipeline, at each start
    `CREATE INDEX ${name("sluice_filter_author")} ON ${table("sluice_filter")} (source, author, version)`,
    `CREATE TABLE ${table("sluice_passed_over")} (
      projection TEXT NOT NULL,
      source TEXT NOT NULL,
      slice INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      position INTEGER NOT NULL,
      timestamp INTEGER NOT NULL,
      up_to INTEGER NOT NULL,
      PRIMARY KEY (projection, source, slice)
    ) STRICT, WITHOUT ROWID`,
    `ALTER TABLE ${table("sluice_offset")} ADD COLUMN complete_up_to_time INTEGER`,
    `ALTER TABLE ${table("sluice_offset")} ADD COLUMN rewinds TEXT`,
    `ALTER TABLE ${table("sluice_offset_entity")} ADD COLUMN revision INTEGER NOT NULL DEFAULT 0`,
    `ALTER TABLE ${table("sluice_offset_entity")} ADD COLUMN since INTEGER`
  ]
}, {
  name: "how workers are doing, and what projections were told",
  statements: ({ name, table }) => [
    `CREATE TABLE ${table("sluice_process")} (
      incarnation TEXT PRIMARY KEY,
      name TEXT NOT NULL,
      beat_every INTEGER NOT NULL,
      beat_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID`,
    `CREATE TABLE ${table("sluice_worker")} (
      incarnation TEXT NOT NULL,
      projection TEXT NOT NULL,
      source TEXT NOT NULL,
      slice_min INTEGER NOT NULL,
      slice_max INTEGER NOT NULL,
      state TEXT NOT NULL,
      revision INTEGER,
      lag_events INTEGER,
      lag_millis INTEGER,
      rate INTEGER NOT NULL,
      eta_millis INTEGER,
      restarts INTEGER NOT NULL,
      filter_version INTEGER,
      error_tag TEXT,
      error TEXT,
      error_persistence_id TEXT,
      error_sequence_number INTEGER,
      failed_at INTEGER,
      PRIMARY KEY (incarnation, projection, source, slice_min)
    ) STRICT, WITHOUT ROWID`,
    `CREATE INDEX ${name("sluice_worker_projection")} ON ${table("sluice_worker")} (projection)`,
    `CREATE TABLE ${table("sluice_command")} (
      projection TEXT NOT NULL,
      revision INTEGER NOT NULL,
      source TEXT,
      command TEXT NOT NULL,
      target TEXT,
      author TEXT NOT NULL,
      reason TEXT NOT NULL,
      commanded_at INTEGER NOT NULL,
      PRIMARY KEY (projection, revision)
    ) STRICT, WITHOUT ROWID`
  ]
}, {
  name: "the past that changes of filters have given up",
  statements: ({ name, table }) => [
    `CREATE TABLE ${table("sluice_given_up")} (
      projection TEXT NOT NULL,
      source TEXT NOT NULL,
      slice INTEGER NOT NULL,
      version INTEGER NOT NULL,
      until INTEGER NOT NULL,
      PRIMARY KEY (projection, source, slice, version)
    ) STRICT, WITHOUT ROWID`,
    `CREATE INDEX ${name("sluice_given_up_version")} ON ${table("sluice_given_up")} (source, version)`
  ]
}, {
  name: "where workers are placed",
  statements: ({ table }) => [
    `CREATE TABLE ${table("sluice_runner")} (
      workers INTEGER NOT NULL,
      address TEXT NOT NULL,
      runner TEXT NOT NULL,
      healthy INTEGER NOT NULL,
      expires_at INTEGER NOT NULL,
      PRIMARY KEY (workers, address)
    ) STRICT, WITHOUT ROWID`,
    `CREATE TABLE ${table("sluice_runner_shard")} (
      workers INTEGER NOT NULL,
      shard TEXT NOT NULL,
      address TEXT NOT NULL,
      expires_at INTEGER NOT NULL,
      PRIMARY KEY (workers, shard)
    ) STRICT, WITHOUT ROWID`
  ]
}, {
  name: "how many workers projections are to have",
  statements: ({ table }) => [
    `ALTER TABLE ${table("sluice_projection")} ADD COLUMN workers INTEGER`,
    `ALTER TABLE ${table("sluice_projection")} ADD COLUMN scalings INTEGER NOT NULL DEFAULT 0`
  ]
}, {
  name: "which dead letters have failed, and how, and which wait behind them",
  statements: ({ table }) => [
    `ALTER TABLE ${table("sluice_dead_letter")} ADD COLUMN queued INTEGER NOT NULL DEFAULT 0`,
    `ALTER TABLE ${table("sluice_dead_letter")} ADD COLUMN fingerprint TEXT NOT NULL DEFAULT ''`
  ]
}, {
  name: "versions of projections",
  statements: ({ table }) => [
    `ALTER TABLE ${table("sluice_projection")} ADD COLUMN version_of TEXT`,
    `ALTER TABLE ${table("sluice_projection")} ADD COLUMN version INTEGER NOT NULL DEFAULT 1`,
    `ALTER TABLE ${table("sluice_projection")} ADD COLUMN phase TEXT NOT NULL DEFAULT 'Live'`
  ]
}, {
  name: "which events projections are to skip",
  statements: ({ table }) => [
    `CREATE TABLE ${table("sluice_skip")} (
      projection TEXT NOT NULL,
      source TEXT NOT NULL,
      persistence_id TEXT NOT NULL,
      sequence_number INTEGER NOT NULL,
      slice INTEGER NOT NULL,
      author TEXT NOT NULL,
      reason TEXT NOT NULL,
      PRIMARY KEY (projection, source, persistence_id, sequence_number)
    ) STRICT, WITHOUT ROWID`
  ]
}, {
  name: "which slices workers have, and who has said how many there are",
  statements: ({ name, table }) => [
    `CREATE TABLE ${table("sluice_range_lease")} (
      address TEXT NOT NULL,
      id INTEGER NOT NULL,
      projection TEXT NOT NULL,
      source TEXT NOT NULL,
      slice_min INTEGER NOT NULL,
      slice_max INTEGER NOT NULL,
      overdue TEXT,
      PRIMARY KEY (address, id)
    ) STRICT, WITHOUT ROWID`,
    `CREATE INDEX ${name("sluice_range_lease_projection")} ON ${table("sluice_range_lease")} (projection)`,
    `ALTER TABLE ${table("sluice_projection")} ADD COLUMN automatic INTEGER NOT NULL DEFAULT 0`
  ]
}, {
  name: "where workers do not get on",
  statements: ({ table }) => [
    `ALTER TABLE ${table("sluice_worker")} ADD COLUMN stuck_slice INTEGER`,
    `ALTER TABLE ${table("sluice_worker")} ADD COLUMN stuck_since INTEGER`
  ]
}, {
  name: "how much of the past workers have yet to look through once more",
  statements: ({ table }) => [`ALTER TABLE ${table("sluice_worker")} ADD COLUMN past_lag INTEGER`]
}]
