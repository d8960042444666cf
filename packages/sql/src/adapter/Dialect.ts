/**
 * The SQL dialects, as Kysely compiles them.
 *
 * @since 0.1.0
 */
import type { Statement } from "@sluice/core/Transaction"
import * as Effect from "effect/Effect"
import type { CompiledQuery, QueryCompiler, QueryResult, RootOperationNode } from "kysely"
import { MysqlQueryCompiler, PostgresQueryCompiler, SqliteQueryCompiler } from "kysely"
import { originOf, UnboundExecutor } from "../internal/unboundExecutor.ts"

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
 * A Kysely query that yields `A`: a query builder of `Tables.make`, or Kysely's `sql` template. It is bound to no connection and no
 * dialect: the database that runs it compiles it. A query builder of another Kysely is refused, as its plugins would not see
 * the rows.
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

const unbound = { getExecutor: () => new UnboundExecutor() }

const compiled = (dialect: Dialect, query: Query<unknown>) => {
  // a template is of no builder, and hands out its node only to a compiler
  const node = "isRawBuilder" in query ? query.compile(unbound).query : query.toOperationNode()
  const origin = originOf(node)
  if (origin === undefined) {
    throw new TypeError(
      "The query was built by another Kysely than Tables.make(), and plugins of that would not see the rows: " +
        "build it with Tables.make({ plugins })"
    )
  }
  const { parameters, sql } = compilers[dialect].compileQuery(node, origin.queryId)
  return { statement: { sql, parameters }, ...origin }
}

/**
 * The SQL of a query, with its parameters.
 *
 * @category compiling
 * @since 0.1.0
 */
export const compile = (dialect: Dialect, query: Query<unknown>): Statement => compiled(dialect, query).statement

/**
 * Compiles a query, has it executed, and passes its rows through the plugins of the Kysely that built it.
 *
 * @category running
 * @since 0.1.0
 */
export const execute = <A, E, R>(
  dialect: Dialect,
  query: Query<A>,
  run: (statement: Statement) => Effect.Effect<ReadonlyArray<unknown>, E, R>
): Effect.Effect<ReadonlyArray<A>, E, R> =>
  Effect.suspend(() => {
    const { plugins, queryId, statement } = compiled(dialect, query)
    const rows = run(statement) as Effect.Effect<ReadonlyArray<A>, E, R>
    return plugins.length === 0 ? rows : Effect.flatMap(rows, (rows) =>
      Effect.promise(async () => {
        let result = { rows } as QueryResult<any>
        for (const plugin of plugins) result = await plugin.transformResult({ queryId, result })
        return result.rows as ReadonlyArray<A>
      }))
  })
