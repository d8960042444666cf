import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { ConsumerFilter } from "../../ConsumerFilter.ts"
import { compile, type EventFilter, includeTopics, type Subject, toText, without } from "../../EventFilter.ts"
import { includesNothing } from "../../GivenUp.ts"
import { JournalForked } from "../../JournalError.ts"
import type * as Offset from "../../Offset.ts"
import { type OffsetKey, OffsetStore, type StoredOffsets } from "../../OffsetStore.ts"
import { bySource, offsetKey, type Projection, type SourceProjection } from "../../ProjectionDefinition.ts"
import { type CommandOptions, issueOf, UnknownProjection } from "../../ProjectionManagement.ts"
import type { Slice } from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import * as Source from "../../Source.ts"
import type { StorageError } from "../../StorageError.ts"
import {
  type Counts,
  type Report,
  type SliceReport,
  VerificationDisturbed,
  VerificationUnsupported
} from "../../VerificationReport.ts"
import * as Check from "../checkInput.ts"
import { orTimeout, patience } from "./fetch.ts"
import { timeOf } from "./inTime.ts"
import { scopedInTime } from "./scopedInTime.ts"
import { noCounts, SliceComparison } from "./SliceComparison.ts"

/** @internal */
export interface VerifyOptions extends CommandOptions {
  readonly source?: string | undefined
  readonly range?: SliceRange.SliceRange | undefined
  readonly repair?: boolean | undefined
  readonly limit?: number | undefined
}

/** How often it begins anew, where somebody has commanded the projection meanwhile. */
const attempts = 3

/** So many different filters are remembered that may have kept an event back. */
const maxFilters = 100

const pageOfVersions = 100

/** For how long a source is waited for that has shown nothing for a while, in milliseconds: a page may be slow, or the source be connecting again. */
const longPatience = 3 * patience

/** The projection has got other offsets meanwhile. */
class Disturbed {
  readonly _tag = "Disturbed"
}

/** @internal Compares a projection with the journals of its sources, or of one. */
export const verify = (
  projection: Projection<any, any>,
  { source, ...options }: VerifyOptions
): Effect.Effect<ReadonlyArray<Report>, unknown, any> =>
  Effect.gen(function*() {
    const { limit = 1_000, repair = false } = options
    const invalid = Check.safeInteger("limit", limit)
    if (invalid !== undefined) return yield* invalid
    const meant = bySource(projection).filter((one) => source === undefined || one.source.provider.key === source)
    if (meant.length === 0) return yield* new UnknownProjection({ projection: projection.name, source })
    return yield* Effect.forEach(meant, (one) => {
      const comparing = Effect.flatMap(
        compare(one, options.range ?? SliceRange.full, limit),
        ({ comparison, revision }) =>
          Effect.map(
            repair && comparison.parts.size > 0 ? lookAgain(one, revision, comparison, options) : Effect.succeed(0),
            (repairing) => reportOf(offsetKey(one), comparison, repairing)
          )
      )
      return Effect.retry(comparing, { times: attempts - 1, while: (error) => error instanceof Disturbed }).pipe(
        Effect.catchIf(
          (error) => error instanceof Disturbed,
          () => Effect.fail(new VerificationDisturbed(offsetKey(one)))
        )
      )
    })
  })

interface Outcome {
  readonly comparison: SliceComparison
  /** Of the offsets that were compared. */
  readonly revision: number
}

