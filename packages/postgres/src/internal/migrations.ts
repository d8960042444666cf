import type { Migration } from "@sluice/sql/Migrations"
import { appendFunction } from "./appendFunction.ts"

/** @internal Ids are compared byte by byte, whatever the database's language. */
export const migrations = (schema: string | undefined): ReadonlyArray<Migration> => [{
  name: "journal and offsets",
  statements: ({ name, table }) => {
    const journal = table("sluice_journal")
    return [
      `CREATE TABLE ${table("sluice_meta")} (key text PRIMARY KEY, value text NOT NULL)`,
      `CREATE TABLE ${journal} (
        entity_type text COLLATE "C" NOT NULL,
        slice smallint NOT NULL,
        position bigint NOT NULL,
        timestamp bigint NOT NULL,
        persistence_id text COLLATE "C" NOT NULL,
        sequence_number bigint NOT NULL,
        event_id uuid NOT NULL,
        writer_id uuid NOT NULL,
        manifest text NOT NULL,
        payload bytea,
        tags text,
        metadata text,
        PRIMARY KEY (persistence_id, sequence_number)
      )`,
      `CREATE UNIQUE INDEX ${name("sluice_journal_log")} ON ${journal} (entity_type, slice, position)`,
      `CREATE INDEX ${name("sluice_journal_time")} ON ${journal} (entity_type, timestamp, slice)`,
      `CREATE TABLE ${table("sluice_floor")} (
        entity_type text COLLATE "C" NOT NULL,
        slice smallint NOT NULL,
        position bigint NOT NULL,
        timestamp bigint NOT NULL,
        PRIMARY KEY (entity_type, slice)
      )`,
      // a person reads JSON events here
      `CREATE VIEW ${table("sluice_event")} AS
        SELECT entity_type, slice, position, to_timestamp(timestamp / 1000000.0) AS written_at, persistence_id,
          sequence_number, manifest, tags::jsonb AS tags, metadata::jsonb AS metadata,
          CASE WHEN manifest LIKE 'json.sluice/%' THEN convert_from(payload, 'UTF8')::jsonb END AS event
        FROM ${journal}`,
      `CREATE TABLE ${table("sluice_offset")} (
        projection text COLLATE "C" NOT NULL,
        source text COLLATE "C" NOT NULL,
        slice smallint NOT NULL,
        position bigint NOT NULL,
        timestamp bigint NOT NULL,
        journal text NOT NULL,
        complete_up_to bigint,
        updated_at bigint NOT NULL,
        PRIMARY KEY (projection, source, slice)
      ) WITH (fillfactor = 50)`,
      `CREATE TABLE ${table("sluice_offset_entity")} (
        projection text COLLATE "C" NOT NULL,
        source text COLLATE "C" NOT NULL,
        persistence_id text COLLATE "C" NOT NULL,
        sequence_number bigint NOT NULL,
        PRIMARY KEY (projection, source, persistence_id)
      ) WITH (fillfactor = 80)`
    ]
  }
}, {
  name: "snapshots and durable state",
  statements: ({ name, table }) => [
    `CREATE TABLE ${table("sluice_snapshot")} (
      persistence_id text COLLATE "C" NOT NULL,
      sequence_number bigint NOT NULL,
      timestamp bigint NOT NULL,
      manifest text NOT NULL,
      payload bytea NOT NULL,
      metadata text,
      PRIMARY KEY (persistence_id, sequence_number)
    )`,
    `CREATE TABLE ${table("sluice_state")} (
      persistence_id text COLLATE "C" PRIMARY KEY,
      entity_type text COLLATE "C" NOT NULL,
      slice smallint NOT NULL,
      revision bigint NOT NULL,
      position bigint NOT NULL,
      timestamp bigint NOT NULL,
      manifest text,
      payload bytea,
      tags text,
      metadata text
    )`,
    `CREATE UNIQUE INDEX ${name("sluice_state_log")} ON ${table("sluice_state")} (entity_type, slice, position)`,
    `CREATE TABLE ${table("sluice_state_head")} (
      entity_type text COLLATE "C" NOT NULL,
      slice smallint NOT NULL,
      position bigint NOT NULL,
      timestamp bigint NOT NULL,
      PRIMARY KEY (entity_type, slice)
    ) WITH (fillfactor = 50)`
  ]
}, {
  name: "what projections are told and put aside",
  statements: ({ table }) => [
    `CREATE TABLE ${table("sluice_projection")} (
      projection text COLLATE "C" PRIMARY KEY,
      paused smallint NOT NULL,
      revision bigint NOT NULL
    )`,
    `CREATE TABLE ${table("sluice_dead_letter")} (
      projection text COLLATE "C" NOT NULL,
      source text COLLATE "C" NOT NULL,
      persistence_id text COLLATE "C" NOT NULL,
      sequence_number bigint NOT NULL,
      slice smallint NOT NULL,
      position bigint,
      timestamp bigint NOT NULL,
      manifest text,
      payload bytea,
      tags text,
      metadata text,
      error text NOT NULL,
      put_aside_at bigint NOT NULL,
      PRIMARY KEY (projection, source, persistence_id, sequence_number)
    )`
  ]
}, {
  name: "revisions of offsets, and claims of dead letters",
  statements: ({ name, table }) => [
    `CREATE TABLE ${table("sluice_projection_source")} (
      projection text COLLATE "C" NOT NULL,
      source text COLLATE "C" NOT NULL,
      revision bigint NOT NULL,
      PRIMARY KEY (projection, source)
    )`,
    `ALTER TABLE ${table("sluice_offset")} ADD COLUMN revision bigint NOT NULL DEFAULT 0`,
    `ALTER TABLE ${table("sluice_dead_letter")} ADD COLUMN claimed_at bigint`,
    `CREATE INDEX ${name("sluice_dead_letter_event")} ON ${
      table("sluice_dead_letter")
    } (persistence_id, sequence_number)`
  ]
}, {
  name: "one event that is no JSON to PostgreSQL does not hide the others",
  statements: ({ table }) => [
    // JSON that jsonb cannot hold, such as with "\\u0000", is shown as a string. Bytes that are no text are not shown
    `CREATE OR REPLACE FUNCTION ${table("sluice_json")}(p_bytes bytea) RETURNS jsonb LANGUAGE plpgsql STABLE AS $sluice$
    DECLARE
      v_text text;
    BEGIN
      v_text := convert_from(p_bytes, 'UTF8');
      BEGIN
        RETURN v_text::jsonb;
      EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RETURN to_jsonb(v_text);
      END;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
      RETURN NULL;
    END $sluice$`,
    `CREATE OR REPLACE VIEW ${table("sluice_event")} AS
      SELECT entity_type, slice, position, to_timestamp(timestamp / 1000000.0) AS written_at, persistence_id,
        sequence_number, manifest, ${table("sluice_json")}(convert_to(tags, 'UTF8')) AS tags,
        ${table("sluice_json")}(convert_to(metadata, 'UTF8')) AS metadata,
        CASE WHEN manifest LIKE 'json.sluice/%' THEN ${table("sluice_json")}(payload) END AS event
      FROM ${table("sluice_journal")}`
  ]
}, {
  name: "changes of states in the order of time",
  statements: ({ name, table }) => [
    `CREATE INDEX ${name("sluice_state_time")} ON ${table("sluice_state")} (entity_type, timestamp, slice)`
  ]
}, {
  name: "an append that was written before waits for the standbys that its first attempt waits for",
  // it was of an earlier append function
  statements: () => []
}, {
  name: "filters of streams",
  statements: ({ table }) => [
    `CREATE TABLE ${table("sluice_filter")} (
      source text COLLATE "C" NOT NULL,
      version bigint NOT NULL,
      filter text NOT NULL,
      author text NOT NULL,
      reason text NOT NULL,
      history text NOT NULL,
      stored_at bigint NOT NULL,
      PRIMARY KEY (source, version)
    )`,
    `CREATE TABLE ${table("sluice_filter_head")} (
      source text COLLATE "C" PRIMARY KEY,
      version bigint NOT NULL
    )`,
    `ALTER TABLE ${table("sluice_projection_source")} ADD COLUMN at_least_once smallint NOT NULL DEFAULT 0`
  ]
}, {
  name: "what filters have passed over",
  statements: ({ name, table }) => [
    // the newest one by a pipeline, at each start
    `CREATE INDEX ${name("sluice_filter_author")} ON ${table("sluice_filter")} (source, author, version)`,
    `CREATE TABLE ${table("sluice_passed_over")} (
      projection text COLLATE "C" NOT NULL,
      source text COLLATE "C" NOT NULL,
      slice smallint NOT NULL,
      revision bigint NOT NULL,
      position bigint NOT NULL,
      timestamp bigint NOT NULL,
      up_to bigint NOT NULL,
      PRIMARY KEY (projection, source, slice)
    )`,
    `ALTER TABLE ${table("sluice_offset")} ADD COLUMN complete_up_to_time bigint, ADD COLUMN rewinds text`,
    `ALTER TABLE ${table("sluice_offset_entity")} ADD COLUMN revision bigint NOT NULL DEFAULT 0,
      ADD COLUMN since bigint`
  ]
}, {
  name: "how workers are doing, and what projections were told",
  statements: ({ name, table }) => [
    `CREATE TABLE ${table("sluice_process")} (
      incarnation text COLLATE "C" PRIMARY KEY,
      name text NOT NULL,
      beat_every bigint NOT NULL,
      beat_at bigint NOT NULL
    ) WITH (fillfactor = 50)`,
    `CREATE TABLE ${table("sluice_worker")} (
      incarnation text COLLATE "C" NOT NULL,
      projection text COLLATE "C" NOT NULL,
      source text COLLATE "C" NOT NULL,
      slice_min smallint NOT NULL,
      slice_max smallint NOT NULL,
      state text NOT NULL,
      revision bigint,
      lag_events bigint,
      lag_millis bigint,
      rate bigint NOT NULL,
      eta_millis bigint,
      restarts bigint NOT NULL,
      filter_version bigint,
      error_tag text,
      error text,
      error_persistence_id text,
      error_sequence_number bigint,
      failed_at bigint,
      PRIMARY KEY (incarnation, projection, source, slice_min)
    ) WITH (fillfactor = 50)`,
    `CREATE INDEX ${name("sluice_worker_projection")} ON ${table("sluice_worker")} (projection)`,
    `CREATE TABLE ${table("sluice_command")} (
      projection text COLLATE "C" NOT NULL,
      revision bigint NOT NULL,
      source text COLLATE "C",
      command text NOT NULL,
      target text,
      author text NOT NULL,
      reason text NOT NULL,
      commanded_at bigint NOT NULL,
      PRIMARY KEY (projection, revision)
    )`
  ]
}, {
  name: "the past that changes of filters have given up",
  statements: ({ name, table }) => [
    `CREATE TABLE ${table("sluice_given_up")} (
      projection text COLLATE "C" NOT NULL,
      source text COLLATE "C" NOT NULL,
      slice smallint NOT NULL,
      version bigint NOT NULL,
      until bigint NOT NULL,
      PRIMARY KEY (projection, source, slice, version)
    )`,
    `CREATE INDEX ${name("sluice_given_up_version")} ON ${table("sluice_given_up")} (source, version)`
  ]
}, {
  name: "where workers are placed",
  statements: ({ table }) => [
    `CREATE TABLE ${table("sluice_runner")} (
      workers integer NOT NULL,
      address text COLLATE "C" NOT NULL,
      runner text NOT NULL,
      healthy smallint NOT NULL,
      expires_at bigint NOT NULL,
      PRIMARY KEY (workers, address)
    ) WITH (fillfactor = 50)`,
    `CREATE TABLE ${table("sluice_runner_shard")} (
      workers integer NOT NULL,
      shard text COLLATE "C" NOT NULL,
      address text COLLATE "C" NOT NULL,
      expires_at bigint NOT NULL,
      PRIMARY KEY (workers, shard)
    ) WITH (fillfactor = 50)`
  ]
}, {
  name: "how many workers projections are to have",
  statements: ({ table }) => [
    `ALTER TABLE ${table("sluice_projection")} ADD COLUMN workers smallint,
      ADD COLUMN scalings bigint NOT NULL DEFAULT 0`
  ]
}, {
  name: "which dead letters have failed, and how, and which wait behind them",
  statements: ({ table }) => [
    `ALTER TABLE ${table("sluice_dead_letter")} ADD COLUMN queued smallint NOT NULL DEFAULT 0,
      ADD COLUMN fingerprint text COLLATE "C" NOT NULL DEFAULT ''`
  ]
}, {
  name: "versions of projections",
  statements: ({ table }) => [
    `ALTER TABLE ${table("sluice_projection")} ADD COLUMN version_of text COLLATE "C",
      ADD COLUMN version bigint NOT NULL DEFAULT 1,
      ADD COLUMN phase text COLLATE "C" NOT NULL DEFAULT 'Live'`
  ]
}, {
  name: "which events projections are to skip",
  statements: ({ table }) => [
    `CREATE TABLE ${table("sluice_skip")} (
      projection text COLLATE "C" NOT NULL,
      source text COLLATE "C" NOT NULL,
      persistence_id text COLLATE "C" NOT NULL,
      sequence_number bigint NOT NULL,
      slice smallint NOT NULL,
      author text NOT NULL,
      reason text NOT NULL,
      PRIMARY KEY (projection, source, persistence_id, sequence_number)
    )`
  ]
}, {
  name: "which slices workers have, and who has said how many there are",
  statements: ({ name, table }) => [
    `CREATE TABLE ${table("sluice_range_lease")} (
      address text COLLATE "C" NOT NULL,
      id bigint NOT NULL,
      projection text COLLATE "C" NOT NULL,
      source text COLLATE "C" NOT NULL,
      slice_min smallint NOT NULL,
      slice_max smallint NOT NULL,
      overdue text,
      PRIMARY KEY (address, id)
    ) WITH (fillfactor = 50)`,
    `CREATE INDEX ${name("sluice_range_lease_projection")} ON ${table("sluice_range_lease")} (projection)`,
    `ALTER TABLE ${table("sluice_projection")} ADD COLUMN automatic smallint NOT NULL DEFAULT 0`
  ]
}, {
  name: "where workers do not get on",
  statements: ({ table }) => [
    `ALTER TABLE ${table("sluice_worker")} ADD COLUMN stuck_slice smallint, ADD COLUMN stuck_since bigint`
  ]
}, {
  name: "appends that look for heads from where they are known to be",
  // processes that still run with an earlier version append with the function of that, sluice_append, under the same locks
  statements: (names) => [appendFunction(names, schema)]
}, {
  name: "how much of the past workers have yet to look through once more",
  statements: ({ table }) => [`ALTER TABLE ${table("sluice_worker")} ADD COLUMN past_lag bigint`]
}]
