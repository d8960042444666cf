import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Element, type Place, skipped } from "../../Envelope.ts"
import { compile } from "../../EventFilter.ts"
import { isFlow } from "../../Flow.ts"
import type { PastGivenUp } from "../../GivenUp.ts"
import { isGrouped } from "../../Handler.ts"
import { JournalForked } from "../../JournalError.ts"
import * as Offset from "../../Offset.ts"
import { beginsAnew, Fenced, type Move, type OffsetStore } from "../../OffsetStore.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import { offsetKey, type SourceProjection } from "../../ProjectionDefinition.ts"
import { CommandsLost } from "../../ProjectionError.ts"
import { checkSince, type ProjectionManagement } from "../../ProjectionManagement.ts"
import { type Reading, ReadingState } from "../../ReadingState.ts"
import type { Slice } from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import * as Source from "../../Source.ts"
import type { StorageError } from "../../StorageError.ts"
import { type Admission, admit } from "./admission.ts"
import { type Chunk, Chunks, isReplay } from "./Chunks.ts"
import { Decoded, type DecodedShare } from "./DecodedBudget.ts"
import { loadEntities } from "./entities.ts"
import { errorOf, ForkedAhead, InterruptedByCommand, isAheadOfStored, isFenced } from "./failures.ts"
import { fillOfLog } from "./fillOfLog.ts"
import { fillOfTime } from "./fillOfTime.ts"
import type { FollowedFilter } from "./followFilter.ts"
import { Grouping, type GroupingOptions } from "./Grouping.ts"
import { makeFlow } from "./handleInFlow.ts"
import { makeParallel } from "./handleInParallel.ts"
import { handleGroup, type Handling, meetPoison, save, tellOfLost } from "./handling.ts"
import { type Held, HeldBack } from "./HeldBack.ts"
import type { InHand, Interruption, Options as InHandOptions } from "./inHand.ts"
import { loadSkips } from "./loadSkips.ts"
import { lookBack, PastProgress } from "./lookBack.ts"
import { NextEvent } from "./NextEvent.ts"
import { OffsetTracker } from "./OffsetTracker.ts"
import { ParkedEntities } from "./ParkedEntities.ts"
import { PassedOver } from "./PassedOver.ts"
import { hasComeSince, makeRepairs, type Repairs, room } from "./repairs.ts"
import { resolveTimes } from "./resolveTimes.ts"
import { scopedInTime } from "./scopedInTime.ts"
import { headsIn } from "./SharedHeads.ts"
import { knownFor } from "./SharedLooks.ts"
import { startHandler } from "./startHandler.ts"
import { TimestampReading } from "./TimestampReading.ts"
import { unlessSilent } from "./unlessSilent.ts"
import type { WorkerMemory } from "./WorkerMemory.ts"
import type { WorkerMonitor } from "./WorkerMonitor.ts"

/** How often to ask a source for its heads if it fails to answer. */
const headsRetry = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("30 seconds")])

/** @internal What an incarnation needs of its worker. */
export interface Options {
  readonly projection: SourceProjection<any, any>
  readonly range: SliceRange.SliceRange
  readonly store: OffsetStore["Service"]
  readonly management: ProjectionManagement["Service"]
  readonly monitor: WorkerMonitor
  readonly memory: WorkerMemory
  readonly filter: FollowedFilter
  /** Ends when there is another command. */
  readonly interrupted: Effect.Effect<void>
  /** That of the command that the worker has read. */
  readonly knownRevision: number
  /** Whether the worker has read that once more, as there was to be another one. */
  readonly isNewest: boolean
  /** As {@link interrupted}, by what is known now. */
  readonly unlessNew: Effect.Effect<void, InterruptedByCommand>
}

/** What an incarnation handles elements with. */
interface Work {
  readonly handling: Handling
  readonly reading: Reading
  readonly held: HeldBack
  readonly repairs: Repairs
  readonly grouping: Grouping
  /** Handles events at the same time; undefined if they are handled one after the other. */
  readonly parallel: InHand | undefined
  readonly chunks: Chunks
  readonly decoded: DecodedShare
  readonly interruption: Interruption
  readonly past: PastProgress
  readonly givenUp: PastGivenUp
  /** Entities of which nothing has come since the filter was changed last, and the last numbers that had come before. */
  readonly notSince: Map<PersistenceId, number>
  readonly filter: FollowedFilter
  /** Monotonic time in milliseconds, as the time of day may be set meanwhile. */
  readonly elapsed: () => number
}

