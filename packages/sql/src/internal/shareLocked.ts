import { type SelectQueryBuilder, sql } from "kysely"
import type { Dialect } from "../adapter/Dialect.ts"

/**
 * @internal
 * Keeps others from changing the rows until the end of the transaction. With a single writer, as on SQLite, nothing is
 * needed.
 */
export const shareLocked = <O>(
  dialect: Dialect,
  select: SelectQueryBuilder<any, any, O>
): SelectQueryBuilder<any, any, O> =>
  dialect === "mysql"
    // MariaDB has no FOR SHARE
    ? select.modifyEnd(sql`LOCK IN SHARE MODE`)
    : dialect === "postgres"
    ? select.forShare()
    : select
