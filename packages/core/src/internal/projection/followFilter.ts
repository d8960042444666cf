import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { begin, ConsumerFilter, type FilterVersion, type Passed } from "../../ConsumerFilter.ts"
import type { EventFilter } from "../../EventFilter.ts"
import type { Offset } from "../../Offset.ts"
import { offsetKey, type Projection } from "../../ProjectionDefinition.ts"
import type { Slice } from "../../Slice.ts"
import type { SliceRange } from "../../SliceRange.ts"
import type { StorageError } from "../../StorageError.ts"
import * as Timestamp from "../../Timestamp.ts"

/** @internal The filter of a projection's source, as its workers go by it. */
export interface FollowedFilter {
  /** Whether the source takes one. */
  readonly isThere: boolean
  /** Stores the one of the pipeline, once, if nobody has changed it at runtime. */
  readonly begin: Effect.Effect<void, StorageError>
  /** The newest one, once the projection is registered and its offsets are loaded. */
  readonly current: Effect.Effect<EventFilter | undefined, StorageError>
  /** What its workers have yet to look through once more, since their offsets have the revision. */
  readonly passedOver: (range: SliceRange, revision: number) => Effect.Effect<ReadonlyMap<Slice, Passed>, StorageError>
  /** Stores how far that was looked through. */
  readonly lookedThrough: (
    revision: number,
    progress: ReadonlyMap<Slice, Offset | undefined>
  ) => Effect.Effect<void, StorageError>
}

const noFilter: FollowedFilter = {
  isThere: false,
  begin: Effect.void,
  current: Effect.undefined,
  passedOver: () => Effect.succeed(new Map()),
  lookedThrough: () => Effect.void
}

/** @internal One for all workers of a projection that begin together. */
export const followFilter = (
  projection: Projection<any, any>
): Effect.Effect<FollowedFilter, never, ConsumerFilter> => {
  const { filter: initial, key } = projection.source.provider
  if (initial === undefined) return Effect.succeed(noFilter)
  return ConsumerFilter.use((filters) => {
    const one = Semaphore.makeUnsafe(1)
    let isBegun = false
    const beginOnce = Effect.suspend(() => {
      if (isBegun) return Effect.void
      return begin(key, initial).pipe(
        Effect.provideService(ConsumerFilter, filters),
        Effect.flatMap(({ newest, overridden }) => {
          isBegun = true
          return overridden === undefined ? Effect.void : Effect.logWarning(staysWith(newest, overridden))
        })
      )
    })
    return Effect.succeed({
      isThere: true,
      begin: one.withPermit(beginOnce),
      passedOver: (range, revision) => filters.passedOver(offsetKey(projection), range, revision),
      lookedThrough: (revision, progress) => filters.lookedThrough(offsetKey(projection), revision, progress),
      current: Effect.map(
        filters.follow(offsetKey(projection), projection.delivery._tag !== "ExactlyOnce"),
        (newest) => newest?.filter ?? initial
      )
    })
  })
}

const staysWith = ({ at, by, reason, source, version }: FilterVersion, own: number): string =>
  `Goes by version ${version} of the filter of '${source}', which ${by} has stored at ${
    DateTime.formatIso(DateTime.makeUnsafe(Timestamp.toMillis(at)))
  }${
    reason === "" ? "" : ` (${reason})`
  }, and not by the one of the pipeline. To follow the pipeline again, roll back to its version ${own} ` +
  "with ConsumerFilter.rollBack and start again, or set the pipeline's filter with ConsumerFilter.update"
