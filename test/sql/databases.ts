/** The databases, for tests that are the same on all of them. */
import type { StorageError } from "@sluice/core/StorageError"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import type { Dialect } from "@sluice/sql/adapter/Dialect"
import type { SqlStorage } from "@sluice/sql/adapter/SqlStorage"
import type { MigrationError } from "@sluice/sql/Migrations"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Mysql from "mysql2/promise"
import Pg from "pg"
import { inject } from "vitest"
import { quickFile } from "../../packages/sqlite/test/files.ts"
import { isFull } from "../../packages/testing/src/internal/isFull.ts"
import type { Where } from "../status/open.ts"

export interface Options {
  /** Where the server is reached, if not directly. */
  readonly port?: number | undefined
  readonly migrate?: boolean | undefined
  readonly poolSize?: number | undefined
  readonly connectTimeout?: number | undefined
  readonly statementTimeout?: number | undefined
  readonly lockTimeout?: number | undefined
}

/** A place of its own in a database, where there is nothing yet. */
export interface Place {
  readonly layer: (options?: Options) => Layer.Layer<SqlStorage, StorageError | MigrationError>
  /** How another process opens it. */
  readonly where: Where
  /** What the storage prints for whoever creates the tables by hand. */
  readonly migrations: (from?: number) => string
  /** Runs SQL as a person would, beside the storage. */
  readonly execute: (sql: string) => Promise<ReadonlyArray<any>>
  /** A table's name as it stands in SQL there. */
  readonly table: (name: string) => string
  /** Where the server is, if there is one. */
  readonly port?: number
}

export interface DatabaseUnderTest {
  readonly name: string
  readonly dialect: Dialect
  readonly place: Effect.Effect<Place, never, Scope.Scope>
  /** A query that takes a minute. */
  readonly slow: string
}

/** The URL that leads there by the port that was asked for. */
const reached = (url: string, options: Options | undefined): string => {
  const there = new URL(url)
  if (options?.port !== undefined) there.port = String(options.port)
  return there.href
}

const id = () => crypto.randomUUID().slice(0, 8)

const sqlite: Effect.Effect<Place, never, Scope.Scope> = Effect.map(
  quickFile,
  (filename): Place => {
    return {
      where: { dialect: "sqlite", filename },
      layer: (options) => SqliteStorage.layer({ ...options, filename }),
      migrations: (from) => SqliteStorage.migrations({ from }),
      execute: async (sql) => {
        const connection = new Sqlite(filename)
        try {
          if (/^select/i.test(sql)) return connection.prepare(sql).all()
          connection.exec(sql)
          return []
        } finally {
          connection.close()
        }
      },
      table: (name) => `"${name}"`
    }
  }
)

const postgres: Effect.Effect<Place, never, Scope.Scope> = Effect.suspend(() => {
  const url = inject("postgres")
  const schema = `s_${id()}`
  const execute = async (sql: string) => {
    const client = new Pg.Client({ connectionString: url })
    await client.connect()
    try {
      return (await client.query(sql)).rows ?? []
    } finally {
      await client.end()
    }
  }
  const place: Place = {
    where: { dialect: "postgres", url, schema },
    layer: (options) => PostgresStorage.layer({ ...options, url: reached(url, options), schema }),
    migrations: (from) => PostgresStorage.migrations({ schema, from }),
    execute,
    table: (name) => `"${schema}"."${name}"`,
    port: Number(new URL(url).port)
  }
  return Effect.as(
    Effect.addFinalizer(() => Effect.promise(() => execute(`DROP SCHEMA IF EXISTS ${schema} CASCADE`))),
    place
  )
})

const mysql = (server: "mariadb" | "mysql"): Effect.Effect<Place, never, Scope.Scope> =>
  Effect.suspend(() => {
    const database = `s_${id()}`
    const url = new URL(inject(server))
    const within = async (sql: string, name: string | undefined) => {
      if (name !== undefined) url.pathname = name
      const connection = await Mysql.createConnection({ uri: url.href, multipleStatements: true })
      try {
        const [rows] = await connection.query(sql)
        return Array.isArray(rows) ? rows : []
      } finally {
        await connection.end()
      }
    }
    const place: Place = {
      get where() {
        return { dialect: "mysql" as const, url: url.href }
      },
      layer: (options) => MysqlStorage.layer({ ...options, url: reached(url.href, options) }),
      migrations: (from) => MysqlStorage.migrations({ from }),
      execute: (sql) => within(sql, database),
      table: (name) => `\`${name}\``,
      port: Number(url.port)
    }
    return Effect.as(
      Effect.acquireRelease(
        Effect.promise(async () => {
          await within(`CREATE DATABASE ${database}`, undefined)
          url.pathname = database
        }),
        () => Effect.promise(() => within(`DROP DATABASE ${database}`, database))
      ),
      place
    )
  })

const mysql9: DatabaseUnderTest = {
  name: "MySQL",
  dialect: "mysql",
  place: mysql("mysql"),
  // a SLEEP would end without an error
  slow: `SELECT COUNT(*) AS n FROM ${["a", "b", "c", "d"].map((_) => `information_schema.collations ${_}`).join(", ")}`
}

export const databases: ReadonlyArray<DatabaseUnderTest> = [
  {
    name: "SQLite",
    dialect: "sqlite",
    place: sqlite,
    slow: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3e9) SELECT max(i) FROM n"
  },
  { name: "PostgreSQL", dialect: "postgres", place: postgres, slow: "SELECT pg_sleep(60) IS NULL AS slept" },
  { name: "MariaDB", dialect: "mysql", place: mysql("mariadb"), slow: "SELECT SLEEP(60) AS slept" },
  ...(inject("mysql") === "" ? [] : [mysql9])
]

const isServer = ({ dialect }: DatabaseUnderTest): boolean => dialect !== "sqlite"

/** Databases that do their work in another process. */
export const servers = databases.filter(isServer)

/**
 * One database for each adapter, for what stands above a storage and knows no SQL: MariaDB and MySQL have the same adapter, which keeps the
 * same promises on both, as the suites of storages say.
 */
export const adapters = databases.filter(({ name }) => isFull || name !== "MySQL")

/** Those of them that do their work in another process. */
export const serversOfAdapters = adapters.filter(isServer)