/**
 * @internal
 * One incarnation of a worker: it loads the offsets, opens the source, and hands groups of elements to the handler until something
 * fails, or there is another command.
 */
export const incarnation = (options: Options): Effect.Effect<never, unknown, any> =>
  Effect.gen(function*() {
    const { memory, monitor, projection } = options
    yield* options.filter.begin
    const { completeUpTo, journal: known, offsets, revision, rewinds } = yield* load(options)
    // after the revision: whoever stores another filter meanwhile raises that
    const newest = yield* options.filter.current(options.range, revision)
    const filter = newest?.filter
    const passedOver = new PassedOver(yield* options.filter.passedOver(options.range, revision), {
      completeUpTo,
      offsets
    })
    const givenUpByDefault = yield* options.filter.givenUp(options.range, revision)
    const isChanged = monitor.revision !== undefined && monitor.revision !== revision
    const goesOn = options.filter.isThere && isChanged && (yield* hasJustRun(memory)) &&
      monitor.isNotBefore(offsets)
    monitor.loaded(offsets, revision, { pastLag: passedOver.remaining, filterVersion: newest?.version })
    yield* tellOfLost({ ...options, key: offsetKey(projection) }, offsets)
    // before the source, so that it ends after the last event
    const handle = yield* unlessCommanded(options, startHandler(projection, options.range))
    const decoded = yield* (yield* Decoded).share
    const held = new HeldBack()
    const chunks = yield* Chunks.make(held)
    const opening = open(options, { journal: known, offsets, filter }, chunks, decoded, held)
    const { journal, replay, supersedes } = yield* unlessCommanded(options, opening)
    const { topicPrefix } = projection.source.provider
    const givenUp = topicPrefix === undefined ? givenUpByDefault : givenUpByDefault.withTopicPrefix(topicPrefix)
    yield* openPast(options, passedOver, { journal, offsets, filter }, chunks, decoded, held)
    const stored = { completeUpTo, offsets, rewinds }
    const reading: Reading = journal === Source.timestamps
      ? new TimestampReading(options.range, stored)
      : new ReadingState(options.range, stored, { isStrict: !supersedes })
    monitor.waits(() => reading.waitsFrom)
    const tracker = new OffsetTracker(offsets, reading)
    const parked = yield* loadParked(options, reading, supersedes)
    const skips = yield* unlessCommanded(options, loadSkips(options, stored))
    monitor.happened({ _tag: "Opened" })
    yield* askForNotice(options, offsets)
    if (goesOn) monitor.happened({ _tag: "CaughtUp" })
    yield* watchHeads(options, tracker, goesOn)
    const interruption = yield* watchCommand(options, chunks)
    const clock = yield* Effect.clockWith(Effect.succeed)
    // of groups, the round trip that this saves is a small part
    const nextEvent = projection.delivery._tag === "ExactlyOnce" && !isGrouped(projection.handler)
      ? new NextEvent(tracker)
      : undefined
    yield* Effect.addFinalizer(() => nextEvent?.abandon ?? Effect.void)
    const handling: Handling = {
      ...options,
      nextEvent,
      handle,
      key: offsetKey(projection),
      basis: { journal, revision },
      tracker,
      parked,
      skips,
      clock,
      // a handler's transaction finds out by itself
      admit: options.filter.isThere && projection.delivery._tag !== "ExactlyOnce" ? options.unlessNew : undefined,
      mayHandOver: options.filter.isThere && projection.delivery._tag === "AtMostOnce"
        ? mayHandOver(options, newest?.version, clock)
        : undefined,
      sleep: (delay) =>
        Effect.andThen(Effect.raceFirst(Effect.sleep(delay), options.interrupted), unlessInterrupted(interruption))
    }
    // after a change there may soon be another, which fences it, and it would handle the same again
    const grouping = new Grouping(
      { ...groupingOf(projection), savesFirst: options.filter.isThere && isChanged },
      memory.groupDue
    )
    const elapsed = () => Number(clock.monotonicTimeNanosUnsafe() / 1000n) / 1000
    const past = new PastProgress(elapsed())
    const { filter: follow } = options
    const repairs = yield* makeRepairs({
      handling,
      reading,
      held,
      givenUp,
      toCome: (slice) => {
        const upTo = passedOver.upTo(slice)
        if (upTo === 0 || filter === undefined) return undefined
        const passes = compile(filter, { topicPrefix: topicPrefix?.() })
        return { upTo, has: (event) => passes(event) && givenUp.until(event) === undefined }
      },
      fill: reading instanceof TimestampReading ? fillOfTime(reading, replay) : fillOfLog,
      offer: (elements) => Effect.andThen(offer(chunks, decoded, { elements, isReplay: true }), decoded.room),
      fail: (cause) => chunks.fail(cause)
    })
    const parallel = yield* parallelOf(handling, { decoded, elapsed, grouping, interruption, reading })
    return yield* work({
      handling,
      reading,
      held,
      repairs,
      grouping,
      parallel,
      chunks,
      decoded,
      interruption,
      past,
      givenUp,
      notSince: new Map(),
      filter: follow,
      elapsed
    }).pipe(
      // what the handler has in hand is not interrupted for a command, and not at once for a failure
      parallel === undefined
        ? identity
        : Effect.catchCause((cause) => Effect.andThen(parallel.finish(cause), Effect.failCause(cause))),
      Effect.onExit((exit) => {
        // so that commands in quick succession do not have a group wait for ever
        memory.groupDue = isCommanded(exit) ? grouping.oldestDue : Infinity
        memory.ranUntil = isCommanded(exit) && monitor.isRunning ? elapsed() : -Infinity
        const saved = Effect.suspend(() => saveAtEnd(handling, exit))
        return parallel === undefined ? saved : Effect.andThen(parallel.end, saved)
      }),
      Effect.catchCause((cause) => explainFork(options, handling, cause, parallel?.isEmpty() === false))
    )
  }).pipe(scopedInTime)

