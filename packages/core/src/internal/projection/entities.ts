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
