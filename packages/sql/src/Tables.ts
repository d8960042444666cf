/**
 * The tables that a projection writes, in the transaction that moves its offset.
 *
 * @since 0.1.0
 */
import type { StorageError } from "@sluice/core/StorageError"
import { Transaction } from "@sluice/core/Transaction"
import type * as Effect from "effect/Effect"
import { DummyDriver, Kysely, type KyselyPlugin, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from "kysely"
import { type Dialect, execute, type Query } from "./adapter/Dialect.ts"
import { UnboundExecutor } from "./internal/unboundExecutor.ts"

/**
 * Builds queries over the tables of `DB`, for any dialect. It has no connection: run what it builds with {@link run}, or
 * with `Database`. Kysely's own ways to run a query, such as `execute`, throw.
 *
 * **Details**
 *
 * Kysely's plugins see each query, and then its rows. They are given here, or with Kysely's `withPlugin`.
 *
 * **Example** (Names in camel case, that the database has in snake case)
 *
 * ```ts
 * import { Database, Tables } from "@sluice/sql"
 * import { SqliteStorage } from "@sluice/sqlite"
 * import { Effect } from "effect"
 * import { CamelCasePlugin, sql } from "kysely"
 *
 * const tables = Tables.make<{ person: { fullName: string } }>({ plugins: [new CamelCasePlugin()] })
 *
 * const program = Effect.gen(function*() {
 *   const { run } = yield* Database.Database
 *   yield* run(sql`CREATE TABLE person (full_name TEXT NOT NULL)`)
 *   yield* run(tables.insertInto("person").values({ fullName: "Ada Lovelace" }))
 *   return yield* run(tables.selectFrom("person").select("fullName"))
 * })
 * await Effect.runPromise(Effect.provide(program, SqliteStorage.layer({ filename: ":memory:" })))
 * // => [{ fullName: "Ada Lovelace" }]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <DB>(options?: { readonly plugins?: ReadonlyArray<KyselyPlugin> | undefined }): Kysely<DB> =>
  new Kysely<DB>({
    config: { dialect },
    dialect,
    driver: dialect.createDriver(),
    executor: new UnboundExecutor(options?.plugins)
  })

const dialect = {
  createAdapter: () => new SqliteAdapter(),
  createDriver: () => new DummyDriver(),
  createIntrospector: (db: Kysely<any>) => new SqliteIntrospector(db),
  createQueryCompiler: () => new SqliteQueryCompiler()
}

/**
 * Runs a Kysely query in the transaction that moves the offset, and returns its rows. An at-least-once handler has none, and does
 * not compile with it: run the query with `Database` there.
 *
 * **Example** (Counting, exactly once)
 *
 * ```ts
 * import { EntityType, EventCodec, Projection, Source } from "@sluice/core"
 * import { Tables } from "@sluice/sql"
 *
 * const tables = Tables.make<{ note: { id: string; length: number } }>()
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 *
 * const Lengths = Source.journal(Note).pipe(
 *   Projection.exactlyOnce("lengths", ({ event, persistenceId }) =>
 *     Tables.run(tables.insertInto("note").values({ id: persistenceId, length: event.length })))
 * )
 * Projection.describe(Lengths) // => "journal of note | exactly once 'lengths' × 1"
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const run = <A>(query: Query<A>): Effect.Effect<ReadonlyArray<A>, StorageError, Transaction> =>
  Transaction.use((transaction) =>
    transaction.dialect === "none"
      // a storage without SQL refuses any statement
      ? transaction.execute({ sql: "", parameters: [] }) as Effect.Effect<never, StorageError>
      : execute(transaction.dialect as Dialect, query, transaction.execute)
  )