/** Whether a version of the filter was the newest a moment ago. A command may also be one to pause, for which nothing has to be lost. */
const mayHandOver = (
  { filter, unlessNew }: Options,
  version: number | undefined,
  clock: Clock.Clock
): Effect.Effect<boolean> =>
  Effect.matchEffect(unlessNew, {
    onSuccess: () => Effect.succeed(true),
    onFailure: () =>
      Effect.suspend(() => {
        const begun = clock.monotonicTimeNanosUnsafe()
        return Effect.match(filter.newest, {
          onFailure: () => false,
          onSuccess: (newest) =>
            newest?.version === version && clock.monotonicTimeNanosUnsafe() - begun < BigInt(knownFor) * 1_000_000n
        })
      })
  })

const parallelOf = (
  handling: Handling,
  { decoded, elapsed, grouping, interruption, reading }: Pick<
    Work,
    "decoded" | "elapsed" | "grouping" | "interruption" | "reading"
  >
): Effect.Effect<InHand | undefined, never, Scope.Scope> => {
  const { delivery, handler } = handling.projection
  if (delivery._tag !== "AtLeastOnce" || delivery.parallelism === 1 && !isFlow(handler)) return Effect.undefined
  const options: InHandOptions = {
    handling,
    // where offsets are times, the newest one counts for all slices
    inSourceOrder: reading instanceof TimestampReading,
    interruption,
    handled: (elements, bytes) => {
      decoded.release(bytes)
      return grouping.handled(elements, elapsed())
    },
    isSaveDue: (elements) => grouping.isSaveDueAfter(elements),
    save: saveNow({ grouping, handling }),
    handledBehind: (elements) => {
      if (!(reading instanceof TimestampReading)) return
      reading.handledBehind(elements)
      handling.tracker.advance([])
    }
  }
  return isFlow(handler) ? makeFlow(options, handler) : makeParallel(options, delivery.parallelism)
}

const groupingOf = ({ delivery, handler }: SourceProjection<any, any>): GroupingOptions => ({
  // what is handled at the same time is put together once it is ready, slice by slice
  ...(delivery._tag === "AtLeastOnce" && delivery.parallelism > 1 ? ofEvents : limitsOf(handler)),
  save: delivery._tag === "AtLeastOnce"
    ? { after: delivery.saveAfter, within: Duration.toMillis(delivery.saveWithin) }
    : undefined
})

