import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import type { SqlStorage } from "@sluice/sql/adapter/SqlStorage"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import type * as Layer from "effect/Layer"

/** Where a storage is, as one process tells another. */
export type Where =
  | { readonly dialect: "sqlite"; readonly filename: string }
  | { readonly dialect: "postgres"; readonly url: string; readonly schema: string }
  | { readonly dialect: "mysql"; readonly url: string }

/** The storage there. */
export const open = (where: Where): Layer.Layer<SqlStorage, unknown> => {
  switch (where.dialect) {
    case "sqlite":
      return SqliteStorage.layer(where)
    case "postgres":
      return PostgresStorage.layer(where)
    case "mysql":
      return MysqlStorage.layer(where)
  }
}
