import Pg from "pg"
import type { Connection, Count, NewRow, Place, Statement } from "./Connection.ts"

const types: Pg.CustomTypesConfig = {
  getTypeParser: (oid: any, format?: any) => oid === 20 ? Number : Pg.types.getTypeParser(oid, format)
}

/** On a connection of its own. */
export const once = async (url: string, sql: string): Promise<ReadonlyArray<any>> => {
  const client = new Pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}
export const create = (url: string, schema: string): Promise<unknown> => once(url, `CREATE SCHEMA ${schema}`)
export const drop = (url: string, schema: string): Promise<unknown> =>
  once(url, `SET client_min_messages = warning; DROP SCHEMA ${schema} CASCADE`)

const columns = ["slice", "persistence_id", "seq_nr", "ser_manifest", "payload", "tags"]
const inserts = new Map<number, string>()
const insertOf = (n: number): string => {
  let text = inserts.get(n)
  if (text === undefined) {
    const values = Array.from(
      { length: n },
      (_, i) => `(${columns.map((_, j) => `$${i * columns.length + j + 1}`).join(", ")})`
    )
    inserts.set(n, text = `INSERT INTO base_journal (${columns.join(", ")}) VALUES ${values.join(", ")}`)
  }
  return text
}

/** A page is read along its index, though the table was filled a moment ago and the planner does not know. */
const alongIndexes = "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off -c jit=off"

/** One statement, however many rows. */
export const countStatement = (table: string, counts: ReadonlyArray<Count>): Statement => ({
  sql: `INSERT INTO ${table} AS c (id, n, quantity, last)
    SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[])
    ON CONFLICT (id) DO UPDATE SET n = c.n + excluded.n, quantity = c.quantity + excluded.quantity, last = excluded.last`,
  parameters: [
    counts.map((_) => _.id),
    counts.map((_) => _.n),
    counts.map((_) => _.quantity),
    counts.map((_) => _.last)
  ]
})

const offsetText = `INSERT INTO base_offset (projection, source, slice, position, timestamp, journal, updated_at)
  SELECT $1, 'journal', slice, position, timestamp, 'identity', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
  FROM unnest($2::smallint[], $3::bigint[], $4::bigint[]) o(slice, position, timestamp)
  ON CONFLICT (projection, source, slice) DO UPDATE
  SET position = excluded.position, timestamp = excluded.timestamp, updated_at = excluded.updated_at`

export const connect = async ({ schema, url }: Place): Promise<Connection> => {
  const client = new Pg.Client({ connectionString: url, options: `-c search_path=${schema} ${alongIndexes}`, types })
  await client.connect()
  const query = async (text: string, values: Array<unknown> = []) => (await client.query(text, values)).rows
  return {
    createTables: async () => {
      await client.query(`
        CREATE TABLE base_journal (
          slice int NOT NULL, persistence_id text NOT NULL, seq_nr bigint NOT NULL,
          db_timestamp timestamptz NOT NULL DEFAULT statement_timestamp(), ser_manifest text NOT NULL,
          payload bytea NOT NULL, tags text[], PRIMARY KEY (persistence_id, seq_nr)
        );
        CREATE INDEX base_journal_time ON base_journal (db_timestamp, seq_nr);
        CREATE TABLE base_offset (
          projection text COLLATE "C", source text COLLATE "C", slice smallint, position bigint NOT NULL, timestamp bigint NOT NULL,
          journal text NOT NULL, updated_at bigint NOT NULL, PRIMARY KEY (projection, source, slice)
        ) WITH (fillfactor = 50);
        CREATE TABLE base_count (id text PRIMARY KEY, n int NOT NULL, quantity bigint NOT NULL, last bigint NOT NULL);
        CREATE TABLE ours_count (LIKE base_count INCLUDING ALL)`)
    },
    insert: async (rows) => {
      await client.query({ name: `insert${rows.length}`, text: insertOf(rows.length), values: rows.flatMap(valuesOf) })
    },
    page: async (entityType, after, limit) => {
      const { rows } = await client.query({
        name: "page",
        text:
          `SELECT slice, position, timestamp, persistence_id, sequence_number, manifest, payload, tags, metadata FROM sluice_journal
          WHERE entity_type = $1 AND slice BETWEEN 0 AND 1023 AND (timestamp, slice) > ($2, $3)
          ORDER BY timestamp, slice LIMIT $4`,
        values: [entityType, after.timestamp, after.slice, limit]
      })
      return rows
    },
    entity: async (persistenceId) =>
      (await query("SELECT payload FROM base_journal WHERE persistence_id = $1 ORDER BY seq_nr", [persistenceId]))
        .map((row) => row.payload),
    project: async (projection, counts, offsets) => {
      await client.query("BEGIN")
      if (counts.length > 0) {
        const { parameters, sql } = countStatement("base_count", counts)
        await client.query({ name: "count", text: sql, values: parameters as Array<unknown> })
      }
      await client.query({
        name: "offset",
        text: offsetText,
        values: [
          projection,
          offsets.map((_) => _.slice),
          offsets.map((_) => _.position),
          offsets.map((_) => _.timestamp)
        ]
      })
      await client.query("COMMIT")
    },
    clear: async () => {
      await client.query("TRUNCATE base_count, ours_count")
    },
    payloads: async (side, entityType) =>
      (side === "ours"
        ? await query("SELECT payload FROM sluice_journal WHERE entity_type = $1", [entityType])
        : await query("SELECT payload FROM base_journal WHERE starts_with(persistence_id, $1)", [`${entityType}|`]))
        .map((row) => row.payload),
    counts: (side) => query(`SELECT id, n FROM ${side}_count`),
    offsets: (side, projection) =>
      query(
        `SELECT slice, position, timestamp FROM ${
          side === "ours" ? "sluice_offset" : "base_offset"
        } WHERE projection = $1 AND position > 0`,
        [projection]
      ),
    close: () => client.end()
  }
}

const noTags: ReadonlyArray<string> = []
const valuesOf = ({ payload, persistenceId, sequenceNumber, slice }: NewRow) => [
  slice,
  persistenceId,
  sequenceNumber,
  "ItemAdded",
  payload,
  noTags
]