const ofEvents = { bytes: Infinity, size: 1, within: 0 }

const limitsOf = (handler: SourceProjection<any, any>["handler"]): Omit<GroupingOptions, "save"> =>
  isGrouped(handler)
    ? { bytes: handler.bytes, size: handler.size, within: Duration.toMillis(handler.within) }
    : ofEvents

/** The offsets. Where one is before the time at which the projection begins, it is that time. */
const fromItsBeginning = Effect.fnUntraced(function*(
  projection: SourceProjection<any, any>,
  range: SliceRange.SliceRange,
  offsets: Offset.Offsets
) {
  const { beginsAt, source: { provider } } = projection
  if (beginsAt === undefined) return offsets
  const begun = [...offsets].filter(([, { position, timestamp }]) => position > 0 || timestamp >= beginsAt)
  if (begun.length === SliceRange.size(range)) return offsets
  const beginning = Offset.since(beginsAt, range)
  const newest = Effect.map(provider.heads(range), (heads) => Offset.newest(heads.values()))
  yield* checkSince(offsetKey(projection), { journal: undefined, offsets: beginning }, yield* provider.now, newest)
  return new Map([...beginning, ...begun])
})

/**
 * Loads the offsets. Registers the projection if it is new, and asks the source for the positions of offsets that are
 * only a time.
 */
const load = Effect.fnUntraced(function*(options: Options) {
  const { knownRevision, management, memory, projection, range, store } = options
  const key = offsetKey(projection)
  let stored = yield* store.load(key, range)
  if (stored.revision === undefined) {
    yield* management.register(key)
    stored = yield* store.load(key, range)
  }
  const { journal, revision } = stored
  // it was cleared meanwhile
  if (revision === undefined) return yield* new Fenced({ ...key, slice: undefined, by: "command" })
  // it may be a version that is retired by now, and nobody would fence a worker that goes by these offsets
  if (revision > knownRevision) return yield* Effect.fail(ahead(options, revision))
  const offsets = yield* memory.ofSource(fromItsBeginning(projection, range, stored.offsets))
  // there offsets are times for good
  const resolved = journal === Source.timestamps
    ? offsets
    : yield* memory.ofSource(resolveTimes(projection.source.provider, range, offsets))
  if (resolved === stored.offsets) return { ...stored, revision }
  const moves = Array.from(offsets.keys(), (slice): Move => ({
    slice,
    from: stored.offsets.get(slice),
    to: resolved.get(slice) ?? Offset.beginning
  }))
    .filter(({ from = Offset.beginning, to }) => from.position !== to.position || from.timestamp !== to.timestamp)
    .toSorted((a, b) => a.slice - b.slice)
  if (moves.length > 0) yield* store.transact(key, { journal: journal ?? "", revision }, moves, Effect.void)
  const anew = new Set(moves.filter(beginsAnew).map(({ slice }) => slice))
  const unlessAnew = <A>(known: ReadonlyMap<Slice, A>) => new Map([...known].filter(([slice]) => !anew.has(slice)))
  const { completeUpTo, rewinds } = stored
  return {
    journal,
    offsets: resolved,
    revision,
    completeUpTo: unlessAnew(completeUpTo),
    rewinds: unlessAnew(rewinds)
  }
})

/**
 * Loads the parked entities, after the offsets: whoever has parked one since has moved an offset, too. Of states none is, as a later one supersedes what was
 * put aside.
 */
const loadParked = Effect.fnUntraced(function*(
  { management, monitor, projection, range }: Options,
  reading: Reading,
  supersedes: boolean
): Effect.fn.Return<ParkedEntities, StorageError> {
  const ids = supersedes ? [] : yield* management.parked(offsetKey(projection), range)
  const hasNoPositions = reading instanceof TimestampReading
  const parked = new ParkedEntities(ids, {
    queue: projection.recovery.queue,
    // without a place in the source it comes again whenever that is opened
    isParkable: ({ position }) => !supersedes && (hasNoPositions || position !== undefined)
  })
  monitor.parked(parked.size)
  return parked
})

