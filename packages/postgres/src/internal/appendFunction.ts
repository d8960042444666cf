import type { Names } from "@sluice/sql/Migrations"

/** @internal The function's name, without the prefix of this storage's tables. */
export const appendFunctionName = "sluice_append_events"

/** @internal How the function takes that an append expects nothing of its entity, or only that it has events. */
export const expectations = { any: -1, exists: -2 }

/** @internal What the function says of an append. */
export const statuses = { busy: 0, written: 1, conflict: 2, found: 3 }

/**
 * @internal
 * The append, in the database: one round trip, and every statement of the function sees what was committed when its locks were
 * held. In a single SQL statement the snapshot would be older than the lock.
 *
 * Its arguments are arrays. Of one element per log, in the order in which they are locked: its slice, and a position that it is known to
 * have had. Per append: the number of its log, from 1, the persistence id, the number of the first append that is to the same
 * entity, the sequence number that is expected of the entity (see `expectations`), whether its events may have been written before,
 * and the number of its last event. Per event: the number of its append, and what is stored. The events are in the order of the appends.
 * Arrays that would say nothing may be null: of what was written before, and of tags and metadata.
 *
 * It answers one array: the statuses of all appends (see `statuses`), then of all the sequence number of the last event, or the actual one of
 * the entity after a conflict, then its positions, then its timestamps. From each of these numbers that of the last event is taken off, so that
 * the same arrays are added to the numbers of the events that are inserted.
 *
 * An index is read backwards by whole pages, of which only the newest row is wanted. So each look for the newest row starts from a number that
 * is known: what is expected of the entity, and what the log is known to have had. It may be known wrongly, as a failover may have lost
 * events: then no row is found from there on, and the log's newest row is looked for without it.
 *
 * A single event takes a way of its own: one statement in place of three. Where it does not insert, it has changed
 * nothing, and the general way says why.
 *
 * The lock of a log is an advisory one, as a row with the head would bloat under an old snapshot. When the planner
 * plans for the first time, the tables may still be empty, and it keeps that plan. So plans that never pay here are
 * turned off. LIMIT makes each lateral query look into an index. Without it the planner may join the whole table.
 *
 * An append that may have been written before is found once its first attempt is committed on this server. A
 * synchronous standby may not have it yet. So the second attempt writes something too: its commit then waits until the
 * standby has the first.
 */
