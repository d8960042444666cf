/**
 * The tables that a projection writes, in the transaction that moves its offset.
 *
 * @since 0.1.0
 */
import type { StorageError } from "@sluice/core/StorageError"
import { Transaction } from "@sluice/core/Transaction"
import type * as Effect from "effect/Effect"
import { DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from "kysely"
import { compile, type Dialect, type Query } from "./Dialect.ts"

/**
 * Builds queries over the tables of `DB`, for any dialect. It has no connection: run what it builds with {@link run}, or
 * with `Database`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <DB>(): Kysely<DB> =>
  new Kysely<DB>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler()
    }
  })

/**
 * Runs a Kysely query in the transaction that moves the offset, and returns its rows. Outside of one, such as in an
 * at-least-once handler, it does not compile.
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
    transaction.execute(
      // a storage without SQL refuses any statement
      transaction.dialect === "none" ? { sql: "", parameters: [] } : compile(transaction.dialect as Dialect, query)
    ) as Effect.Effect<ReadonlyArray<A>, StorageError>
  )