/** Opens the source, and decodes chunks ahead of the handler. */
const open = Effect.fnUntraced(function*(
  { memory, monitor, projection: { source }, range }: Options,
  stored: Pick<Source.Start, "journal" | "offsets" | "filter">,
  chunks: Chunks,
  decoded: DecodedShare,
  held: HeldBack
): Effect.fn.Return<Omit<Source.OpenSource<any, any, any>, "elements">, unknown, any> {
  const health: Source.Health = {
    disrupted: (cause) => void monitor.happened({ _tag: "Disrupted", cause }),
    restored: () => void monitor.happened({ _tag: "Restored" })
  }
  const start: Source.Start = {
    ...stored,
    pastDeleted: source.provider.onReplaced === "rewind",
    reminders: true
  }
  const { elements, ...opened } = yield* Source.open(source, { range, start }).pipe(
    memory.ofSource,
    Effect.provideService(Source.Health, health)
  )
  yield* elements.pipe(
    Stream.runForEachArray((elements) =>
      offer(chunks, decoded, { elements, isReplay: false }).pipe(
        Effect.andThen(decoded.room),
        Effect.andThen(room(held))
      )
    ),
    // a stage's failure comes as poison
    memory.ofSource,
    (reading) => chunks.endWith(reading),
    Effect.provideService(Source.Health, health),
    Effect.forkScoped
  )
  return opened
})

/** Opens the source for what was passed over, if there is any. Its chunks take turns with those of what is new. */
const openPast = Effect.fnUntraced(function*(
  { memory, projection: { source }, range }: Options,
  passedOver: PassedOver,
  start: Pick<Source.Start, "journal" | "offsets" | "filter">,
  chunks: Chunks,
  decoded: DecodedShare,
  held: HeldBack
): Effect.fn.Return<void, never, any> {
  if (passedOver.remaining === 0) return
  yield* lookBack(
    source,
    range,
    passedOver,
    start,
    (chunk) => offer(chunks, decoded, chunk).pipe(Effect.andThen(decoded.room), Effect.andThen(room(held)))
  ).pipe(
    memory.ofSource,
    Effect.catchCause((cause) => chunks.fail(cause)),
    Effect.forkScoped
  )
})

const offer = (chunks: Chunks, decoded: DecodedShare, chunk: Chunk): Effect.Effect<void> =>
  Effect.suspend(() => {
    decoded.hold(bytesOf(chunk.elements))
    return chunks.offer(chunk)
  })

/** Says what is odd about a source of which nothing was read yet. One worker of a projection says it in the log. */
const askForNotice = ({ monitor, projection, range }: Options, offsets: Offset.Offsets) => {
  const { notice } = projection.source.provider
  const isBegun = [...offsets.values()].some(({ position }) => position > 0)
  if (notice === undefined || isBegun) return Effect.void
  return notice.pipe(
    Effect.flatMap((notice) =>
      monitor.noticed(notice?.message) && notice !== undefined && range.min === 0
        ? Effect.logWithLevel(notice.level)(notice.message)
        : Effect.void
    ),
    // nothing depends on it
    Effect.catchCause(() => Effect.void),
    Effect.forkScoped
  )
}

const ahead = ({ isNewest, knownRevision, projection }: Options, revision: number) =>
  isNewest
    ? new CommandsLost({ ...offsetKey(projection), revision, newest: knownRevision })
    : new InterruptedByCommand()

/** For how many milliseconds a worker that had caught up when there was a command has as good as caught up. */
const pause = 1_000

const hasJustRun = ({ ranUntil }: WorkerMemory): Effect.Effect<boolean> =>
  Effect.map(Clock.monotonicTimeNanos, (now) => Number(now / 1000n) / 1000 - ranUntil < pause)

/**
 * Finds out when everything is stored that the source has now. That is not known until the source has told its heads. A worker that goes on as if it had caught
 * up says nothing where the source does not: it is waited for a little longer, by whoever changes the filter again.
 */
