import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { begin, ConsumerFilter, type FilterVersion, type Passed } from "../../ConsumerFilter.ts"
import { type EventFilter, toText } from "../../EventFilter.ts"
import { type Inclusion, PastGivenUp } from "../../GivenUp.ts"
import type { Offset } from "../../Offset.ts"
import { offsetKey, type SourceProjection } from "../../ProjectionDefinition.ts"
import type { Slice } from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { StorageError } from "../../StorageError.ts"
import * as Timestamp from "../../Timestamp.ts"

/** A filter, with its version if it is stored. */
interface NewestFilter {
  readonly filter: EventFilter
  readonly version: number | undefined
}

/** @internal The filter of a projection's source, as its workers go by it. */
export interface FollowedFilter {
  /** Whether the source takes one. */
  readonly isThere: boolean
  /** Stores the one of the pipeline, once, if nobody has changed it at runtime. */
  readonly begin: Effect.Effect<void, StorageError>
  /** The newest one, for the worker of a range that has loaded its offsets, which have the revision. */
  readonly current: (
    range: SliceRange.SliceRange,
    revision: number
  ) => Effect.Effect<NewestFilter | undefined, StorageError>
  /** The newest one as the storage has it, with no regard to who has loaded what. */
  readonly newest: Effect.Effect<NewestFilter | undefined, StorageError>
  /** What the worker has yet to look through once more, since its offsets have the revision. */
  readonly passedOver: (
    range: SliceRange.SliceRange,
    revision: number
  ) => Effect.Effect<ReadonlyMap<Slice, Passed>, StorageError>
  /** What changes have given up of its slices. */
  readonly givenUp: (range: SliceRange.SliceRange, revision: number) => Effect.Effect<PastGivenUp, StorageError>
  /** Stores how far that was looked through. */
  readonly lookedThrough: (
    revision: number,
    progress: ReadonlyMap<Slice, Offset | undefined>
  ) => Effect.Effect<void, StorageError>
}

/** What goes with a revision of the offsets: whoever stores another filter, or what was passed over, raises it in the same transaction. */
interface Learned {
  readonly revision: number
  readonly newest: NewestFilter
  /** Whether anything is to be looked through once more. */
  readonly hasPassed: boolean
  /** The changes that have given up something. */
  readonly inclusions: ReadonlyArray<Inclusion>
  /** The first slices of the workers that go by it. */
  readonly by: Set<Slice>
}

const nothingGivenUp = new PastGivenUp(new Map(), [])

const noFilter: FollowedFilter = {
  isThere: false,
  begin: Effect.void,
  current: () => Effect.undefined,
  newest: Effect.undefined,
  passedOver: () => Effect.succeed(new Map()),
  givenUp: () => Effect.succeed(nothingGivenUp),
  lookedThrough: () => Effect.void
}

/** Asks the storage for the newest version, which the projection goes by from then on. */
const follow = (filters: ConsumerFilter["Service"], projection: SourceProjection<any, any>) =>
  filters.follow(offsetKey(projection), projection.delivery._tag !== "ExactlyOnce")

/** Asks in the same way for the filter that the projection goes by: the one of the pipeline, if no version is stored. */
const followOr = (
  filters: ConsumerFilter["Service"],
  projection: SourceProjection<any, any>,
  initial: EventFilter
): Effect.Effect<NewestFilter, StorageError> =>
  Effect.map(follow(filters, projection), (newest) => newest ?? { filter: initial, version: undefined })

/** @internal Asks the storage for the filter of a projection's source as it is now; undefined if the source takes none. */
export const newestFilter = (
  projection: SourceProjection<any, any>
): Effect.Effect<Effect.Effect<EventFilter | undefined, StorageError>, never, ConsumerFilter> =>
  ConsumerFilter.useSync((filters) => {
    const { filter: initial } = projection.source.provider
    if (initial === undefined) return Effect.undefined
    return Effect.map(followOr(filters, projection, initial), ({ filter }) => filter)
  })

