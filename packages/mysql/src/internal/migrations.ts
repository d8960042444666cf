import type { Migration } from "@sluice/sql/Migrations"

/**
 * Changes of tables are not rolled back, so a migration that was cut off is run again from its beginning. Each
 * statement has to allow that, and only MariaDB has `ADD COLUMN IF NOT EXISTS`.
 */
const unless = (
  there: { readonly table: string } & ({ readonly column: string } | { readonly index: string }),
  statement: string
): ReadonlyArray<string> => [
  `SET @sluice_statement = IF(EXISTS (
      SELECT 1 FROM information_schema.${"column" in there ? "columns" : "statistics"}
      WHERE table_schema = DATABASE() AND table_name = '${there.table.replaceAll("`", "")}' AND ${
    "column" in there ? `column_name = '${there.column}'` : `index_name = '${there.index.replaceAll("`", "")}'`
  }), 'DO 0', '${statement.replaceAll("'", "''")}')`,
  "PREPARE sluice_migration FROM @sluice_statement",
  "EXECUTE sluice_migration",
  "DEALLOCATE PREPARE sluice_migration"
]

/**
 * @internal
 * Ids are bytes: no collation that compares characters as they are, blanks at the end included, is known to both MySQL and MariaDB.
 * The journal lies in the order of time, in which it is written and read. The newest position and timestamp of each log are a row,
 * whose lock is the lock of the log.
 */