const watchHeads = ({ monitor, projection, range }: Options, tracker: OffsetTracker, goesOn: boolean) => {
  let hasWarned = false
  const sayOnce = (cause: Cause.Cause<unknown>) =>
    Effect.suspend(() => {
      const error = errorOf(cause)
      if (error instanceof Source.HeadsNotServed) {
        return monitor.lagUnknown(error.message) && range.min === 0
          ? Effect.logInfo(`Stays in 'CatchingUp'. ${error.message}`)
          : Effect.void
      }
      if (hasWarned || Cause.hasInterruptsOnly(cause)) return Effect.void
      hasWarned = true
      return Effect.logWarning(
        "Stays in 'CatchingUp' until its source says its newest positions, which has failed. Asks again",
        cause
      )
    })
  return headsIn(projection.source, range).pipe(
    goesOn ? identity : Effect.tapCause(sayOnce),
    Effect.sandbox,
    Effect.retry(headsRetry),
    Effect.map((heads) => {
      monitor.lagUnknown(undefined)
      if (heads.size > 0) monitor.begun()
      if (tracker.follow(heads)) monitor.caughtUp()
    }),
    Effect.forkScoped({ startImmediately: true })
  )
}

/**
 * Gives up when there is another command: a source that does not open, or a handler that does not start, must not keep a worker from it. The
 * store has deadlines of its own.
 */
const unlessCommanded = <A>({ interrupted }: Options, effect: Effect.Effect<A, unknown, any>) =>
  Effect.raceFirst(effect, Effect.andThen(interrupted, Effect.fail(new InterruptedByCommand())))

/** Ends the wait for a chunk when there is another command. */
const watchCommand = Effect.fnUntraced(function*(
  { interrupted }: Options,
  chunks: Chunks
): Effect.fn.Return<Interruption, never, Scope.Scope> {
  const interruption: Interruption = { isThere: false }
  yield* interrupted.pipe(
    Effect.andThen(Effect.suspend(() => {
      interruption.isThere = true
      interruption.listener?.()
      return chunks.fail(Cause.fail(new InterruptedByCommand()))
    })),
    Effect.forkScoped
  )
  return interruption
})

const unlessInterrupted = (interruption: Interruption): Effect.Effect<void, InterruptedByCommand> =>
  Effect.suspend(() => interruption.isThere ? Effect.fail(new InterruptedByCommand()) : Effect.void)

/** Hands groups to the handler as they are full or due, and stores offsets as they are due. */
const work = Effect.fnUntraced(function*(self: Work): Effect.fn.Return<never, unknown, any> {
  while (true) {
    if (yield* isInTime(self)) yield* judgeNext(self)
    else yield* handleDue(self)
    if (self.past.isBegun) yield* lookedBack(self)
  }
})

/** Waits for a chunk until something is due, and says whether one is there. */
const isInTime = ({ chunks, elapsed, grouping, parallel }: Work): Effect.Effect<boolean, unknown> => {
  if (grouping.due === Infinity && parallel === undefined) return Effect.succeed(true)
  const wait = grouping.due - elapsed()
  if (wait <= 0) return Effect.succeed(false)
  // peeks, because a take that is interrupted could lose a chunk
  const chunk = chunks.peekFor(wait)
  // also with nothing in hand, as a flow may fail by itself
  return parallel === undefined ? chunk : Effect.raceFirst(chunk, Effect.as(parallel.isDue, false))
}

const handleDue = Effect.fnUntraced(function*(self: Work): Effect.fn.Return<void, unknown, any> {
  const { elapsed, grouping, handling, parallel } = self
  const { due } = grouping
  if (parallel !== undefined) yield* parallel.settle
  // events that are handled at the same time may have woken it early
  if (parallel === undefined || elapsed() >= due) {
    if (grouping.isGroupDue(due)) yield* flush(self)
    if (grouping.isSaveDue(due)) yield* saveNow(self)
  }
  if (parallel !== undefined) grouping.pause(elapsed(), handling.tracker.isAhead || !parallel.isEmpty())
})

