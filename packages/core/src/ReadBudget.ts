/**
 * Bounds the memory that sources take for what they have read and nobody has taken yet.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { EncodedEnvelope } from "./Envelope.ts"

/**
 * What a source asks before it reads. It waits while there is no room.
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
 * The budget of a source that is opened; by default there is no limit but the size of a page.
 *
 * @category references
 * @since 0.1.0
 */
export const ReadBudget = Context.Reference<ReadBudget>("@sluice/core/ReadBudget", {
  defaultValue: () => ({ read: (page, limit) => page(limit) })
})
