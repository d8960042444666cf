/**
 * The names of Sluice's own tables, which share a database with others.
 *
 * @since 0.1.0
 */
import {
  type Kysely,
  type KyselyPlugin,
  OperationNodeTransformer,
  type QueryId,
  type RootOperationNode,
  SchemableIdentifierNode
} from "kysely"
import type { SluiceTables } from "../SluiceTables.ts"
import * as Tables from "../Tables.ts"
import type { Dialect } from "./Dialect.ts"

/**
 * The schema that the tables are in, where the database has schemas, and what their names begin with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Naming {
  readonly schema?: string | undefined
  readonly prefix: string
}

/** The prefix that the tables' names have in the code. */
const prefix = "sluice_"

/**
 * Throws a `RangeError` for a schema or prefix that is not made of lower-case letters, digits and underscores.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: {
  readonly schema?: string | undefined
  /** `sluice_` by default. */
  readonly tablePrefix?: string | undefined
}): Naming => {
  const { schema, tablePrefix = prefix } = options
  for (const [what, name] of [["schema", schema], ["tablePrefix", tablePrefix]] as const) {
    if (name !== undefined && !/^[a-z_][a-z0-9_]{0,39}$/.test(name)) {
      throw new RangeError(`${what} is '${name}': up to 40 lower-case letters, digits and underscores`)
    }
  }
  return { schema, prefix: tablePrefix }
}

/**
 * A table's name, quoted for SQL.
 *
 * @category getters
 * @since 0.1.0
 */
export const quoted = (dialect: Dialect, naming: Naming, table: keyof SluiceTables | `sluice_${string}`): string => {
  const quote = dialect === "mysql" ? "`" : "\""
  const name = `${quote}${naming.prefix}${table.slice(prefix.length)}${quote}`
  return naming.schema === undefined
    ? name
    : `${quote}${naming.schema.replaceAll(quote, quote + quote)}${quote}.${name}`
}

/**
 * Builds queries over Sluice's tables under their names.
 *
 * @category constructors
 * @since 0.1.0
 */
export const tables = (naming: Naming): Kysely<SluiceTables> =>
  naming.prefix === prefix && naming.schema === undefined
    ? Tables.make<SluiceTables>()
    : Tables.make<SluiceTables>().withPlugin(new Renaming(naming))

class Renaming extends OperationNodeTransformer implements KyselyPlugin {
  readonly #naming: Naming

  constructor(naming: Naming) {
    super()
    this.#naming = naming
  }

  transformQuery(
    { node, queryId }: { readonly node: RootOperationNode; readonly queryId: QueryId }
  ): RootOperationNode {
    return this.transformNode(node, queryId)
  }

  async transformResult<A>({ result }: { readonly result: A }): Promise<A> {
    return result
  }

  protected override transformSchemableIdentifier(
    node: SchemableIdentifierNode,
    queryId?: QueryId
  ): SchemableIdentifierNode {
    const { name } = node.identifier
    if (node.schema !== undefined || !name.startsWith(prefix)) {
      return super.transformSchemableIdentifier(node, queryId)
    }
    const renamed = `${this.#naming.prefix}${name.slice(prefix.length)}`
    return this.#naming.schema === undefined
      ? SchemableIdentifierNode.create(renamed)
      : SchemableIdentifierNode.createWithSchema(this.#naming.schema, renamed)
  }
}
