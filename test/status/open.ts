import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import type { SqlStorage } from "@sluice/sql/adapter/SqlStorage"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import type * as Layer from "effect/Layer"

/** The storage in a file, or at a URL. */
export const open = (dialect: string, database: string): Layer.Layer<SqlStorage, unknown> =>
  dialect === "sqlite"
    ? SqliteStorage.layer({ filename: database })
    : dialect === "postgres"
    ? PostgresStorage.layer({ url: database })
    : MysqlStorage.layer({ url: database })
