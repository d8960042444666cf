import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"

/** @internal Makes a database, or names one, and returns the layer that opens it. */
export type Database<I> = Effect.Effect<Layer.Layer<I, unknown>, unknown, Scope.Scope>

/** @internal Opens one more instance, which is closed with the scope. */
export type Open<I> = Effect.Effect<Context.Context<I>, unknown, Scope.Scope>

/**
 * @internal
 * Opens one database again and again, as several processes would: nothing is shared between the instances that cannot
 * be shared between processes.
 */
export const open = <I>(instance: Layer.Layer<I, unknown>): Open<I> =>
  Effect.flatMap(
    // a memo map of its own, or the layer would be the same instance every time
    Effect.all([Layer.makeMemoMap, Effect.scope]),
    ([memoMap, scope]) => Layer.buildWithMemoMap(instance, memoMap, scope)
  )
