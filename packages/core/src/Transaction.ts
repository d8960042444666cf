/**
 * The open transaction that also moves the offset: what makes a projection exactly-once.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { StorageError } from "./StorageError.ts"

/**
 * SQL with its parameters, for the database of the transaction.
 *
 * @category models
 * @since 0.1.0
 */
export interface Statement {
  readonly sql: string
  readonly parameters: ReadonlyArray<unknown>
}

/**
 * Writes of a handler happen through this service, which only `Projection.exactlyOnce` provides: a handler that runs
 * at least once and writes through it does not compile.
 *
 * @category services
 * @since 0.1.0
 */
export class Transaction extends Context.Service<Transaction, {
  /** The SQL dialect of the database: `"sqlite"`, `"postgres"`, `"mysql"`; `"none"` where there is no SQL. */
  readonly dialect: string
  /** Runs a statement in the transaction, and returns its rows. */
  readonly execute: (statement: Statement) => Effect.Effect<ReadonlyArray<unknown>, StorageError>
}>()("@sluice/core/Transaction") {}

/**
 * `F` itself, unless it is an effect that needs a {@link Transaction}: then it is `Advice`, a text which the compiler shows where the effect
 * is given.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Outside<F, Advice extends string> = [Transaction] extends [Effect.Services<F>]
  // whatever an `any` needs is not known
  ? 0 extends 1 & Effect.Services<F> ? F : Advice
  : F
