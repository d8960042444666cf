import Sqlite from "better-sqlite3"
import type { Connection, Count, Place, Statement } from "./Connection.ts"

/** One statement, however many rows. */
export const countStatement = (table: string, counts: ReadonlyArray<Count>): Statement => ({
  sql: `INSERT INTO ${table} (id, n, quantity, last) VALUES ${counts.map(() => "(?, ?, ?, ?)").join(", ")}
    ON CONFLICT (id) DO UPDATE SET n = n + excluded.n, quantity = quantity + excluded.quantity, last = excluded.last`,
  parameters: counts.flatMap(({ id, last, n, quantity }) => [id, n, quantity, last])
})

/** As durable as Sluice's, and with the same memory. */
export const connect = async ({ url }: Place): Promise<Connection> => {
  const database = new Sqlite(url)
  for (
    const pragma of ["journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 10000", "cache_size = -65536"]
  ) {
    database.pragma(pragma)
  }
  const statements = new Map<string, Sqlite.Statement<Array<unknown>, any>>()
  const prepared = (sql: string) => {
    let statement = statements.get(sql)
    if (statement === undefined) statements.set(sql, statement = database.prepare(sql))
    return statement
  }
  const transaction = (f: () => void) => {
    prepared("BEGIN IMMEDIATE").run()
    f()
    prepared("COMMIT").run()
  }
  return {
    createTables: async () => {
      database.exec(`
        CREATE TABLE base_journal (
          ordering INTEGER PRIMARY KEY AUTOINCREMENT, slice INT NOT NULL, persistence_id TEXT NOT NULL, seq_nr INT NOT NULL,
          db_timestamp INT NOT NULL, ser_manifest TEXT NOT NULL, payload BLOB NOT NULL, tags TEXT,
          UNIQUE (persistence_id, seq_nr)
        );
        CREATE INDEX base_journal_time ON base_journal (db_timestamp, seq_nr);
        CREATE TABLE base_offset (
          projection TEXT, source TEXT, slice INT, position INT NOT NULL, timestamp INT NOT NULL, journal TEXT NOT NULL,
          updated_at INT NOT NULL, PRIMARY KEY (projection, source, slice)
        ) WITHOUT ROWID;
        CREATE TABLE base_count (id TEXT PRIMARY KEY, n INT NOT NULL, quantity INT NOT NULL, last INT NOT NULL) WITHOUT ROWID;
        CREATE TABLE ours_count (id TEXT PRIMARY KEY, n INT NOT NULL, quantity INT NOT NULL, last INT NOT NULL) WITHOUT ROWID`)
    },
    insert: async (rows) => {
      const statement = prepared(
        "INSERT INTO base_journal (slice, persistence_id, seq_nr, db_timestamp, ser_manifest, payload) VALUES (?, ?, ?, ?, ?, ?)"
      )
      const now = Date.now() * 1000
      const insert = () => {
        for (const { payload, persistenceId, sequenceNumber, slice } of rows) {
          statement.run(slice, persistenceId, sequenceNumber, now, "ItemAdded", payload)
        }
      }
      if (rows.length === 1) insert()
      else transaction(insert)
    },
    page: async (entityType, after, limit) =>
      prepared(
        `SELECT slice, position, timestamp, persistence_id, sequence_number, manifest, payload, tags, metadata FROM sluice_journal
        WHERE entity_type = ? AND timestamp > ? AND slice BETWEEN 0 AND 1023 ORDER BY timestamp LIMIT ?`
      ).all(entityType, after.timestamp, limit),
    entity: async (persistenceId) =>
      prepared("SELECT payload FROM base_journal WHERE persistence_id = ? ORDER BY seq_nr").all(persistenceId)
        .map((row) => row.payload),
    project: async (projection, counts, offsets) => {
      const count = prepared(countStatement("base_count", [{ id: "", n: 0, quantity: 0, last: 0 }]).sql)
      const offset = prepared(
        `INSERT INTO base_offset VALUES (?, 'journal', ?, ?, ?, 'identity', ?) ON CONFLICT (projection, source, slice)
        DO UPDATE SET position = excluded.position, timestamp = excluded.timestamp, updated_at = excluded.updated_at`
      )
      const now = Date.now() * 1000
      transaction(() => {
        for (const { id, last, n, quantity } of counts) count.run(id, n, quantity, last)
        for (const { position, slice, timestamp } of offsets) offset.run(projection, slice, position, timestamp, now)
      })
    },
    clear: async () => {
      database.exec("DELETE FROM base_count; DELETE FROM ours_count")
    },
    payloads: async (side, entityType) =>
      (side === "ours"
        ? prepared("SELECT payload FROM sluice_journal WHERE entity_type = ?").all(entityType)
        : prepared("SELECT payload FROM base_journal WHERE persistence_id LIKE ?").all(`${entityType}|%`))
        .map((row) => row.payload),
    counts: async (side) => prepared(`SELECT id, n FROM ${side}_count`).all(),
    offsets: async (side, projection) =>
      prepared(
        `SELECT slice, position, timestamp FROM ${
          side === "ours" ? "sluice_offset" : "base_offset"
        } WHERE projection = ? AND position > 0`
      ).all(projection),
    close: async () => {
      database.close()
    }
  }
}
