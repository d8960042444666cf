import * as Effect from "effect/Effect"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { Reading } from "../../ReadingState.ts"
import type { Handling } from "./handling.ts"

/** @internal Loads what was stored of entities. */
export const loadEntities = (
  { key, store }: Handling,
  reading: Reading,
  persistenceIds: ReadonlyArray<PersistenceId>
): Effect.Effect<void, unknown> =>
  persistenceIds.length === 0
    ? Effect.void
    : Effect.map(
      store.sequenceNumbers(key, persistenceIds),
      (found) => reading.loaded(persistenceIds, found)
    )

/** @internal What the source has deleted before it could be read is never handled. */
export const logGone = (persistenceId: PersistenceId, from: number, next: number): Effect.Effect<void> =>
  Effect.logWarning(
    `Events ${from} to ${
      next - 1
    } of '${persistenceId}' were left out by a filter, and deleted at the source before they were selected. ` +
      `Goes on with event ${next}`
  )
