/**
 * The filters of this service's consumers, changed while they run: which entities of a stream are replicated here.
 *
 * A filter belongs to a stream: all projections of a storage that read the stream follow it, in every process. It is stored beside their
 * offsets, with all of its versions, and survives a restart of everything. It begins with the one of the pipeline, `EventConsumer.filter`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { compile, diff, EventFilter, explain, fromText as filterFromText, type Subject, toText } from "./EventFilter.ts"
import * as ExpectedError from "./ExpectedError.ts"
import { timestamps } from "./Feed.ts"
import { covers, type GivenUp, includesNothing, type Inclusion, maxChanges } from "./GivenUp.ts"
import * as Check from "./internal/checkInput.ts"
import { lookNow } from "./internal/projection/commands.ts"
import { paced } from "./internal/projection/paceOfChanges.ts"
import { knownFor } from "./internal/projection/SharedLooks.ts"
import { quote } from "./internal/quote.ts"
import { InvalidInput } from "./InvalidInput.ts"
import type { Offset } from "./Offset.ts"
import type { OffsetKey } from "./OffsetStore.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { Position } from "./Position.ts"
import {
  type CommandError,
  type Issue,
  ProjectionManagement,
  resolve,
  type UnknownProjection
} from "./ProjectionManagement.ts"
import type { ProjectionRef } from "./ProjectionRef.ts"
import type { Slice } from "./Slice.ts"
import { full as fullRange, type SliceRange, slices as slicesOf } from "./SliceRange.ts"
import type { Source } from "./Source.ts"
import { StorageError } from "./StorageError.ts"
import { Timestamp } from "./Timestamp.ts"

/**
 * What becomes of the earlier events of an entity that a change includes.
 *
 * - `nextEvent`: they come before its next event, in order. An entity without another event stays away.
 * - `now`: they come at once, in order, beside the newer events. For that the source is read once more from where a filter
 *   began to leave events out. How much of it is left is the `pastLag` of a worker's status. Another change, or a rewind, ends it.
 * - `none`: they do not come any more. That is so for an entity whose next event the filter before the change kept back, and the one after it lets through.
 *   An entity that was included already keeps what it has not had yet, and so does one that a later change includes. Only a rewind to before the change
 *   brings the past back. A warning in the log says so.
 *
 * @category schemas
 * @since 0.1.0
 */
export const HistoryPolicy = Schema.Literals(["nextEvent", "now", "none"])

/**
 * The type of a history policy.
 *
 * @category models
 * @since 0.1.0
 */
export type HistoryPolicy = typeof HistoryPolicy.Type

/**
 * One version of the filter of a stream, and the schema of versions.
 *
 * @category schemas
 * @since 0.1.0
 */
export class FilterVersion extends Schema.Class<FilterVersion>("@sluice/core/ConsumerFilter/FilterVersion")({
  /** The key of the stream, such as `stream:carts`. */
  source: Schema.String,
  /** From 1, without gaps. */
  version: Schema.Natural,
  filter: EventFilter,
  /** Who has made the change; {@link pipeline} for a pipeline's own filter. */
  by: Schema.String,
  /** Why. */
  reason: Schema.String,
  history: HistoryPolicy,
  /** When it was stored, by the clock of the database. */
  at: Timestamp
}) {}

/**
 * Who the versions are by that a pipeline begins with.
 *
 * @category constants
 * @since 0.1.0
 */
export const pipeline = "pipeline"

/**
 * How many versions of a filter are kept when one is stored: 1,000, the newest. Beside them the newest one by {@link pipeline} stays.
 *
 * @category references
 * @since 0.1.0
 */
export const KeptVersions: Context.Reference<number> = Context.Reference<number>(
  "@sluice/core/ConsumerFilter/KeptVersions",
  { defaultValue: () => 1_000 }
)