const judgeNext = Effect.fnUntraced(function*(self: Work): Effect.fn.Return<void, unknown, any> {
  const { chunks, elapsed, grouping, handling, parallel, reading } = self
  const { monitor, tracker } = handling
  const chunk = yield* chunks.take
  const waited = reading.isWaiting
  const judged = yield* judge(self, chunk.elements, isReplay(chunk), chunks, chunk.progress !== undefined)
  if (grouping.hasNoEvents) yield* flush(self)
  if (judged < chunk.elements.length) {
    chunks.putBack({ ...chunk, elements: chunk.elements.slice(judged) })
  } else if (chunk.progress !== undefined) {
    self.past.take(chunk)
  }
  // what it has read again may be nothing but duplicates, after which nothing is stored
  const isAhead = tracker.isAhead || parallel?.isEmpty() === false
  if (waited && !reading.isWaiting && grouping.isEmpty && !isAhead) {
    monitor.waitsNoMore(tracker.hasComeToTime)
  }
  handling.monitor.meters.report(handling.clock.currentTimeMillisUnsafe())
  grouping.pause(elapsed(), tracker.isAhead || parallel?.isEmpty() === false)
  if (isReplay(chunk)) yield* chunks.look
})

/**
 * Judges elements, and adds those that are to be handled to the group. Returns how many: no more than there is time for. Events that have waited come one
 * by one, without turns.
 */
const judge = Effect.fnUntraced(function*(
  self: Work,
  chunk: ReadonlyArray<Element<any>>,
  isReplay: boolean,
  turns?: Chunks,
  isPast = false
): Effect.fn.Return<number, unknown, any> {
  const { decoded, givenUp, grouping, handling, held, interruption, reading } = self
  yield* loadEntities(handling, reading, reading.unknown(chunk))
  let judged = 0
  for (const read of chunk) {
    if (interruption.isThere) return yield* Effect.fail(new InterruptedByCommand())
    if (judged > 0 && turns?.isTurnOver === true) break
    judged++
    if (isPast && !givenUp.isEmpty && read._tag !== "Skipped" && (yield* isGivenUp(self, read))) {
      if (read._tag === "Envelope") decoded.release(read.bytes)
      continue
    }
    const verdict = reading.judge(read, isReplay)
    const element = verdict === "accepted" ? read : yield* admit(admissionOf(self, isReplay), read, verdict)
    if (element !== read && read._tag === "Envelope") decoded.release(read.bytes)
    if (element === undefined) {
      if (turns !== undefined && read._tag !== "Skipped" && !held.isEmpty) yield* judgeDue(self, read, turns)
      continue
    }
    if (element._tag === "Poison") {
      yield* handleAll(self)
      yield* meetPoison(handling, element)
    } else if (grouping.add(element)) {
      handling.nextEvent?.isAt(chunk, judged)
      yield* flush(self)
      handling.nextEvent?.forget()
    }
    if (turns !== undefined && element._tag !== "Skipped" && !held.isEmpty) yield* judgeDue(self, element, turns)
  }
  return judged
})

/** Of so many entities it is remembered that nothing of them has come. */
const mostNotSince = 1_000

/** Whether an event that was passed over does not come. One that a change has given up comes behind others of its entity that it has not. */
const isGivenUp = (
  { givenUp, handling, held, notSince, reading }: Work,
  place: Place
): Effect.Effect<boolean, unknown> => {
  if (!givenUp.has(place)) return Effect.succeed(false)
  const { persistenceId, sequenceNumber } = place
  const first = held.first(persistenceId)
  if (first !== undefined && first.sequenceNumber < sequenceNumber) return Effect.succeed(false)
  const last = reading.last(persistenceId) ?? 0
  // of most there is nothing to ask
  if (last === 0 || last >= sequenceNumber || notSince.get(persistenceId) === last) return Effect.succeed(true)
  return Effect.map(hasComeSince(handling, reading, persistenceId), (hasCome) => {
    if (notSince.size >= mostNotSince) notSince.clear()
    if (!hasCome) notSince.set(persistenceId, last)
    return !hasCome
  })
}

/**
 * Judges what waits of an entity of which an event has come, while nothing is missing before it any more. What its turn has no time for is judged again
 * by whoever repairs the entity.
 */
const judgeDue = Effect.fnUntraced(function*(
  self: Work,
  { persistenceId }: Place,
  turns: Chunks
): Effect.fn.Return<void, unknown, any> {
  const { decoded, grouping, held, reading } = self
  let judged: Held | undefined
  while (judged === undefined || !turns.isTurnOver) {
    const due = held.due(persistenceId, reading.last(persistenceId) ?? -1)
    if (due === undefined) break
    if (due._tag === "Envelope") decoded.hold(due.bytes)
    yield* judge(self, [due], true)
    // it goes on waiting, for something else
    if ((reading.last(persistenceId) ?? -1) < due.sequenceNumber) break
    // not before, as whoever repairs the entity goes by what was accepted, and by what waits
    held.accepted(due)
    judged = due
  }
  if (judged === undefined) return
  const { position, slice, timestamp } = judged
  // so that the offset goes on without them
  const isLifted = !held.has(persistenceId) && reading.lift(persistenceId)
  if (isLifted && position !== undefined) grouping.add(skipped(slice, position, position, timestamp))
})

