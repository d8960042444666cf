import * as Naming from "@sluice/sql/adapter/Naming"
import type { NumberRow, Numbers } from "@sluice/sql/adapter/SqlOffsetStore"
import type { Database } from "@sluice/sql/Database"
import * as Binary from "./binaryArray.ts"

/** @internal Loads and stores the sequence numbers of entities, however many, in one statement each; see `SqlOffsetStore`. */
export const makeNumbers = (database: Database["Service"], naming: Naming.Naming): Numbers => {
  const offsets = Naming.quoted("postgres", naming, "sluice_offset")
  const entities = Naming.quoted("postgres", naming, "sluice_offset_entity")
  const select = `SELECT persistence_id, sequence_number, revision, since FROM ${entities}
    WHERE projection = $1 AND source = $2 AND persistence_id = ANY($3::text[])`
  // each part of it sees what was stored before
  const store = `WITH handled AS (
      SELECT * FROM unnest($4::text[], $5::bigint[], $6::bigint[]) h(persistence_id, first, last)
    ), begun AS (
      UPDATE ${offsets} o SET complete_up_to = m.position, complete_up_to_time = m.timestamp
      FROM unnest($7::smallint[], $8::bigint[], $9::bigint[]) m(slice, position, timestamp)
      WHERE o.projection = $1 AND o.source = $2 AND o.slice = m.slice AND o.complete_up_to IS NULL
    ), stored AS (
      INSERT INTO ${entities} (projection, source, persistence_id, sequence_number, revision)
      SELECT $1, $2, persistence_id, last, $3::bigint FROM handled
      ON CONFLICT (projection, source, persistence_id)
      DO UPDATE SET sequence_number = excluded.sequence_number, revision = excluded.revision, since = NULL
    )
    SELECT e.persistence_id, e.sequence_number, e.revision, e.since
    FROM handled h JOIN ${entities} e ON e.projection = $1 AND e.source = $2 AND e.persistence_id = h.persistence_id
    WHERE e.sequence_number >= h.first`
  return {
    load: ({ projection, source }, persistenceIds) =>
      database.sql.unsafe<NumberRow>(select, [projection, source, Binary.texts(persistenceIds)]),
    store: ({ projection, source }, revision, moves) => {
      const handled = moves.flatMap(({ entities }) => [...entities!])
      return database.sql.unsafe<NumberRow>(store, [
        projection,
        source,
        revision,
        Binary.texts(handled.map(([persistenceId]) => persistenceId)),
        Binary.bigints(handled.map(([, { first }]) => first)),
        Binary.bigints(handled.map(([, { last }]) => last)),
        Binary.smallints(moves.map(({ slice }) => slice)),
        Binary.bigints(moves.map(({ from }) => from?.position ?? 0)),
        Binary.bigints(moves.map(({ from }) => from?.timestamp ?? 0))
      ])
    }
  }
}