/**
 * How long the name of who changes a filter may be, in UTF-16 units.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxByLength = Check.maxBy

/**
 * How long the reason of a change may be, in UTF-16 units.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxReasonLength = Check.maxReason

/**
 * A version that is to be stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface NewVersion extends Pick<FilterVersion, "filter" | "by" | "reason" | "history"> {
  /** Whether workers go by another filter, and have to begin anew. */
  readonly restarts: boolean
  /** There if the past of what it newly includes is given up. What the versions `insteadOf` have given up need not be remembered any more. */
  readonly givesUp?: { readonly insteadOf: ReadonlyArray<number> } | undefined
}

/**
 * What came of storing a version.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stored {
  /** The newest version now, if there is any. */
  readonly newest: FilterVersion | undefined
  /** Whether it is the one that was to be stored. */
  readonly isNew: boolean
  /** Whether at-least-once or at-most-once workers follow it. Their handlers do not take part in the transaction. */
  readonly isAtLeastOnce: boolean
}

/**
 * The newest version, as it is shown to whoever decides on the next one. Its filter cannot be read where a newer release has stored it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Newest extends Pick<FilterVersion, "version" | "by"> {
  readonly filter: Effect.Effect<EventFilter, StorageError>
}

/**
 * The part of a slice that is to be looked through once more, as the filter includes more of it now: what is after `from`, up to a position.
 *
 * @category models
 * @since 0.1.0
 */
export interface Passed {
  readonly from: Offset
  readonly upTo: Position
}

/**
 * Both parts of a slice, and what is between them.
 *
 * @category combinators
 * @since 0.1.0
 */
export const joinPassed = (a: Passed, b: Passed | undefined): Passed =>
  b === undefined ? a : {
    from: a.from.position <= b.from.position ? a.from : b.from,
    upTo: a.upTo >= b.upTo ? a.upTo : b.upTo
  }

/**
 * How many events of it are yet to be looked through, by what is stored of the slice. One that has begun anew since, and is in exact mode again, has passed
 * over nothing. What comes after the offset is not past, as where that was a time when the part was stored.
 *
 * @category getters
 * @since 0.1.0
 */
export const pastLag = (
  { from, upTo }: Passed,
  { completeUpTo, offset }: { readonly offset: Offset | undefined; readonly completeUpTo: unknown }
): number => completeUpTo === undefined ? 0 : Math.max(0, Math.min(upTo, offset?.position ?? 0) - from.position)

/**
 * Stores the filters of streams. Storage adapters provide it, beside the offset store and in its transactions.
 *
 * @category services
 * @since 0.1.0
 */
