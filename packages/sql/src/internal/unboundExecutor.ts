import {
  type ConnectionProvider,
  DefaultQueryExecutor,
  type KyselyPlugin,
  type QueryId,
  type RootOperationNode,
  SqliteAdapter,
  SqliteQueryCompiler
} from "kysely"

/** What a query has passed through on its way out of a builder. */
interface Origin {
  readonly plugins: ReadonlyArray<KyselyPlugin>
  readonly queryId: QueryId
}

/** By the node that the builder has handed out last. */
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
 * What a Kysely without a database hands its queries to. It executes none, and remembers their plugins: a builder keeps them to itself,
 * and whoever runs the query has results for them.
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
