import { type InsertQueryBuilder, sql } from "kysely"
import type { Dialect } from "../adapter/Dialect.ts"
import type { SluiceTables } from "../SluiceTables.ts"

/**
 * @internal
 * Updates the rows that exist to the inserted values. Each value is sent once, as it may be as large as a packet.
 */
export const upsert = <Table extends keyof SluiceTables, O>(
  dialect: Dialect,
  insert: InsertQueryBuilder<SluiceTables, Table, O>,
  key: ReadonlyArray<keyof SluiceTables[Table] & string>,
  changed: ReadonlyArray<keyof SluiceTables[Table] & string>
): InsertQueryBuilder<SluiceTables, Table, O> =>
  dialect === "mysql"
    ? insert.onDuplicateKeyUpdate(
      Object.fromEntries(changed.map((column) => [column, sql`VALUES(${sql.ref(column)})`])) as any
    )
    : insert.onConflict((_) =>
      _.columns(key).doUpdateSet((eb: any) =>
        Object.fromEntries(changed.map((column) => [column, eb.ref(`excluded.${column}`)])) as any
      )
    )