export class ConsumerFilter extends Context.Service<ConsumerFilter, {
  /** The newest version of a stream's filter that is as asked for, if there is one. */
  readonly find: (source: string, which?: {
    readonly version?: number | undefined
    readonly by?: string | undefined
    readonly after?: number | undefined
  }) => Effect.Effect<FilterVersion | undefined, StorageError>
  /** Up to `limit` versions, newest first, before one of them. */
  readonly history: (
    source: string,
    before: number | undefined,
    limit: number
  ) => Effect.Effect<ReadonlyArray<FilterVersion>, StorageError>
  /**
   * Stores what is decided by the newest version, in one transaction; nothing if that is undefined. Nobody else can store one meanwhile. Versions
   * before the newest {@link KeptVersions} are deleted, but for the newest one by {@link pipeline}, and those of `givenUpBy`. Where
   * workers have to begin anew, it waits for whoever is handling events of the stream, and fences all workers of its projections. A transaction
   * that the database refuses, as for a deadlock, is tried again.
   */
  readonly store: <E>(
    source: string,
    decide: (newest: Newest | undefined) => Effect.Effect<NewVersion | undefined, E>
  ) => Effect.Effect<Stored, E | StorageError>
  /**
   * The newest version, for a worker that is registered and has loaded its offsets. If another one is stored after this, the worker is fenced.
   */
  readonly follow: (key: OffsetKey, isAtLeastOnce: boolean) => Effect.Effect<FilterVersion | undefined, StorageError>
  /**
   * The parts of slices that are still to be looked through by the workers of a projection, since its offsets have the revision. A version with the
   * history `now` sets them for all slices in the mode per entity: from where they were read completely, up to the stored offset.
   */
  readonly passedOver: (
    key: OffsetKey,
    range: SliceRange,
    revision: number
  ) => Effect.Effect<ReadonlyMap<Slice, Passed>, StorageError>
  /** Stores after which event slices are to be looked through from now on; undefined for one that is done. */
  readonly lookedThrough: (
    key: OffsetKey,
    revision: number,
    progress: ReadonlyMap<Slice, Offset | undefined>
  ) => Effect.Effect<void, StorageError>
  /**
   * Has the workers of a projection look through parts of slices once more, beside those that are still to be looked through, in one transaction. It keeps
   * the command to do so, and raises the revision, so that workers with the revision before are fenced. Nothing happens, and it returns false, if the offsets
   * do not have the revision any more.
   */
  readonly lookAgain: (
    key: OffsetKey,
    revision: number,
    parts: ReadonlyMap<Slice, Passed>,
    issue: Issue
  ) => Effect.Effect<boolean, UnknownProjection | StorageError>
  /**
   * What is given up of the slices of a projection, in the order of the versions. A version that gives up a past does so in all slices that have left something out,
   * of all projections: of what is older than the event after the stored offset. `Rewind.rewound` says what becomes of it in a rewind.
   */
  readonly givenUp: (
    key: OffsetKey,
    range: SliceRange
  ) => Effect.Effect<ReadonlyMap<Slice, ReadonlyArray<GivenUp>>, StorageError>
  /** The versions of which that is stored for any projection, oldest first. They and the ones before them are kept. */
  readonly givenUpBy: (source: string) => Effect.Effect<ReadonlyArray<Inclusion>, StorageError>
  /** Runs the effect once the fiber's transaction has committed, before that returns; at once if there is none. */
  readonly afterCommit: <R>(effect: Effect.Effect<void, never, R>) => Effect.Effect<void, never, R>
  /** Ends when this process has stored a version. */
  readonly changes: (source: string) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
}>()("@sluice/core/ConsumerFilter") {}

/**
 * The filter of a source cannot be changed, as it takes none: it is a journal of this process, or a projection of it has never run on this
 * storage. Nothing was changed. Filter a local journal with `Source.filter`; a stream's filter is there once a projection of it was started.
 *
 * @category errors
 * @since 0.1.0
 */
export class FilterNotSupported
  extends ExpectedError.TaggedError<FilterNotSupported>("@sluice/core/FilterNotSupported")("FilterNotSupported", {
    source: Schema.String
  })
{
  override get message(): string {
    return `'${this.source}' has no filter on this storage: only a stream of another service has one, from when a projection of it is first ` +
      "started. Correct the name, or start the projection; for a local journal use Source.filter"
  }
}

/**
 * A stream's filter has no such version. Nothing was changed.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnknownVersion
  extends ExpectedError.TaggedError<UnknownVersion>("@sluice/core/UnknownVersion")("UnknownVersion", {
    source: Schema.String,
    version: Schema.Finite,
    newest: Schema.Finite
  })
{
  override get message(): string {
    const why = this.version > this.newest
      ? `its newest is ${this.newest}`
      : `it is not among those that are kept, which ConsumerFilter.history shows; the newest is ${this.newest}`
    return `The filter of '${this.source}' has no version ${this.version}: ${why}`
  }
}

/**
 * The histories `now` and `none` are not to be had of a source without positions, such as a plain Akka producer: nothing there says which
 * part of the past a filter has left out. Nothing was changed.
 *
 * @category errors
 * @since 0.1.0
 */