/** @internal One for all workers of a projection that begin together. */
export const followFilter = (
  projection: SourceProjection<any, any>
): Effect.Effect<FollowedFilter, never, ConsumerFilter | Scope.Scope> => {
  const { filter: initial, key } = projection.source.provider
  if (initial === undefined) return Effect.succeed(noFilter)
  return ConsumerFilter.use((filters) => {
    const one = Semaphore.makeUnsafe(1)
    let isBegun = false
    let learned: Learned | undefined
    /** The newest version that the log has to do with: what a start finds is no change. */
    let known = Infinity
    /** Asks the storage, unless another worker has done so that has loaded the same revision. A worker that begins with it once more asks again. */
    const learn = Effect.fnUntraced(function*({ min }: SliceRange.SliceRange, revision: number) {
      if (learned?.revision !== revision || learned.by.has(min)) {
        learned = undefined
        const newest = yield* follow(filters, projection)
        const passed = yield* filters.passedOver(offsetKey(projection), SliceRange.full, revision)
        learned = {
          revision,
          newest: newest ?? { filter: initial, version: undefined },
          hasPassed: passed.size > 0,
          inclusions: yield* filters.givenUpBy(key),
          by: new Set()
        }
        if (newest !== undefined && newest.version > known) {
          known = newest.version
          yield* Effect.logInfo(goesBy(newest))
        }
      }
      learned.by.add(min)
      return learned.newest
    })
    const beginOnce = Effect.suspend(() => {
      if (isBegun) return Effect.void
      return begin(key, initial).pipe(
        Effect.provideService(ConsumerFilter, filters),
        Effect.flatMap(({ newest, overridden }) => {
          isBegun = true
          known = newest.version
          return overridden === undefined ? Effect.void : Effect.logInfo(staysWith(newest, overridden))
        })
      )
    })
    return Effect.as(warnOfOthers(filters, { projection: projection.name, source: key, filter: toText(initial) }), {
      isThere: true,
      begin: one.withPermit(beginOnce),
      // it only gets less
      passedOver: (range, revision) =>
        learned?.revision === revision && !learned.hasPassed
          ? Effect.succeed(new Map())
          : filters.passedOver(offsetKey(projection), range, revision),
      givenUp: Effect.fnUntraced(function*(range, revision) {
        const inclusions = learned?.revision === revision ? learned.inclusions : yield* filters.givenUpBy(key)
        if (inclusions.length === 0) return nothingGivenUp
        return new PastGivenUp(yield* filters.givenUp(offsetKey(projection), range), inclusions)
      }),
      lookedThrough: (revision, progress) => filters.lookedThrough(offsetKey(projection), revision, progress),
      newest: followOr(filters, projection, initial),
      current: (range, revision) => one.withPermit(learn(range, revision))
    })
  })
}

/** A projection that runs in this process, and the filter of its pipeline. */
interface Pipeline {
  readonly projection: string
  readonly source: string
  readonly filter: string
}

const pipelines = new WeakMap<ConsumerFilter["Service"], Set<Pipeline>>()

/** Warns of a projection of the same stream whose pipeline has another filter, if one runs in this process. Others learn of this one for as long as the scope. */
const warnOfOthers = Effect.fnUntraced(function*(
  filters: ConsumerFilter["Service"],
  own: Pipeline
): Effect.fn.Return<void, never, Scope.Scope> {
  let running = pipelines.get(filters)
  if (running === undefined) pipelines.set(filters, running = new Set())
  const all = running
  const other = [...all].find(({ filter, source }) => source === own.source && filter !== own.filter)
  yield* Effect.acquireRelease(Effect.sync(() => all.add(own)), () => Effect.sync(() => all.delete(own)))
  if (other !== undefined) yield* Effect.logWarning(differs(own, other))
})

const differs = ({ projection, source }: Pipeline, other: Pipeline): string =>
  `Projections '${other.projection}' and '${projection}' begin with different filters of '${source}', which has one for all of them: that of ` +
  `'${projection}' counts, which is started last. Give both the same filter, or the streams different names, with the option 'name' of EventConsumer.source`

const because = (reason: string): string => reason === "" ? "" : ` (${reason})`

const goesBy = ({ by, reason, source, version }: FilterVersion): string =>
  `Goes by version ${version} of the filter of '${source}', by ${by}${because(reason)}`

const staysWith = ({ at, by, reason, source, version }: FilterVersion, own: number): string =>
  `Goes by version ${version} of the filter of '${source}', which ${by} has stored at ${
    DateTime.formatIso(DateTime.makeUnsafe(Timestamp.toMillis(at)))
  }${because(reason)}, and not by the one of the pipeline. To follow the pipeline again, ${
    own === 0 ? "" : `roll back to its version ${own} with ConsumerFilter.rollBack and start again, or `
  }give the pipeline this filter`
