/**
 * The versions of the tables, and how each is made from the one before.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { SqlError } from "effect/sql/SqlError"
import type { Database } from "./Database.ts"

/**
 * The statements that lead from one version of the tables to the next. They are never changed once released.
 *
 * @category models
 * @since 0.1.0
 */
export interface Migration {
  readonly name: string
  readonly statements: ReadonlyArray<string>
}

/**
 * The tables are of a later version than this program knows. Update the program.
 *
 * @category errors
 * @since 0.1.0
 */
export class SchemaTooNew extends Schema.TaggedError<SchemaTooNew>("@sluice/sql/SchemaTooNew")("SchemaTooNew", {
  found: Schema.Int,
  known: Schema.Int
}) {
  override get message(): string {
    return `The database's tables are of version ${this.found}, and this program knows up to ${this.known}: update the program`
  }
}

/**
 * Brings the tables to the latest version, in one transaction that locks others out. Several processes may do so at the same
 * time.
 *
 * @category running
 * @since 0.1.0
 */
export const run = (
  database: Database["Service"],
  migrations: ReadonlyArray<Migration>
): Effect.Effect<void, SchemaTooNew | SqlError> =>
  database.withTransaction(Effect.gen(function*() {
    const { sql } = database
    yield* sql`CREATE TABLE IF NOT EXISTS sluice_migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL)`
    const rows = yield* sql<{ version: number | null }>`SELECT MAX(version) AS version FROM sluice_migration`
    const found = rows[0]?.version ?? 0
    if (found > migrations.length) return yield* new SchemaTooNew({ found, known: migrations.length })
    for (const [i, { name, statements }] of migrations.entries()) {
      const version = i + 1
      if (version <= found) continue
      for (const statement of statements) yield* sql.unsafe(statement)
      yield* sql`INSERT INTO sluice_migration ${sql.insert({ version, name })}`
    }
  }))
