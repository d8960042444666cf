/**
 * Bounds the memory of events that sources have read ahead of whoever pulls them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { EncodedEnvelope } from "./Envelope.ts"

/**
 * The memory that a source asks for before it reads. It waits until there is some.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadBudget {
  /**
   * Runs the read of a page of at most so many events, or fewer if others need the memory. The page counts until the
   * next read begins, as it has been pulled by then.
   */
  readonly read: <E, R>(
    page: (limit: number) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, E, R>,
    limit: number
  ) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, E, R>
}

/**
 * The budget of a source that is opened. By default only the size of a page is limited.
 *
 * @category references
 * @since 0.1.0
 */
export const ReadBudget = Context.Reference<ReadBudget>("@sluice/core/ReadBudget", {
  defaultValue: () => ({ read: (page, limit) => page(limit) })
})
