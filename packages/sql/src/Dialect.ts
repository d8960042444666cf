/**
 * The SQL dialects, as Kysely compiles them.
 *
 * @since 0.1.0
 */
import type { Statement } from "@sluice/core/Transaction"
import type { CompiledQuery, QueryCompiler, RootOperationNode } from "kysely"
import { createQueryId, SqliteQueryCompiler } from "kysely"

/**
 * @category models
 * @since 0.1.0
 */
export type Dialect = "sqlite"

const compilers: Record<Dialect, QueryCompiler> = {
  sqlite: new SqliteQueryCompiler()
}

/**
 * A Kysely query that yields `A`: a query builder, or Kysely's `sql` template. It is bound to no connection and no
 * dialect: the database that runs it compiles it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Query<A> {
  readonly toOperationNode: () => RootOperationNode
  readonly compile: (...args: any) => CompiledQuery<A>
}

/**
 * @category compiling
 * @since 0.1.0
 */
export const compile = (dialect: Dialect, query: Query<unknown>): Statement => {
  const { parameters, sql } = compilers[dialect].compileQuery(query.toOperationNode(), createQueryId())
  return { sql, parameters }
}