const compare = (
  one: SourceProjection<any, any>,
  range: SliceRange.SliceRange,
  limit: number
): Effect.Effect<Outcome, unknown, any> =>
  Effect.gen(function*() {
    const store = yield* OffsetStore
    const filters = yield* ConsumerFilter
    const { provider } = one.source
    const key = offsetKey(one)
    const stored = yield* store.load(key, range)
    const { journal, revision } = stored
    if (revision === undefined) return yield* new UnknownProjection(key)
    if (journal === Source.timestamps) return yield* new VerificationUnsupported(key)
    const filter = provider.filter === undefined
      ? undefined
      : (yield* filters.find(key.source))?.filter ?? provider.filter
    const wasIncluded = filter === undefined ? () => true : yield* includedBefore(filters, key.source, filter)
    const passedOver = yield* filters.passedOver(key, range, revision)
    // after the offsets: what was read is before them
    const heads = yield* orTimeout(provider, provider.heads(range)).pipe(
      Effect.catchIf((error) => error instanceof Source.HeadsNotServed, () => Effect.undefined)
    )
    if (heads === undefined || timeOf(heads) !== undefined) return yield* new VerificationUnsupported(key)
    const ahead = yield* findAhead(key, provider, range, stored, heads)
    const slices = SliceRange.slices(range)
    const comparison = new SliceComparison({ slices, stored, heads, ahead, passedOver, wasIncluded, limit })
    if (!comparison.isDone) yield* scan(key, provider, range, comparison, { journal, filter, heads })
    const { revision: after } = yield* store.load(key, SliceRange.make(range.min, range.min))
    if (after !== revision) return yield* Effect.fail(new Disturbed())
    return { comparison, revision }
  })

/**
 * The slices whose offsets are not in the journal. A source opens only after events that it has, and says of one slice at a time that it has not: those
 * are left out until it opens.
 */
const findAhead = (
  key: OffsetKey,
  provider: Source.Provider<any, any, any>,
  range: SliceRange.SliceRange,
  { journal, offsets }: StoredOffsets,
  heads: Offset.Offsets
): Effect.Effect<ReadonlySet<Slice>, unknown, any> =>
  Effect.gen(function*() {
    const ahead = new Set<Slice>()
    const left = new Map<Slice, Offset.Offset>()
    for (const [slice, offset] of offsets) {
      if (offset.position > (heads.get(slice)?.position ?? 0)) ahead.add(slice)
      else if (offset.position > 0) left.set(slice, offset)
    }
    while (left.size > 0) {
      // from its head on it shows nothing that nobody wants
      const start = { journal, offsets: new Map([...heads, ...left]), pastDeleted: true }
      const fork = yield* openAt(key, provider, range, start).pipe(
        Effect.as(undefined),
        scopedInTime,
        Effect.catchIf((error) => error instanceof JournalForked, Effect.succeed)
      )
      if (fork === undefined) return ahead
      // or it would go on for ever
      if (!left.delete(fork.slice)) return yield* fork
      ahead.add(fork.slice)
    }
    return ahead
  })

const openAt = Effect.fnUntraced(function*(
  key: OffsetKey,
  provider: Source.Provider<any, any, any>,
  range: SliceRange.SliceRange,
  start: Source.Start
): Effect.fn.Return<Source.Feed<any, any>, unknown, any> {
  const feed = yield* orTimeout(provider, provider.open(range, { ...start, placesOnly: true }))
  return feed.journal === Source.timestamps ? yield* new VerificationUnsupported(key) : feed
})

interface Reading {
  readonly filter: EventFilter | undefined
  readonly heads: Offset.Offsets
  readonly journal: string | undefined
}

/**
 * Reads what is to be judged, in the order of the source, with a page of it in memory. A source that falls silent is opened again after what it has shown, with
 * more patience. If it shows nothing then of what is left, though it does show its events when it is asked for others, what is left is not shown at all.
 */
const scan = (
  key: OffsetKey,
  provider: Source.Provider<any, any, any>,
  range: SliceRange.SliceRange,
  comparison: SliceComparison,
  reading: Reading
): Effect.Effect<void, unknown, any> =>
  Effect.gen(function*() {
    let silence = patience
    while (true) {
      const { taken } = comparison
      yield* scopedInTime(read(key, provider, comparison, reading, silence))
      if (comparison.isDone) return
      // what it shows once more is none of what is left
      if (comparison.taken === taken && silence === longPatience) break
      silence = longPatience
    }
    yield* showsAny(key, provider, range, reading).pipe(scopedInTime)
    comparison.end()
  })