export class HistoryNotSupported
  extends ExpectedError.TaggedError<HistoryNotSupported>("@sluice/core/HistoryNotSupported")("HistoryNotSupported", {
    source: Schema.String,
    history: Schema.Literals(["now", "none"])
  })
{
  override get message(): string {
    return `The history "${this.history}" is not to be had of '${this.source}', as its producer has no positions. ` +
      (this.history === "now"
        ? "Change the filter with \"nextEvent\", by which the earlier events of an entity come before its next one; to have all of them at once, " +
          "rewind the projections to the beginning after that"
        : "Change the filter with \"nextEvent\", and pass over what is old in the handler, by the timestamp of the envelope")
  }
}

/**
 * The past is given up already by as many changes of the filter as are remembered, and what each has included has to be known. Nothing was changed.
 *
 * @category errors
 * @since 0.1.0
 */
export class TooManyGivenUp
  extends ExpectedError.TaggedError<TooManyGivenUp>("@sluice/core/TooManyGivenUp")("TooManyGivenUp", {
    source: Schema.String,
    /** The versions of the filter that have given up a past, oldest first. */
    versions: Schema.Array(Schema.Finite)
  })
{
  override get message(): string {
    return `${this.versions.length} changes of the filter of '${this.source}' have given up a past already, from version ${
      this.versions[0]
    } on, and no more are remembered. Change the filter with "nextEvent" or "now", and pass over what is old in the handler, by the timestamp of ` +
      "the envelope. A rewind of all projections of the stream to before some of these changes, such as to the beginning, makes room, and so does " +
      "clearing those that are not needed any more. Put what is to be included together into one change"
  }
}

/**
 * What goes wrong when a filter is read.
 *
 * @category errors
 * @since 0.1.0
 */
export type FilterError = CommandError | FilterNotSupported

/**
 * Whose filter: of a source itself, of the source of a projection, or by the source's key, such as `{ source: "stream:carts" }`.
 *
 * @category models
 * @since 0.1.0
 */
export type FilterRef = ProjectionRef | { readonly source: string } | Source<any, any, any>

/**
 * How a filter is changed.
 *
 * @category models
 * @since 0.1.0
 */
export interface UpdateOptions {
  /** Who changes it: a person, or a program. */
  readonly by: string
  /** Why; empty if undefined. */
  readonly reason?: string | undefined
  /** `"nextEvent"` if undefined. */
  readonly history?: HistoryPolicy | undefined
}

const encodeFilter = Schema.encodeUnknownEffect(EventFilter)

/**
 * The filter that a stored text stands for. Fails if it was not stored by this version of Sluice or an older one.
 *
 * @category encoding
 * @since 0.1.0
 */
export const fromText = (source: string, text: string, version?: number): Effect.Effect<EventFilter, StorageError> =>
  Effect.mapError(
    Effect.fromResult(filterFromText(text)),
    (cause) =>
      new StorageError({
        operation: `read ${version === undefined ? "the" : `version ${version} of the`} filter of '${source}'`,
        reason: "Damaged",
        advice:
          "it has what this release does not know; run the one that has stored it, or roll back to an earlier version of the filter",
        cause
      })
  )

const isSame = (a: EventFilter, b: EventFilter): boolean => toText(a) === toText(b)

/** What a release does not know is not what it has itself. */
const unlessUnreadable = <A, E, R>(
  effect: Effect.Effect<A, E | StorageError, R>
): Effect.Effect<A | undefined, E | StorageError, R> =>
  Effect.catchIf(
    effect,
    (error) => error instanceof StorageError && error.reason === "Damaged",
    () => Effect.undefined
  )

const refuse = (input: string, problem: string, cause?: unknown): Effect.Effect<never, InvalidInput> =>
  Effect.fail(new InvalidInput({ input, problem, cause }))

/** Of a source itself it is also known which filter it begins with, if it takes one. */
interface Known {
  readonly source: string
  readonly initial?: { readonly filter: EventFilter | undefined } | undefined
}