export const appendFunction = ({ table }: Names, schema: string | undefined): string => {
  const journal = table("sluice_journal")
  const columns = `entity_type, slice, position, timestamp, persistence_id, sequence_number, event_id, writer_id,
      manifest, payload, tags, metadata`
  return `CREATE OR REPLACE FUNCTION ${table(appendFunctionName)}(
    p_entity_type text, p_writer_id uuid, p_lock int, p_wait boolean,
    p_slice smallint[], p_known bigint[],
    p_log int[], p_persistence_id text[], p_first int[], p_expected bigint[], p_recheck boolean[], p_last int[],
    p_append int[], p_event_id uuid[], p_manifest text[], p_payload bytea[], p_tags text[], p_metadata text[]
  ) RETURNS bigint[]
  LANGUAGE plpgsql VOLATILE
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off${
    schema === undefined ? " SET search_path FROM CURRENT" : ""
  }
  AS $sluice$
  DECLARE
    v_now bigint;
    v_locked boolean[];
    -- of each log, and of each append's entity: what the next event follows
    v_log_position bigint[];
    v_log_timestamp bigint[];
    v_head bigint[];
    -- of each append: what it answers
    v_status bigint[];
    v_sequence_number bigint[];
    v_position bigint[];
    v_timestamp bigint[];
    v_log int;
    v_first int;
    v_before int;
    v_last int = 0;
    v_count int;
    v_missed boolean;
    v_found record;
  BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
      RAISE EXCEPTION 'events are appended in READ COMMITTED transactions, and this one is %',
        current_setting('transaction_isolation') USING ERRCODE = '25001';
    END IF;
    IF p_recheck IS NOT NULL THEN
      PERFORM pg_logical_emit_message(true, 'sluice', '');
    END IF;
    FOR i IN 1 .. cardinality(p_slice) LOOP
      v_locked[i] := pg_try_advisory_xact_lock(p_lock, p_slice[i]);
      IF p_wait AND NOT v_locked[i] THEN
        PERFORM pg_advisory_xact_lock(p_lock, p_slice[i]);
        v_locked[i] := true;
      END IF;
    END LOOP;
    v_now := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

    IF cardinality(p_event_id) = 1 AND p_recheck IS NULL AND v_locked[1] THEN
      INSERT INTO ${journal} (${columns})
      SELECT p_entity_type, p_slice[1], coalesce(l.position, 0) + 1, greatest(v_now, l.timestamp + 1),
        p_persistence_id[1], coalesce(h.sequence_number, 0) + 1, p_event_id[1], p_writer_id,
        p_manifest[1], p_payload[1], p_tags[1], p_metadata[1]
      FROM (SELECT 1) o
      LEFT JOIN LATERAL (
        SELECT j.position, j.timestamp FROM ${journal} j
        WHERE j.entity_type = p_entity_type AND j.slice = p_slice[1] AND j.position >= p_known[1]
        ORDER BY j.position DESC LIMIT 1
      ) l ON true
      LEFT JOIN LATERAL (
        SELECT j.sequence_number FROM ${journal} j
        WHERE j.persistence_id = p_persistence_id[1] AND j.sequence_number >= p_expected[1]
        ORDER BY j.sequence_number DESC LIMIT 1
      ) h ON true
      WHERE (l.position IS NOT NULL OR p_known[1] = 0) AND CASE p_expected[1]
        WHEN ${expectations.any} THEN true
        WHEN ${expectations.exists} THEN h.sequence_number IS NOT NULL
        ELSE coalesce(h.sequence_number, 0) = p_expected[1]
      END
      RETURNING sequence_number, position, timestamp INTO v_found;
      IF FOUND THEN
        RETURN ARRAY[${statuses.written}, v_found.sequence_number - 1, v_found.position - 1, v_found.timestamp - 1];
      END IF;
    END IF;

    LOOP
      SELECT array_agg(coalesce(l.position, 0)), array_agg(greatest(v_now, l.timestamp + 1)),
        bool_or(l.position IS NULL AND l.known > 0)
      INTO v_log_position, v_log_timestamp, v_missed
      FROM (
        SELECT l.position, l.timestamp, s.known FROM unnest(p_slice, p_known) WITH ORDINALITY s(slice, known, ord)
        LEFT JOIN LATERAL (
          SELECT j.position, j.timestamp FROM ${journal} j
          WHERE j.entity_type = p_entity_type AND j.slice = s.slice AND j.position >= s.known
          ORDER BY j.position DESC LIMIT 1
        ) l ON true
        ORDER BY s.ord
      ) l;
      EXIT WHEN NOT v_missed;
      p_known := array_fill(0, ARRAY[cardinality(p_known)]);
    END LOOP;
    v_head := ARRAY(
      SELECT (
        SELECT j.sequence_number FROM ${journal} j
        WHERE j.persistence_id = a.persistence_id AND j.sequence_number >= a.expected
        ORDER BY j.sequence_number DESC LIMIT 1
      )
      FROM unnest(p_persistence_id, p_expected) WITH ORDINALITY a(persistence_id, expected, ord) ORDER BY a.ord
    );

    v_status := array_fill(${statuses.busy}::bigint, ARRAY[cardinality(p_log)]);
    v_sequence_number := v_status;
    v_position := v_status;
    v_timestamp := v_status;
    FOR i IN 1 .. cardinality(p_log) LOOP
      v_log := p_log[i];
      v_first := p_first[i];
      v_before := v_last;
      v_last := p_last[i];
      CONTINUE WHEN NOT v_locked[v_log];
      IF v_head[v_first] IS NULL THEN
        v_head[v_first] := 0;
        IF p_expected[v_first] > 0 THEN
          -- it has fewer than expected
          SELECT coalesce(max(j.sequence_number), 0) AS sequence_number INTO v_found FROM ${journal} j
          WHERE j.persistence_id = p_persistence_id[i];
          v_head[v_first] := v_found.sequence_number;
        END IF;
      END IF;
      IF p_recheck[i] THEN
        SELECT j.sequence_number, j.position, j.timestamp INTO v_found FROM ${journal} j
        WHERE j.persistence_id = p_persistence_id[i] AND j.event_id = p_event_id[v_last] LIMIT 1;
        IF FOUND THEN
          v_status[i] := ${statuses.found};
          v_sequence_number[i] := v_found.sequence_number - v_last;
          v_position[i] := v_found.position - v_last;
          v_timestamp[i] := v_found.timestamp - v_last;
          CONTINUE;
        END IF;
      END IF;
      IF p_expected[i] >= 0 AND p_expected[i] <> v_head[v_first]
        OR p_expected[i] = ${expectations.exists} AND v_head[v_first] = 0
      THEN
        v_status[i] := ${statuses.conflict};
        v_sequence_number[i] := v_head[v_first] - v_last;
        CONTINUE;
      END IF;
      v_status[i] := ${statuses.written};
      v_sequence_number[i] := v_head[v_first] - v_before;
      v_position[i] := v_log_position[v_log] - v_before;
      v_timestamp[i] := v_log_timestamp[v_log] - 1 - v_before;
      v_count := v_last - v_before;
      v_head[v_first] := v_head[v_first] + v_count;
      v_log_position[v_log] := v_log_position[v_log] + v_count;
      v_log_timestamp[v_log] := v_log_timestamp[v_log] + v_count;
    END LOOP;

    INSERT INTO ${journal} (${columns})
    SELECT p_entity_type, p_slice[p_log[e.append]], v_position[e.append] + e.ord, v_timestamp[e.append] + e.ord,
      p_persistence_id[e.append], v_sequence_number[e.append] + e.ord, p_event_id[e.ord], p_writer_id,
      p_manifest[e.ord], p_payload[e.ord], p_tags[e.ord], p_metadata[e.ord]
    FROM unnest(p_append) WITH ORDINALITY e(append, ord)
    WHERE v_status[e.append] = ${statuses.written};
    RETURN v_status || v_sequence_number || v_position || v_timestamp;
  END $sluice$`
}
