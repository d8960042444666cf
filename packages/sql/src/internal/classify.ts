import * as SqlError from "effect/sql/SqlError"
import type { Dialect } from "../Dialect.ts"

/** @internal What the driver's error means. */
export const classify = (dialect: Dialect, cause: unknown, operation: string): SqlError.SqlErrorReason => {
  const props = { cause, operation, message: cause instanceof Error ? cause.message : String(cause) }
  switch (dialect) {
    case "sqlite":
      return SqlError.classifySqliteError(cause, props)
  }
}
