/**
 * The SQL dialects, as Kysely compiles them.
 *
 * @since 0.1.0
 */
import type { Statement } from "@sluice/core/Transaction"
import type { CompiledQuery, QueryCompiler, RootOperationNode } from "kysely"
import { createQueryId, MysqlQueryCompiler, PostgresQueryCompiler, SqliteQueryCompiler } from "kysely"

/**
 * The name of a SQL dialect.
 *
 * @category models
 * @since 0.1.0
 */
export type Dialect = "sqlite" | "postgres" | "mysql"

const compilers: Record<Dialect, QueryCompiler> = {
  sqlite: new SqliteQueryCompiler(),
  postgres: new PostgresQueryCompiler(),
  mysql: new MysqlQueryCompiler()
}

/**
 * A Kysely query that yields `A`: a query builder, or Kysely's `sql` template. It is bound to no connection and no
 * dialect: the database that runs it compiles it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Query<A> {
  /** The query as Kysely builds it, for a compiler. */
  readonly toOperationNode: () => RootOperationNode
  /** Only says what type the rows have. */
  readonly compile: (...args: any) => CompiledQuery<A>
}

/**
 * The SQL of a query, with its parameters.
 *
 * @category compiling
 * @since 0.1.0
 */
export const compile = (dialect: Dialect, query: Query<unknown>): Statement => {
  const { parameters, sql } = compilers[dialect].compileQuery(query.toOperationNode(), createQueryId())
  return { sql, parameters }
}
