/**
 * Bounds the memory for events that sources have read and nobody has taken yet.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { EncodedEnvelope } from "./Envelope.ts"

/**
 * The memory that a source asks for before it reads. It waits while there is none.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadBudget {
  /**
   * Runs the read of a page of at most so many events, or fewer where others need the room. It is held from then on until the next read
   * begins: then it has been taken.
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
