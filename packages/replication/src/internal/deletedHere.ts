import type { Place } from "@sluice/core/Envelope"
import * as Journal from "@sluice/core/Journal"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

const first = { to: SequenceNumber.make(1) }

/**
 * @internal
 * Whether an event is of an entity that was deleted here, and had come before that. Where replicas were added or removed, what others still have of it comes once more from the beginnings of their journals, by a source with
 * another name, and nothing is left of the entity that tells. But the offset of the source before tells what had come, as an entity is not deleted before what others have of it is here. That does not hold for what a replica had written that was named
 * as gone then: where it had not come, and others pass it on, it counts as if it had.
 */
export const isOfDeletedHere = (
  here: PersistenceId,
  key: { readonly projection: string; readonly source: string },
  { persistenceId, position, slice }: Pick<Place, "persistenceId" | "position" | "slice">
): Effect.Effect<boolean, StorageError, ProjectionManagement> =>
  Effect.gen(function*() {
    const journal = yield* Effect.serviceOption(Journal.Journal)
    if (Option.isNone(journal) || position === undefined) return false
    const oldest = yield* Stream.runHead(Journal.readEncoded(here, first)).pipe(
      Effect.provideService(Journal.Journal, journal.value)
    )
    if (Option.isNone(oldest) || oldest.value.payload !== undefined) return false
    const { parked, progress } = yield* ProjectionManagement
    const sources = yield* progress(key.projection, [slice])
    const read = sources.find(({ source }) => source === key.source)?.journal
    for (const { journal, slices, source } of sources) {
      const stored = slices.get(slice)
      if (source === key.source || read === undefined || journal !== read || stored === undefined) continue
      if (stored.pastLag > 0 || position > stored.offset.position) continue
      const waiting = yield* parked({ projection: key.projection, source }, SliceRange.make(slice, slice))
      if (![...waiting].includes(persistenceId)) return true
    }
    return false
  })
