import {
  type ConnectionProvider,
  DefaultQueryExecutor,
  type KyselyPlugin,
  type QueryId,
  type RootOperationNode,
  SqliteAdapter,
  SqliteQueryCompiler
} from "kysely"

/** The plugins and the id of a query that a builder has handed out. */
interface Origin {
  readonly plugins: ReadonlyArray<KyselyPlugin>
  readonly queryId: QueryId
}

/** By the node that the builder handed out last. */
const origins = new WeakMap<RootOperationNode, Origin>()

/** @internal Where a query comes from, right after its builder has handed it out; undefined for another Kysely's. */
export const originOf = (node: RootOperationNode): Origin | undefined => origins.get(node)

const compiler = new SqliteQueryCompiler()
const adapter = new SqliteAdapter()

const noConnection: ConnectionProvider = {
  provideConnection: async () => {
    throw new Error(
      "A query of Tables.make() is bound to no database, and does nothing by itself: " +
        "run it with Tables.run in an exactly-once handler, or with Database.run"
    )
  }
}

/**
 * @internal
 * The executor of a Kysely without a database. It executes no query, and remembers the plugins of each. A builder does
 * not show them, and whoever runs the query has to pass the results through them.
 */
export class UnboundExecutor extends DefaultQueryExecutor {
  constructor(plugins: ReadonlyArray<KyselyPlugin> = []) {
    super(compiler, adapter, noConnection, [...plugins])
  }
  override transformQuery<T extends RootOperationNode>(node: T, queryId: QueryId): T {
    const transformed = super.transformQuery(node, queryId)
    origins.set(transformed, { plugins: this.plugins, queryId })
    return transformed
  }
  override withPlugins(plugins: ReadonlyArray<KyselyPlugin>): UnboundExecutor {
    return new UnboundExecutor([...this.plugins, ...plugins])
  }
  override withPlugin(plugin: KyselyPlugin): UnboundExecutor {
    return new UnboundExecutor([...this.plugins, plugin])
  }
  override withPluginAtFront(plugin: KyselyPlugin): UnboundExecutor {
    return new UnboundExecutor([plugin, ...this.plugins])
  }
  override withoutPlugins(): UnboundExecutor {
    return new UnboundExecutor()
  }
}
