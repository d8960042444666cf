/**
 * The versions of Sluice's tables, and how each is made from the one before.
 *
 * @since 0.1.0
 */
import * as ExpectedError from "@sluice/core/ExpectedError"
import type { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { SqlError } from "effect/sql/SqlError"
import type { Dialect } from "./adapter/Dialect.ts"
import * as Naming from "./adapter/Naming.ts"
import { connectingFor } from "./adapter/SqlStorageError.ts"
import type { Database } from "./Database.ts"

/**
 * How the statements of a migration name things.
 *
 * @category models
 * @since 0.1.0
 */
export interface Names {
  /** A table, with its schema and prefix, quoted. */
  readonly table: (table: `sluice_${string}`) => string
  /** Anything else that belongs to Sluice, with its prefix. */
  readonly name: (name: `sluice_${string}`) => string
}

/**
 * The statements that lead from one version of the tables to the next. They are never changed once released.
 *
 * @category models
 * @since 0.1.0
 */
export interface Migration {
  readonly name: string
  /** The statements in their order. */
  readonly statements: (names: Names) => ReadonlyArray<string>
}

/**
 * The tables are of a later version than this program knows. Update the program.
 *
 * @category errors
 * @since 0.1.0
 */
export class SchemaTooNew extends ExpectedError.TaggedError<SchemaTooNew>("@sluice/sql/SchemaTooNew")("SchemaTooNew", {
  found: Schema.Int,
  known: Schema.Int
}) {
  override get message(): string {
    return `Sluice's tables are of version ${this.found}, and this program knows up to ${this.known}: update the program`
  }
}

/**
 * The tables are missing, or of an earlier version than this program needs, and `migrate` is false. Apply the
 * migrations, which the storage prints as SQL, or let the program do so (`migrate`).
 *
 * @category errors
 * @since 0.1.0
 */
export class SchemaTooOld extends ExpectedError.TaggedError<SchemaTooOld>("@sluice/sql/SchemaTooOld")("SchemaTooOld", {
  found: Schema.Int,
  needed: Schema.Int
}) {
  override get message(): string {
    const found = this.found === 0 ? "do not exist" : `are of version ${this.found}`
    return `Sluice's tables ${found}, and this program needs version ${this.needed}: ` +
      "apply the migrations, which the storage's 'migrations' prints as SQL, or leave 'migrate' on"
  }
}

/**
 * What goes wrong with the tables at the start.
 *
 * @category errors
 * @since 0.1.0
 */
export type MigrationError = SchemaTooNew | SchemaTooOld

/**
 * Where, and what.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly database: Database["Service"]
  readonly naming: Naming.Naming
  readonly migrations: ReadonlyArray<Migration>
  /**
   * Runs the effect while no other process migrates. It does so in a transaction if the database can change tables in
   * one.
   */
  readonly exclusively: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E | SqlError>
}

const namesOf = (dialect: Dialect, naming: Naming.Naming): Names => ({
  table: (table) => Naming.quoted(dialect, naming, table),
  name: (name) => Naming.quoted(dialect, { prefix: naming.prefix }, name)
})

const createSchema = (dialect: Dialect, { schema }: Naming.Naming): ReadonlyArray<string> =>
  dialect === "postgres" && schema !== undefined
    ? [`CREATE SCHEMA IF NOT EXISTS "${schema.replaceAll("\"", "\"\"")}"`]
    : []

const createVersions = (dialect: Dialect, naming: Naming.Naming): string =>
  `CREATE TABLE IF NOT EXISTS ${Naming.quoted(dialect, naming, "sluice_migration")} (
    version INTEGER PRIMARY KEY, name VARCHAR(100) NOT NULL
  )`

const insertVersion = ({ table }: Names, version: number, name: string): string =>
  `INSERT INTO ${table("sluice_migration")} (version, name) VALUES (${version}, '${name}')`

/**
 * Brings the tables to the latest version, and returns that which they had, 0 for none. Several processes may do so at the same time.
 *
 * @category running
 * @since 0.1.0
 */
export const run = (options: Options): Effect.Effect<number, SchemaTooNew | SqlError> => {
  const { database: { dialect, sql }, migrations, naming } = options
  const names = namesOf(dialect, naming)
  return Effect.flatMap(versionOf(options), (found): Effect.Effect<number, SchemaTooNew | SqlError> => {
    if (found > migrations.length) return Effect.fail(new SchemaTooNew({ found, known: migrations.length }))
    if (found === migrations.length) return Effect.succeed(found)
    return options.exclusively(Effect.gen(function*() {
      // a role that owns the schema may lack the permission to create schemas
      if (!(yield* hasSchema(options))) {
        for (const statement of createSchema(dialect, naming)) yield* sql.unsafe(statement)
      }
      yield* sql.unsafe(createVersions(dialect, naming))
      const rows = yield* sql.unsafe<{ version: number | null }>(
        `SELECT MAX(version) AS version FROM ${names.table("sluice_migration")}`
      )
      const before = rows[0]?.version ?? 0
      for (let version = before + 1; version <= migrations.length; version++) {
        const { name, statements } = migrations[version - 1]!
        for (const statement of statements(names)) yield* sql.unsafe(statement)
        yield* sql.unsafe(insertVersion(names, version, name))
      }
      return before
    }))
  })
}