const knownBy = (ref: FilterRef): Effect.Effect<Known, CommandError, ProjectionManagement> => {
  if (typeof ref === "object") {
    const [source, ...others] = "sources" in ref ? ref.sources : []
    if (source !== undefined && others.length === 0) {
      return Effect.succeed({ source: source.provider.key, initial: { filter: source.provider.filter } })
    }
    if ("source" in ref && typeof ref.source === "string") return Effect.succeed({ source: ref.source })
  }
  return ProjectionManagement.use((management) => resolve(management, ref as ProjectionRef))
}

/** The key of a stream whose filter is stored. That of a source that is at hand is stored first, if need be. */
const stored = Effect.fnUntraced(function*(
  ref: FilterRef
): Effect.fn.Return<FilterVersion, FilterError, ConsumerFilter | ProjectionManagement> {
  const filters = yield* ConsumerFilter
  const { initial, source } = yield* knownBy(ref)
  if (initial !== undefined && initial.filter === undefined) return yield* new FilterNotSupported({ source })
  const found = yield* filters.find(source)
  if (found !== undefined) return found
  if (initial?.filter === undefined) return yield* new FilterNotSupported({ source })
  return (yield* begin(source, initial.filter)).newest
})

/** Also of a stream whose newest filter cannot be read. */
const storedSource = Effect.fnUntraced(function*(
  ref: FilterRef
): Effect.fn.Return<string, FilterError, ConsumerFilter | ProjectionManagement> {
  const found: { readonly source: string } | undefined = yield* unlessUnreadable(stored(ref))
  return (found ?? (yield* knownBy(ref))).source
})

/** What a pipeline's own filter has come to. */
interface Begun {
  readonly newest: FilterVersion
  /** Somebody has changed the filter since the pipeline's own was stored, with this version, so it stays; 0 where that one is of a newer release. */
  readonly overridden: number | undefined
}

/**
 * Stores the filter that a pipeline begins with, unless somebody has changed the filter at runtime since a pipeline began with one. Workers do
 * so when they start.
 *
 * @category operations
 * @since 0.1.0
 */
export const begin = (source: string, filter: EventFilter): Effect.Effect<Begun, StorageError, ConsumerFilter> =>
  ConsumerFilter.use((filters) => {
    const version = { filter, by: pipeline, history: "nextEvent" } as const
    let overridden: number | undefined
    return Effect.map(
      filters.store(source, (newest) =>
        Effect.gen(function*() {
          overridden = undefined
          if (newest === undefined) return { ...version, reason: "first start", restarts: false }
          const isOwn = newest.by === pipeline
          const before = yield* isOwn ? unlessUnreadable(newest.filter) : newest.filter
          const same = before !== undefined && isSame(before, filter)
          if (isOwn) {
            return same ? undefined : { ...version, reason: "changed in the pipeline", restarts: true }
          }
          if (same) return { ...version, reason: "the same in the pipeline", restarts: false }
          const own = yield* unlessUnreadable(filters.find(source, { by: pipeline }))
          if (own !== undefined && before !== undefined && isSame(own.filter, before)) {
            return { ...version, reason: "changed in the pipeline", restarts: true }
          }
          overridden = own?.version ?? 0
          return undefined
        })),
      ({ newest }): Begun => ({ newest: newest!, overridden })
    )
  })

const invalid = (input: string, problem: string | undefined): InvalidInput | undefined =>
  problem === undefined ? undefined : new InvalidInput({ input, problem })

const optionsProblem = ({ by, history = "nextEvent", reason = "" }: UpdateOptions): InvalidInput | undefined =>
  Check.author(by, reason) ??
    invalid("by", by === pipeline ? `${quote(pipeline)} stands for the pipeline's own filter` : undefined) ??
    invalid(
      "history",
      Schema.is(HistoryPolicy)(history)
        ? undefined
        : `${quote(String(history))} is none of "nextEvent", "now" and "none"`
    )

