import type { Names } from "@sluice/sql/Migrations"

/**
 * @internal
 * The append, in the database: one round trip, and every statement of the function sees what was committed when its locks were
 * held. In a single SQL statement the snapshot would be older than the lock.
 *
 * Its arguments are arrays: of one element per append (slice, persistence id, the sequence number that is expected of the entity, -1 for
 * any and -2 for some, and whether its events may have been written before), and of one per event (the number of its append, from 1, and
 * what is stored). It answers a row per append: its status, and the last event's sequence number, position and timestamp. Status 0: the
 * log is locked; 1: written; 2: not as expected, with the actual sequence number; 3: written before.
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
  return `CREATE OR REPLACE FUNCTION ${table("sluice_append")}(
    p_entity_type text, p_writer_id uuid, p_lock int, p_wait boolean,
    p_slice smallint[], p_persistence_id text[], p_expected bigint[], p_recheck boolean[],
    p_append int[], p_event_id uuid[], p_manifest text[], p_payload bytea[], p_tags text[], p_metadata text[]
  ) RETURNS TABLE (status smallint, sequence_number bigint, "position" bigint, "timestamp" bigint)
  LANGUAGE plpgsql VOLATILE
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off${
    schema === undefined ? " SET search_path FROM CURRENT" : ""
  }
  AS $sluice$
  #variable_conflict use_column
  DECLARE
    v_free smallint[];
    v_now bigint;
  BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
      RAISE EXCEPTION 'events are appended in READ COMMITTED transactions, and this one is %',
        current_setting('transaction_isolation') USING ERRCODE = '25001';
    END IF;
    IF true = ANY (p_recheck) THEN
      PERFORM pg_logical_emit_message(true, 'sluice', '');
    END IF;
    IF p_wait THEN
      PERFORM pg_advisory_xact_lock(p_lock, s.slice)
      FROM (SELECT DISTINCT u.slice FROM unnest(p_slice) u(slice) ORDER BY 1) s;
      v_free := p_slice;
    ELSE
      SELECT array_agg(s.slice) INTO v_free
      FROM (SELECT DISTINCT u.slice FROM unnest(p_slice) u(slice) ORDER BY 1) s
      WHERE pg_try_advisory_xact_lock(p_lock, s.slice);
    END IF;
    v_now := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    RETURN QUERY
    WITH judged AS MATERIALIZED (
      SELECT a.append, a.slice, a.persistence_id,
        coalesce(h.sequence_number, 0) AS head,
        coalesce(l.position, 0) AS log_position,
        greatest(v_now, l.timestamp + 1) AS first_timestamp,
        f.sequence_number AS found_sequence_number, f.position AS found_position, f.timestamp AS found_timestamp,
        CASE
          WHEN v_free IS NULL OR a.slice <> ALL (v_free) THEN 0
          WHEN f.sequence_number IS NOT NULL THEN 3
          WHEN a.expected >= 0 AND a.expected <> coalesce(h.sequence_number, 0)
            OR a.expected = -2 AND h.sequence_number IS NULL THEN 2
          ELSE 1
        END AS status
      FROM unnest(p_slice, p_persistence_id, p_expected, p_recheck) WITH ORDINALITY
        a(slice, persistence_id, expected, recheck, append)
      LEFT JOIN LATERAL (
        SELECT j.sequence_number FROM ${journal} j
        WHERE j.persistence_id = a.persistence_id ORDER BY j.sequence_number DESC LIMIT 1
      ) h ON true
      LEFT JOIN LATERAL (
        SELECT j.position, j.timestamp FROM ${journal} j
        WHERE j.entity_type = p_entity_type AND j.slice = a.slice ORDER BY j.position DESC LIMIT 1
      ) l ON true
      LEFT JOIN LATERAL (
        SELECT j.sequence_number, j.position, j.timestamp FROM ${journal} j
        WHERE a.recheck AND j.persistence_id = a.persistence_id AND j.event_id = (
          SELECT e.event_id FROM unnest(p_append, p_event_id) WITH ORDINALITY e(append, event_id, ord)
          WHERE e.append = a.append ORDER BY e.ord DESC LIMIT 1
        ) LIMIT 1
      ) f ON true
    ), placed AS MATERIALIZED (
      SELECT j.append, j.slice, j.persistence_id, e.event_id, e.manifest, e.payload, e.tags, e.metadata,
        j.head + row_number() OVER (PARTITION BY j.persistence_id ORDER BY e.ord) AS sequence_number,
        j.log_position + row_number() OVER w AS position,
        j.first_timestamp - 1 + row_number() OVER w AS timestamp
      FROM unnest(p_append, p_event_id, p_manifest, p_payload, p_tags, p_metadata) WITH ORDINALITY
        e(append, event_id, manifest, payload, tags, metadata, ord)
      JOIN judged j ON j.append = e.append AND j.status = 1
      WINDOW w AS (PARTITION BY j.slice ORDER BY e.ord)
    ), inserted AS (
      INSERT INTO ${journal} (entity_type, slice, position, timestamp, persistence_id, sequence_number, event_id,
        writer_id, manifest, payload, tags, metadata)
      SELECT p_entity_type, p.slice, p.position, p.timestamp, p.persistence_id, p.sequence_number, p.event_id,
        p_writer_id, p.manifest, p.payload, p.tags, p.metadata
      FROM placed p
    )
    SELECT j.status::smallint, coalesce(p.sequence_number, j.found_sequence_number, j.head),
      coalesce(p.position, j.found_position, 0), coalesce(p.timestamp, j.found_timestamp, 0)
    FROM judged j
    LEFT JOIN (
      SELECT q.append, max(q.sequence_number) AS sequence_number, max(q.position) AS position,
        max(q.timestamp) AS timestamp
      FROM placed q GROUP BY q.append
    ) p ON p.append = j.append
    ORDER BY j.append;
  END $sluice$`
}
