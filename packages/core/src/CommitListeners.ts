/**
 * The listeners that are given the events which this process appends. Every storage adapter needs this part of a
 * journal.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { EncodedEnvelope } from "./Envelope.ts"
import type { Journal } from "./Journal.ts"

/**
 * The listeners of one journal.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommitListeners {
  /** `Journal.committed` of the journal. */
  readonly committed: Journal["Service"]["committed"]
  /** To be called right after a commit. `events` is only called if somebody listens, and may return none. */
  readonly publish: (entityType: string, events: () => ReadonlyArray<EncodedEnvelope>) => void
}

/**
 * No listeners yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): CommitListeners => {
  const listeners = new Map<string, Set<(events: ReadonlyArray<EncodedEnvelope>) => void>>()
  return {
    committed: (entityType, listener) =>
      Effect.asVoid(Effect.acquireRelease(
        Effect.sync(() => {
          listeners.set(entityType, (listeners.get(entityType) ?? new Set()).add(listener))
        }),
        () =>
          Effect.sync(() => {
            const others = listeners.get(entityType)!
            others.delete(listener)
            if (others.size === 0) listeners.delete(entityType)
          })
      )),
    publish: (entityType, events) => {
      const who = listeners.get(entityType)
      const written = who === undefined ? [] : events()
      if (written.length > 0) who!.forEach((listener) => listener(written))
    }
  }
}