/** What a change makes of a filter. The combinators throw for bad criteria. */
const changed = Effect.fnUntraced(function*(
  change: (filter: EventFilter) => EventFilter,
  before: EventFilter
): Effect.fn.Return<EventFilter, InvalidInput> {
  const after = yield* Effect.suspend(() => {
    try {
      return Effect.succeed(change(before))
    } catch (error) {
      return error instanceof RangeError ? refuse("filter", error.message, error) : Effect.die(error)
    }
  })
  yield* Effect.catch(encodeFilter(after), (error) => refuse("filter", error.message, error))
  const replayed = after.includeEntityIds.find(({ from }) => from > 0)
  if (replayed === undefined) return after
  return yield* refuse(
    "filter",
    `it includes ${
      quote(replayed.entityId)
    } from ${replayed.from}: include the id alone. What comes of its earlier events is the choice of 'history', ` +
      "and a stage or the handler can drop them by their numbers"
  )
})

/** Ends when no worker goes by an earlier filter any more. */
const outlive = ({ isAtLeastOnce }: Stored): Effect.Effect<void, never, ProjectionManagement> =>
  isAtLeastOnce
    ? Effect.andThen(
      lookNow,
      ProjectionManagement.use(({ isShared }) => isShared ? Effect.sleep(knownFor) : Effect.void)
    )
    : Effect.void

const warnOfLoss = ({ by, source, version }: FilterVersion): Effect.Effect<void> =>
  Effect.logWarning(
    `${
      quote(by)
    } has given up the past of what version ${version} of the filter of '${source}' newly includes: no projection gets the events of these ` +
      "entities that it has passed over before. To have them, rewind the projections to before that"
  )

/** Whether a projection has offsets of the source that are timestamps. */
const hasNoPositions = Effect.fnUntraced(function*(
  source: string
): Effect.fn.Return<boolean, StorageError, ProjectionManagement> {
  const management = yield* ProjectionManagement
  for (const key of yield* management.list) {
    if (key.source !== source) continue
    for (const progress of yield* management.progress(key.projection, [...slicesOf(fullRange)])) {
      if (progress.source !== source) continue
      for (const { journal } of progress.slices.values()) if (journal === timestamps) return true
    }
  }
  return false
})

/** Fails where it cannot be remembered; undefined if there is nothing to be given up. */
const givingUp = Effect.fnUntraced(function*(
  source: string,
  inclusion: Inclusion
): Effect.fn.Return<NewVersion["givesUp"], TooManyGivenUp | StorageError, ConsumerFilter> {
  if (includesNothing(inclusion)) return undefined
  const filters = yield* ConsumerFilter
  const earlier = yield* filters.givenUpBy(source)
  const versionsOf = (isCovered: boolean) =>
    earlier.filter((one) => covers(inclusion, one) === isCovered).map(({ version }) => version)
  const versions = versionsOf(false)
  if (versions.length >= maxChanges) return yield* new TooManyGivenUp({ source, versions })
  return { insteadOf: versionsOf(true) }
})

/** An event of an entity of that id, of no known type and without tags. */
const subject = (id: string): Subject => ({ persistenceId: `entity|${id}` as PersistenceId, tags: [] })

/** Says which entities a change excludes by their ids that its filter includes all the same, whatever tags their events have. */
const warnOfOverruled = (
  before: EventFilter | undefined,
  { by, filter, source, version }: FilterVersion
): Effect.Effect<void> => {
  const ids = before === undefined ? filter.excludeEntityIds : diff(before, filter).added.excludeEntityIds
  if (ids.length === 0) return Effect.void
  const passes = compile(filter)
  const overruled = ids.filter((id) => passes(subject(id)))
  const [first] = overruled
  if (first === undefined) return Effect.void
  const others = overruled.length === 1 ? "" : `, and ${overruled.length - 1} more`
  return Effect.logWarning(
    `${quote(by)} excludes the entity ${
      quote(first)
    }${others} in version ${version} of the filter of '${source}', which includes it all the same. ` +
      `An event of it ${explain(filter)(subject(first))}`
  )
}