const admissionOf = (self: Work, isReplay: boolean): Admission => ({
  handling: self.handling,
  reading: self.reading,
  repairs: self.repairs,
  settle: Effect.andThen(handleAll(self), saveNow(self)),
  isReplay
})

/** Stores how far it has looked back, now and then and at the end, once everything up to there is handled and nothing of it waits. */
const lookedBack = Effect.fnUntraced(function*(self: Work): Effect.fn.Return<void, unknown, any> {
  const { elapsed, filter, handling: { basis, monitor }, past, reading } = self
  if (reading.isReplayWaiting) return
  if (past.isDue(elapsed())) {
    yield* handleAll(self)
    yield* saveNow(self)
    yield* filter.lookedThrough(basis.revision, past.save(elapsed()))
  }
  monitor.looksBack(past.remaining)
})

/** Handles everything that was judged. */
const handleAll = (self: Work): Effect.Effect<void, unknown, any> =>
  self.parallel === undefined ? flush(self) : Effect.andThen(flush(self), self.parallel.drain)

/** Handles the group, if there is anything in it. */
const flush = (self: Work): Effect.Effect<void, unknown, any> =>
  Effect.suspend(() => {
    const { decoded, elapsed, grouping, handling, parallel } = self
    if (grouping.isEmpty) return Effect.void
    const { bytes, elements, envelopes } = grouping.drain()
    if (parallel !== undefined) return parallel.add(elements)
    return Effect.flatMap(handleGroup(handling, elements, envelopes), () => {
      decoded.release(bytes)
      return grouping.handled(elements.length, elapsed()) ? saveNow(self) : Effect.void
    })
  })

const saveNow = ({ grouping, handling }: Pick<Work, "grouping" | "handling">): Effect.Effect<void, unknown, any> =>
  Effect.suspend(() => {
    grouping.saved()
    return save(handling)
  })

const isCommanded = (exit: Exit.Exit<never, unknown>): boolean =>
  Exit.isFailure(exit) && (errorOf(exit.cause) instanceof InterruptedByCommand || isFenced(exit.cause))

/** Stores the offsets of handled elements before the end. If another worker has moved them, nothing is stored. */
const saveAtEnd = (handling: Handling, exit: Exit.Exit<never, unknown>): Effect.Effect<void, never, any> => {
  const isOthers = Exit.isFailure(exit) && isFenced(exit.cause)
  return handling.projection.delivery._tag === "AtLeastOnce" && !isOthers && handling.tracker.isAhead
    ? Effect.ignore(unlessSilent(handling.store, save(handling)))
    : Effect.void
}

/**
 * A fork concerns the offsets in memory. If the store has lost them as well, such as by a failover of both databases,
 * nothing is wrong.
 */
const explainFork = Effect.fnUntraced(function*(
  { memory, projection, range, store }: Options,
  { key, tracker }: Handling,
  cause: Cause.Cause<unknown>,
  isAhead: boolean
): Effect.fn.Return<never, unknown> {
  const error = errorOf(cause)
  // an element that was handled and not stored is of the lost history, too
  const isStored = !isAhead && !tracker.isAhead && memory.isOfSource(error)
  if (!(error instanceof JournalForked) || !isStored || projection.source.provider.onReplaced === "rewind") {
    return yield* Effect.failCause(cause)
  }
  const { offsets } = yield* store.load(key, range)
  return yield* isAheadOfStored(error, tracker.offsets, offsets)
    ? Effect.fail(new ForkedAhead(cause))
    : Effect.failCause(cause)
})

const bytesOf = (chunk: ReadonlyArray<Element<unknown>>): number => {
  let bytes = 0
  for (const element of chunk) if (element._tag === "Envelope") bytes += element.bytes
  return bytes
}