export const migrations: ReadonlyArray<Migration> = [{
  name: "journal and offsets",
  statements: ({ name, table }) => [
    `CREATE TABLE IF NOT EXISTS ${table("sluice_meta")} (
      \`key\` VARBINARY(64) PRIMARY KEY, value VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${table("sluice_journal")} (
      entity_type VARBINARY(128) NOT NULL,
      slice SMALLINT NOT NULL,
      position BIGINT NOT NULL,
      timestamp BIGINT NOT NULL,
      persistence_id VARBINARY(255) NOT NULL,
      sequence_number BIGINT NOT NULL,
      event_id BINARY(16) NOT NULL,
      writer_id BINARY(16) NOT NULL,
      manifest VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      payload LONGBLOB,
      tags MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      metadata MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      PRIMARY KEY (entity_type, timestamp, slice),
      UNIQUE KEY ${name("sluice_journal_log")} (entity_type, slice, position),
      UNIQUE KEY ${name("sluice_journal_entity")} (persistence_id, sequence_number)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${table("sluice_floor")} (
      entity_type VARBINARY(128) NOT NULL,
      slice SMALLINT NOT NULL,
      position BIGINT NOT NULL,
      timestamp BIGINT NOT NULL,
      PRIMARY KEY (entity_type, slice)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${table("sluice_head")} (
      entity_type VARBINARY(128) NOT NULL,
      slice SMALLINT NOT NULL,
      position BIGINT NOT NULL,
      timestamp BIGINT NOT NULL,
      PRIMARY KEY (entity_type, slice)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    // a person reads JSON events here
    `CREATE OR REPLACE VIEW ${table("sluice_event")} AS
      SELECT CONVERT(entity_type USING utf8mb4) AS entity_type, slice, position,
        TIMESTAMPADD(MICROSECOND, timestamp, TIMESTAMP'1970-01-01 00:00:00') AS written_at,
        CONVERT(persistence_id USING utf8mb4) AS persistence_id, sequence_number, manifest, tags, metadata,
        CASE WHEN manifest LIKE 'json.sluice/%' THEN CONVERT(payload USING utf8mb4) END AS event
      FROM ${table("sluice_journal")}`,
    `CREATE TABLE IF NOT EXISTS ${table("sluice_offset")} (
      projection VARBINARY(1020) NOT NULL,
      source VARBINARY(1020) NOT NULL,
      slice SMALLINT NOT NULL,
      position BIGINT NOT NULL,
      timestamp BIGINT NOT NULL,
      journal VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
      complete_up_to BIGINT,
      updated_at BIGINT NOT NULL,
      PRIMARY KEY (projection, source, slice)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${table("sluice_offset_entity")} (
      projection VARBINARY(1020) NOT NULL,
      source VARBINARY(1020) NOT NULL,
      persistence_id VARBINARY(255) NOT NULL,
      sequence_number BIGINT NOT NULL,
      PRIMARY KEY (projection, source, persistence_id)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`
  ]
}, {
  name: "snapshots and durable state",
  statements: ({ name, table }) => [
    `CREATE TABLE IF NOT EXISTS ${table("sluice_snapshot")} (
      persistence_id VARBINARY(255) NOT NULL,
      sequence_number BIGINT NOT NULL,
      timestamp BIGINT NOT NULL,
      manifest VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      payload LONGBLOB NOT NULL,
      metadata MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      PRIMARY KEY (persistence_id, sequence_number)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${table("sluice_state")} (
      persistence_id VARBINARY(255) PRIMARY KEY,
      entity_type VARBINARY(128) NOT NULL,
      slice SMALLINT NOT NULL,
      revision BIGINT NOT NULL,
      position BIGINT NOT NULL,
      timestamp BIGINT NOT NULL,
      manifest VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      payload LONGBLOB,
      tags MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      metadata MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      UNIQUE KEY ${name("sluice_state_log")} (entity_type, slice, position)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${table("sluice_state_head")} (
      entity_type VARBINARY(128) NOT NULL,
      slice SMALLINT NOT NULL,
      position BIGINT NOT NULL,
      timestamp BIGINT NOT NULL,
      PRIMARY KEY (entity_type, slice)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`
  ]
}, {
  name: "what projections are told and put aside",
  statements: ({ table }) => [
    `CREATE TABLE IF NOT EXISTS ${table("sluice_projection")} (
      projection VARBINARY(1020) PRIMARY KEY,
      paused SMALLINT NOT NULL,
      revision BIGINT NOT NULL
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${table("sluice_dead_letter")} (
      projection VARBINARY(1020) NOT NULL,
      source VARBINARY(1020) NOT NULL,
      persistence_id VARBINARY(255) NOT NULL,
      sequence_number BIGINT NOT NULL,
      slice SMALLINT NOT NULL,
      position BIGINT,
      timestamp BIGINT NOT NULL,
      manifest VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      payload LONGBLOB,
      tags MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      metadata MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      error MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      put_aside_at BIGINT NOT NULL,
      PRIMARY KEY (projection, source, persistence_id, sequence_number)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`
  ]
}, {
  name: "revisions of offsets, and claims of dead letters",
  statements: ({ name, table }) => [
    `CREATE TABLE IF NOT EXISTS ${table("sluice_projection_source")} (
      projection VARBINARY(1020) NOT NULL,
      source VARBINARY(1020) NOT NULL,
      revision BIGINT NOT NULL,
      PRIMARY KEY (projection, source)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    ...unless(
      { table: table("sluice_offset"), column: "revision" },
      `ALTER TABLE ${table("sluice_offset")} ADD COLUMN revision BIGINT NOT NULL DEFAULT 0`
    ),
    ...unless(
      { table: table("sluice_dead_letter"), column: "claimed_at" },
      `ALTER TABLE ${table("sluice_dead_letter")} ADD COLUMN claimed_at BIGINT,
        ADD KEY ${name("sluice_dead_letter_event")} (persistence_id, sequence_number)`
    )
  ]
}, {
  name: "changes of states in the order of time",
  statements: ({ name, table }) =>
    unless(
      { table: table("sluice_state"), index: name("sluice_state_time") },
      `ALTER TABLE ${table("sluice_state")} ADD KEY ${name("sluice_state_time")} (entity_type, timestamp, slice)`
    )
}, {
  name: "filters of streams",
  statements: ({ table }) => [
    `CREATE TABLE IF NOT EXISTS ${table("sluice_filter")} (
      source VARBINARY(1020) NOT NULL,
      version BIGINT NOT NULL,
      filter MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      author VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      history VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      stored_at BIGINT NOT NULL,
      PRIMARY KEY (source, version)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${table("sluice_filter_head")} (
      source VARBINARY(1020) PRIMARY KEY,
      version BIGINT NOT NULL
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    ...unless(
      { table: table("sluice_projection_source"), column: "at_least_once" },
      `ALTER TABLE ${table("sluice_projection_source")} ADD COLUMN at_least_once SMALLINT NOT NULL DEFAULT 0`
    )
  ]
}, {
  name: "what filters have passed over",
  statements: ({ name, table }) => [
    // the newest one by a pipeline, at each start
    ...unless(
      { table: table("sluice_filter"), index: name("sluice_filter_author") },
      `ALTER TABLE ${table("sluice_filter")} ADD KEY ${name("sluice_filter_author")} (source, author, version)`
    ),
    `CREATE TABLE IF NOT EXISTS ${table("sluice_passed_over")} (
      projection VARBINARY(1020) NOT NULL,
      source VARBINARY(1020) NOT NULL,
      slice SMALLINT NOT NULL,
      revision BIGINT NOT NULL,
      position BIGINT NOT NULL,
      timestamp BIGINT NOT NULL,
      up_to BIGINT NOT NULL,
      PRIMARY KEY (projection, source, slice)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    ...unless(
      { table: table("sluice_offset"), column: "complete_up_to_time" },
      `ALTER TABLE ${table("sluice_offset")} ADD COLUMN complete_up_to_time BIGINT,
        ADD COLUMN rewinds TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`
    ),
    ...unless(
      { table: table("sluice_offset_entity"), column: "revision" },
      `ALTER TABLE ${table("sluice_offset_entity")} ADD COLUMN revision BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN since BIGINT`
    )
  ]
}, {
  name: "how workers are doing, and what projections were told",
  statements: ({ name, table }) => [
    `CREATE TABLE IF NOT EXISTS ${table("sluice_process")} (
      incarnation VARBINARY(36) PRIMARY KEY,
      name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      beat_every BIGINT NOT NULL,
      beat_at BIGINT NOT NULL
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${table("sluice_worker")} (
      incarnation VARBINARY(36) NOT NULL,
      projection VARBINARY(1020) NOT NULL,
      source VARBINARY(1020) NOT NULL,
      slice_min SMALLINT NOT NULL,
      slice_max SMALLINT NOT NULL,
      state VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      revision BIGINT,
      lag_events BIGINT,
      lag_millis BIGINT,
      rate BIGINT NOT NULL,
      eta_millis BIGINT,
      restarts BIGINT NOT NULL,
      filter_version BIGINT,
      error_tag VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      error_persistence_id VARBINARY(255),
      error_sequence_number BIGINT,
      failed_at BIGINT,
      PRIMARY KEY (incarnation, projection, source, slice_min),
      KEY ${name("sluice_worker_projection")} (projection)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${table("sluice_command")} (
      projection VARBINARY(1020) NOT NULL,
      revision BIGINT NOT NULL,
      source VARBINARY(1020),
      command VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      target VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      author VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      commanded_at BIGINT NOT NULL,
      PRIMARY KEY (projection, revision)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`
  ]
}, {
  name: "the past that changes of filters have given up",
  statements: ({ name, table }) => [
    `CREATE TABLE IF NOT EXISTS ${table("sluice_given_up")} (
      projection VARBINARY(1020) NOT NULL,
      source VARBINARY(1020) NOT NULL,
      slice SMALLINT NOT NULL,
      version BIGINT NOT NULL,
      until BIGINT NOT NULL,
      PRIMARY KEY (projection, source, slice, version),
      KEY ${name("sluice_given_up_version")} (source, version)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`
  ]
}, {
  name: "where workers are placed",
  statements: ({ table }) => [
    `CREATE TABLE IF NOT EXISTS ${table("sluice_runner")} (
      workers INT NOT NULL,
      address VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      runner TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      healthy SMALLINT NOT NULL,
      expires_at BIGINT NOT NULL,
      PRIMARY KEY (workers, address)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${table("sluice_runner_shard")} (
      workers INT NOT NULL,
      shard VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      address VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      expires_at BIGINT NOT NULL,
      PRIMARY KEY (workers, shard)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`
  ]
}, {
  name: "how many workers projections are to have",
  statements: ({ table }) => [
    ...unless(
      { table: table("sluice_projection"), column: "workers" },
      `ALTER TABLE ${table("sluice_projection")} ADD COLUMN workers SMALLINT,
        ADD COLUMN scalings BIGINT NOT NULL DEFAULT 0`
    )
  ]
}, {
  name: "which dead letters have failed, and how, and which wait behind them",
  statements: ({ table }) => [
    ...unless(
      { table: table("sluice_dead_letter"), column: "queued" },
      `ALTER TABLE ${table("sluice_dead_letter")} ADD COLUMN queued SMALLINT NOT NULL DEFAULT 0,
        ADD COLUMN fingerprint VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT ''`
    )
  ]
}, {
  name: "versions of projections",
  statements: ({ table }) => [
    ...unless(
      { table: table("sluice_projection"), column: "phase" },
      `ALTER TABLE ${table("sluice_projection")} ADD COLUMN version_of VARBINARY(1020),
        ADD COLUMN version BIGINT NOT NULL DEFAULT 1,
        ADD COLUMN phase VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'Live'`
    )
  ]
}, {
  name: "which events projections are to skip",
  statements: ({ table }) => [
    `CREATE TABLE IF NOT EXISTS ${table("sluice_skip")} (
      projection VARBINARY(1020) NOT NULL,
      source VARBINARY(1020) NOT NULL,
      persistence_id VARBINARY(255) NOT NULL,
      sequence_number BIGINT NOT NULL,
      slice SMALLINT NOT NULL,
      author VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      PRIMARY KEY (projection, source, persistence_id, sequence_number)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`
  ]
}, {
  name: "which slices workers have, and who has said how many there are",
  statements: ({ name, table }) => [
    `CREATE TABLE IF NOT EXISTS ${table("sluice_range_lease")} (
      address VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
      id BIGINT NOT NULL,
      projection VARBINARY(1020) NOT NULL,
      source VARBINARY(1020) NOT NULL,
      slice_min SMALLINT NOT NULL,
      slice_max SMALLINT NOT NULL,
      overdue TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
      PRIMARY KEY (address, id),
      KEY ${name("sluice_range_lease_projection")} (projection)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    ...unless(
      { table: table("sluice_projection"), column: "automatic" },
      `ALTER TABLE ${table("sluice_projection")} ADD COLUMN automatic SMALLINT NOT NULL DEFAULT 0`
    )
  ]
}, {
  name: "where workers do not get on",
  statements: ({ table }) => [
    ...unless(
      { table: table("sluice_worker"), column: "stuck_since" },
      `ALTER TABLE ${table("sluice_worker")} ADD COLUMN stuck_slice SMALLINT, ADD COLUMN stuck_since BIGINT`
    )
  ]
}, {
  name: "how much of the past workers have yet to look through once more",
  statements: ({ table }) => [
    ...unless(
      { table: table("sluice_worker"), column: "past_lag" },
      `ALTER TABLE ${table("sluice_worker")} ADD COLUMN past_lag BIGINT`
    )
  ]
}]