const storeChange = Effect.fnUntraced(function*<E>(
  source: string,
  { by, history = "nextEvent", reason = "" }: UpdateOptions,
  next: (newest: Newest) => Effect.Effect<EventFilter, E | StorageError>
): Effect.fn.Return<
  FilterVersion,
  E | HistoryNotSupported | TooManyGivenUp | StorageError,
  ConsumerFilter | ProjectionManagement
> {
  const filters = yield* ConsumerFilter
  let givesUp: NewVersion["givesUp"]
  let earlier: EventFilter | undefined
  if (history !== "nextEvent" && (yield* hasNoPositions(source))) {
    return yield* new HistoryNotSupported({ source, history })
  }
  const storing = filters.store(
    source,
    (found) =>
      Effect.gen(function*() {
        const { version } = found!
        const newest = { ...found!, filter: yield* Effect.cached(found!.filter) }
        const filter = yield* next(newest)
        const before = yield* unlessUnreadable(newest.filter)
        earlier = before
        // what was passed over may be asked for without a change
        if (history !== "now" && before !== undefined && isSame(filter, before)) return undefined
        givesUp = history === "none"
          ? yield* givingUp(source, { version: version + 1, before: yield* newest.filter, after: filter })
          : undefined
        return { filter, by, reason, history, restarts: true, givesUp }
      }).pipe(Effect.provideService(ConsumerFilter, filters))
  )
  const stored = yield* paced(source, ({ isNew }) => isNew, storing, filters.afterCommit)
  if (stored.isNew) {
    if (givesUp !== undefined) yield* filters.afterCommit(warnOfLoss(stored.newest!))
    yield* filters.afterCommit(warnOfOverruled(earlier, stored.newest!))
    yield* filters.afterCommit(outlive(stored))
  }
  return stored.newest!
})

/**
 * Changes the filter of a stream while events flow, and returns the version that was stored. Once it returns, no event that the new filter
 * excludes is handed to a handler any more, in any process, and everything that it includes will be. A filter that stays as it
 * is is stored only where its `history` is `now`.
 *
 * **Details**
 *
 * The function is given the newest filter, and runs in the transaction that stores what it returns, maybe more than once: of concurrent changes
 * none is lost. The change waits for exactly-once handlers that are running. If at-least-once projections follow the filter, it takes half a
 * second longer where other processes may use the storage. A change in a transaction of yours counts from its commit: what is said of
 * the return of a change then holds for that of the transaction.
 *
 * Changes in quick succession wait for each other, so that the workers make progress between them: for up to a second, and up to eight where that was in vain
 * again and again, until those of this process have handled something by the last change or have caught up, and where other processes may use the storage, until the last change
 * that this process has made is 200 ms old. One in a transaction of yours does not wait.
 *
 * Workers go on from their stored offsets, over the same connection: those of this process at once; others look every 50 ms. What
 * becomes of the earlier events of an entity that is included is the choice of `history`.
 *
 * **Example** (One more cart)
 *
 * ```ts
 * import { ConsumerFilter, EventFilter, EventStream, MemoryStorage, Projection } from "@sluice/core"
 * import { EventConsumer } from "@sluice/grpc"
 * import { Effect, Schema } from "effect"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String }) {}
 * const CartEvents = EventStream.make("carts", { event: ItemAdded })
 * const Carts = EventConsumer.source(CartEvents, { address: "localhost:8101" }).pipe(
 *   EventConsumer.filter(EventFilter.excludeAll.pipe(EventFilter.includeTags("large")))
 * )
 *
 * const program = Effect.gen(function*() {
 *   yield* ConsumerFilter.update(Carts, EventFilter.includeEntityIds("c-17"), { by: "ada", reason: "a complaint" })
 *   return (yield* ConsumerFilter.history(Carts)).map(({ by, reason, version }) => `${version} by ${by}: ${reason}`)
 * })
 * await Effect.runPromise(Effect.provide(program, MemoryStorage.layer))
 * // => ["2 by ada: a complaint", "1 by pipeline: first start"]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const update = Effect.fn("ConsumerFilter.update")(function*(
  ref: FilterRef,
  change: (filter: EventFilter) => EventFilter,
  options: UpdateOptions
): Effect.fn.Return<
  FilterVersion,
  FilterError | HistoryNotSupported | TooManyGivenUp | InvalidInput,
  ConsumerFilter | ProjectionManagement
> {
  const problem = optionsProblem(options)
  if (problem !== undefined) return yield* problem
  const { source } = yield* stored(ref)
  return yield* storeChange(
    source,
    options,
    ({ filter }) => Effect.flatMap(filter, (before) => changed(change, before))
  )
})

/**
 * Goes back to an earlier version of the filter, by storing it as a new one. It returns when {@link update} would. Rolled back to the newest
 * version by {@link pipeline}, the filter follows the pipeline again. So a version can be left that a newer release has stored and this one cannot read.
 *
 * @category operations
 * @since 0.1.0
 */
