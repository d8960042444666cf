import * as Mysql from "mysql2/promise"
import type { Connection, Count, NewRow, Place, Statement } from "./Connection.ts"

const once = async (url: string, sql: string) => {
  const connection = await Mysql.createConnection(url)
  await connection.query(sql)
  await connection.end()
}
export const create = (url: string, database: string): Promise<void> => once(url, `CREATE DATABASE ${database}`)
export const drop = (url: string, database: string): Promise<void> => once(url, `DROP DATABASE ${database}`)

const list = (n: number, row: string): string => Array.from({ length: n }, () => row).join(", ")

/** One statement, however many rows. */
export const countStatement = (table: string, counts: ReadonlyArray<Count>): Statement => ({
  sql: `INSERT INTO ${table} (id, n, quantity, last) VALUES ${list(counts.length, "(?, ?, ?, ?)")}
    ON DUPLICATE KEY UPDATE n = n + VALUES(n), quantity = quantity + VALUES(quantity), last = VALUES(last)`,
  parameters: counts.flatMap(({ id, last, n, quantity }) => [id, n, quantity, last])
})

export const connect = async ({ url }: Place): Promise<Connection> => {
  const connection = await Mysql.createConnection({ uri: url, multipleStatements: true })
  const query = async (sql: string, values: Array<unknown> = []) =>
    (await connection.query(sql, values))[0] as Array<any>
  // what is sent often with the same number of values is prepared
  const run = (sql: string, values: Array<unknown>, rows: number) =>
    rows === 1 ? connection.execute(sql, values as Array<any>) : connection.query(sql, values)
  return {
    createTables: async () => {
      const count =
        `(id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY, n INT NOT NULL, quantity BIGINT NOT NULL,
        last BIGINT NOT NULL) ENGINE = InnoDB`
      await connection.query(`
        CREATE TABLE base_journal (
          slice INT NOT NULL, persistence_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, seq_nr BIGINT NOT NULL,
          db_timestamp TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
          ser_manifest VARCHAR(255) CHARACTER SET ascii NOT NULL, payload MEDIUMBLOB NOT NULL, tags TEXT,
          PRIMARY KEY (persistence_id, seq_nr), KEY ts (db_timestamp, seq_nr)
        ) ENGINE = InnoDB;
        CREATE TABLE base_offset (
          projection VARBINARY(1020), source VARBINARY(1020), slice SMALLINT, position BIGINT NOT NULL, timestamp BIGINT NOT NULL,
          journal VARCHAR(255) NOT NULL, updated_at BIGINT NOT NULL, PRIMARY KEY (projection, source, slice)
        ) ENGINE = InnoDB;
        CREATE TABLE base_count ${count};
        CREATE TABLE ours_count ${count}`)
    },
    insert: async (rows) => {
      await run(
        `INSERT INTO base_journal (slice, persistence_id, seq_nr, ser_manifest, payload, tags) VALUES ${
          list(rows.length, "(?, ?, ?, ?, ?, ?)")
        }`,
        rows.flatMap(valuesOf),
        rows.length
      )
    },
    page: async (entityType, { slice, timestamp }, limit) => {
      const [rows] = await connection.query(
        `SELECT slice, position, timestamp, CONVERT(persistence_id USING utf8mb4) AS persistence_id, sequence_number, manifest, payload, tags, metadata
        FROM sluice_journal FORCE INDEX (PRIMARY)
        WHERE entity_type = ? AND slice BETWEEN 0 AND 1023 AND timestamp >= ? AND (timestamp > ? OR slice > ?)
        ORDER BY timestamp, slice LIMIT ?`,
        [entityType, timestamp, timestamp, slice, limit]
      )
      return rows as any
    },
    entity: async (persistenceId) =>
      (await query("SELECT payload FROM base_journal WHERE persistence_id = ? ORDER BY seq_nr", [persistenceId]))
        .map((row) => row.payload),
    project: async (projection, counts, offsets) => {
      await connection.query("BEGIN")
      if (counts.length > 0) {
        const { parameters, sql } = countStatement("base_count", counts)
        await run(sql, parameters as Array<unknown>, counts.length)
      }
      await run(
        `INSERT INTO base_offset (projection, source, slice, position, timestamp, journal, updated_at) VALUES ${
          list(offsets.length, "(?, 'journal', ?, ?, ?, 'identity', UNIX_TIMESTAMP(NOW(6)) * 1000000)")
        } ON DUPLICATE KEY UPDATE position = VALUES(position), timestamp = VALUES(timestamp), updated_at = VALUES(updated_at)`,
        offsets.flatMap(({ position, slice, timestamp }) => [projection, slice, position, timestamp]),
        offsets.length
      )
      await connection.query("COMMIT")
    },
    clear: async () => {
      await connection.query("TRUNCATE base_count; TRUNCATE ours_count")
    },
    payloads: async (side, entityType) =>
      (side === "ours"
        ? await query("SELECT payload FROM sluice_journal WHERE entity_type = ?", [entityType])
        : await query("SELECT payload FROM base_journal WHERE persistence_id LIKE ?", [`${entityType}|%`]))
        .map((row) => row.payload),
    counts: (side) => query(`SELECT id, n FROM ${side}_count`),
    offsets: (side, projection) =>
      query(
        `SELECT slice, position, timestamp FROM ${
          side === "ours" ? "sluice_offset" : "base_offset"
        } WHERE projection = ? AND position > 0`,
        [projection]
      ),
    close: () => connection.end()
  }
}

const valuesOf = ({ payload, persistenceId, sequenceNumber, slice }: NewRow) => [
  slice,
  persistenceId,
  sequenceNumber,
  "ItemAdded",
  payload,
  null
]