/** Reads until nothing is left to be judged, or the source shows nothing of it for so long. */
const read = (
  key: OffsetKey,
  provider: Source.Provider<any, any, any>,
  comparison: SliceComparison,
  { filter, heads, journal }: Reading,
  silence: number
): Effect.Effect<void, unknown, any> =>
  Effect.gen(function*() {
    const store = yield* OffsetStore
    const wanted = comparison.start
    const range = rangeOf(comparison.unjudged)
    const offsets = new Map(heads)
    for (const slice of comparison.unjudged) {
      const offset = wanted.get(slice)
      if (offset === undefined) offsets.delete(slice)
      else offsets.set(slice, offset)
    }
    const { envelopes } = yield* openAt(key, provider, range, { journal, offsets, filter, pastDeleted: true })
    // what comes of others meanwhile has no end
    const shown = Stream.chunks(envelopes).pipe(
      Stream.filter((elements) => elements.some(({ slice }) => comparison.isUnjudged(slice))),
      Stream.timeoutOrElse({ duration: silence, orElse: () => Stream.empty })
    )
    yield* Stream.runForEachWhile(shown, (elements) =>
      Effect.gen(function*() {
        const candidates = comparison.take(elements)
        const persistenceIds = new Set(candidates.map(({ event }) => event.persistenceId))
        if (candidates.length > 0) {
          comparison.judge(candidates, yield* store.sequenceNumbers(key, [...persistenceIds]))
        }
        return !comparison.isDone
      }))
  })

/** Fails if the source, read from its beginning, does not show anything in time: then it is not known what it would show of anything. */
const showsAny = Effect.fnUntraced(function*(
  key: OffsetKey,
  provider: Source.Provider<any, any, any>,
  range: SliceRange.SliceRange,
  { filter, journal }: Reading
): Effect.fn.Return<void, unknown, any> {
  const { envelopes } = yield* openAt(key, provider, range, { journal, offsets: new Map(), filter, pastDeleted: true })
  yield* orTimeout(provider, Stream.runHead(envelopes))
})

const rangeOf = (slices: ReadonlyArray<Slice>): SliceRange.SliceRange =>
  SliceRange.make(Math.min(...slices), Math.max(...slices))

/**
 * Whether an event that passes the newest version of a filter has passed all others as well, so that none has left it out. As far as that is not known, it
 * has not.
 */
const includedBefore = Effect.fnUntraced(function*(
  filters: ConsumerFilter["Service"],
  source: string,
  newest: EventFilter
): Effect.fn.Return<(subject: Subject) => boolean, StorageError> {
  const others = new Map<string, (subject: Subject) => boolean>()
  let before: number | undefined
  while (before !== 1) {
    const page = yield* filters.history(source, before, pageOfVersions)
    if (page.length === 0) return before === undefined ? () => true : () => false
    for (const { filter, version } of page) {
      // old versions are deleted
      if (before !== undefined && version !== before - 1) return () => false
      before = version
      if (includesNothing({ version, before: filter, after: newest })) continue
      // the producer may have another prefix for topics
      others.set(toText(filter), compile(without(includeTopics(...filter.includeTopics))(filter)))
      if (others.size > maxFilters) return () => false
    }
  }
  const all = [...others.values()]
  return (subject) => all.every((passes) => passes(subject))
})

const lookAgain = Effect.fnUntraced(function*(
  one: SourceProjection<any, any>,
  revision: number,
  { parts }: SliceComparison,
  options: CommandOptions
): Effect.fn.Return<number, unknown, ConsumerFilter> {
  const filters = yield* ConsumerFilter
  const issue = yield* issueOf(options)
  const target = parts.size === 1 ? "1 slice" : `${parts.size} slices`
  const isStored = yield* filters.lookAgain(offsetKey(one), revision, parts, { ...issue, target })
  return isStored ? parts.size : yield* Effect.fail(new Disturbed())
})

const reportOf = (key: OffsetKey, { differences, hasMore, slices }: SliceComparison, repairing: number): Report => ({
  ...key,
  slices,
  differences,
  hasMore,
  counts: slices.reduce(plus, noCounts),
  repairing
})

const plus = (a: Counts, b: SliceReport): Counts => ({
  proven: a.proven + b.proven,
  handled: a.handled + b.handled,
  leftOut: a.leftOut + b.leftOut,
  deleted: a.deleted + b.deleted,
  jumped: a.jumped + b.jumped,
  pending: a.pending + b.pending,
  missing: a.missing + b.missing,
  unshown: a.unshown + b.unshown
})