export const rollBack = Effect.fn("ConsumerFilter.rollBack")(function*(
  ref: FilterRef,
  version: number,
  options: UpdateOptions
): Effect.fn.Return<
  FilterVersion,
  FilterError | HistoryNotSupported | TooManyGivenUp | UnknownVersion | InvalidInput,
  ConsumerFilter | ProjectionManagement
> {
  const problem = optionsProblem(options) ?? Check.safeInteger("version", version)
  if (problem !== undefined) return yield* problem
  const source = yield* storedSource(ref)
  const filters = yield* ConsumerFilter
  return yield* storeChange(source, options, (newest) =>
    Effect.flatMap(
      filters.find(source, { version }),
      (found) =>
        found === undefined
          ? Effect.fail(new UnknownVersion({ source, version, newest: newest.version }))
          : Effect.succeed(found.filter)
    ))
})

/**
 * The newest version of the filter.
 *
 * @category getters
 * @since 0.1.0
 */
export const get = (
  ref: FilterRef
): Effect.Effect<FilterVersion, FilterError, ConsumerFilter | ProjectionManagement> => stored(ref)

/**
 * Up to `limit` (20) versions of the filter, newest first, before one of them, such as the last one of the page before.
 *
 * @category getters
 * @since 0.1.0
 */
export const history = Effect.fnUntraced(function*(ref: FilterRef, options?: {
  readonly before?: number | undefined
  readonly limit?: number | undefined
}): Effect.fn.Return<ReadonlyArray<FilterVersion>, FilterError | InvalidInput, ConsumerFilter | ProjectionManagement> {
  const { before, limit = 20 } = options ?? {}
  const problem = Check.safeInteger("limit", limit) ??
    (before === undefined ? undefined : Check.safeInteger("before", before))
  if (problem !== undefined) return yield* problem
  const source = yield* storedSource(ref)
  const filters = yield* ConsumerFilter
  return yield* filters.history(source, before, limit)
})

/** How soon a change by another process is shown. */
const pollInterval = "250 millis"

/**
 * The newest version of the filter, and each newer one. Of several changes in a row it may show only the last one.
 *
 * @category getters
 * @since 0.1.0
 */
export const changes = (
  ref: FilterRef
): Stream.Stream<FilterVersion, FilterError, ConsumerFilter | ProjectionManagement> =>
  Stream.unwrap(Effect.gen(function*() {
    const filters = yield* ConsumerFilter
    const { source } = yield* stored(ref)
    const changed = yield* filters.changes(source)
    const next = (after: number): Effect.Effect<FilterVersion, StorageError> =>
      Effect.flatMap(filters.find(source, { after }), (found) =>
        found === undefined
          ? Effect.andThen(Effect.raceFirst(changed, Effect.sleep(pollInterval)), next(after))
          : Effect.succeed(found))
    return Stream.unfold(0, (after: number) => Effect.map(next(after), (found) => [found, found.version] as const))
  }))