/**
 * Fails unless the tables are of the latest version.
 *
 * @category running
 * @since 0.1.0
 */
export const check = (
  options: Pick<Options, "database" | "naming" | "migrations">
): Effect.Effect<void, MigrationError | SqlError> =>
  Effect.flatMap(versionOf(options), (found): Effect.Effect<void, MigrationError> => {
    const known = options.migrations.length
    if (found > known) return Effect.fail(new SchemaTooNew({ found, known }))
    return found < known ? Effect.fail(new SchemaTooOld({ found, needed: known })) : Effect.void
  })

/**
 * What a storage does when it is opened: {@link run}, or {@link check} where it may not change tables. It logs which tables it then works with.
 * `where` says the server or the file, without a password.
 *
 * @category running
 * @since 0.1.0
 */
export const prepare = (
  { migrate, where, ...options }: Options & { readonly migrate: boolean | undefined; readonly where: string }
): Effect.Effect<void, MigrationError | StorageError> => {
  const { migrations: { length: version }, naming: { prefix, schema } } = options
  return (migrate === false ? Effect.as(check(options), version) : run(options)).pipe(
    Effect.catchTag("SqlError", (error) => Effect.fail(connectingFor("create the tables")(error))),
    Effect.flatMap((found) =>
      Effect.flatMap(databaseName(options), (database) => {
        const names = { database, schema, tablePrefix: prefix === "sluice_" ? undefined : prefix }
        const tables = found === 0
          ? `tables created, of version ${version}`
          : found < version
          ? `tables migrated from version ${found} to ${version}`
          : `tables of version ${version}`
        const said = [["database", database], ["schema", schema], ["table prefix", names.tablePrefix]]
          .flatMap(([what, name]) => name === undefined ? [] : [`, ${what} '${name}'`])
        return Effect.annotateLogs(Effect.logInfo(`Storage is ${where}${said.join("")}: ${tables}`), {
          ...Object.fromEntries(Object.entries(names).filter(([, name]) => name !== undefined)),
          storage: where,
          version
        })
      })
    )
  )
}

/** The database as the server names it, where it has several. */
const databaseName = (
  { database: { dialect, sql } }: Pick<Options, "database">
): Effect.Effect<string | undefined> =>
  dialect === "sqlite" ? Effect.undefined : sql.unsafe<{ name: string }>(
    `SELECT ${dialect === "postgres" ? "current_database()" : "DATABASE()"} AS name`
  ).pipe(
    Effect.map((rows) => rows[0]?.name),
    // the line in the log goes without it
    Effect.orElseSucceed(() => undefined)
  )

const versionOf = (
  { database: { dialect, sql }, naming }: Pick<Options, "database" | "naming">
): Effect.Effect<number, SqlError> =>
  sql.unsafe<{ version: number | null }>(
    `SELECT MAX(version) AS version FROM ${namesOf(dialect, naming).table("sluice_migration")}`
  ).pipe(
    Effect.map((rows) => rows[0]?.version ?? 0),
    // the first time there is no such table
    Effect.catchIf((error) => isMissingTable(error), () => Effect.succeed(0))
  )

const hasSchema = ({ database: { dialect, sql }, naming: { schema } }: Options): Effect.Effect<boolean, SqlError> =>
  dialect !== "postgres" || schema === undefined
    ? Effect.succeed(true)
    : Effect.map(sql`SELECT nspname FROM pg_namespace WHERE nspname = ${schema}`, (rows) => rows.length > 0)

const isMissingTable = (error: SqlError): boolean => {
  const { cause } = error.reason
  const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""
  return code === "42P01" || code === "3F000" || code === "ER_NO_SUCH_TABLE" || /no such table/.test(error.message)
}

/**
 * The statements that lead from a version, 0 for none, to the latest, as SQL for whoever applies them by hand.
 *
 * @category converting
 * @since 0.1.0
 */
export const print = (
  dialect: Dialect,
  naming: Naming.Naming,
  migrations: ReadonlyArray<Migration>,
  from = 0
): string => {
  const names = namesOf(dialect, naming)
  const text = migrations.slice(from).flatMap(({ name, statements }, i) => [
    `-- version ${from + i + 1}: ${name}`,
    ...statements(names).map((statement) => `${statement};`),
    `${insertVersion(names, from + i + 1, name)};`
  ])
  const prelude = [...createSchema(dialect, naming), createVersions(dialect, naming)]
  return [...prelude.map((statement) => `${statement};`), ...text, ""].join("\n")
}
