import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type EncodedElement, type EncodedEnvelope, type Skipped, skipped } from "../../Envelope.ts"
import { type Feed, Health, type Replay, type Start } from "../../Feed.ts"
import * as Floor from "../../Floor.ts"
import * as Journal from "../../Journal.ts"
import * as MetricAttributes from "../../MetricAttributes.ts"
import * as Metrics from "../../Metrics.ts"
import * as Offset from "../../Offset.ts"
import * as PersistenceId from "../../PersistenceId.ts"
import * as Position from "../../Position.ts"
import { ReadBudget } from "../../ReadBudget.ts"
import * as SequenceNumber from "../../SequenceNumber.ts"
import * as Slice from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import { StorageError } from "../../StorageError.ts"
import { Follower, type Taken } from "./Follower.ts"
import type { JournalTail } from "./JournalTail.ts"
import { JournalTails, type TailError } from "./JournalTails.ts"
import { pastHeads } from "./pastHeads.ts"
import { Replays } from "./Replays.ts"

/** Enough for the cost of a page to vanish, and few enough for the event loop to stay responsive. */
const pageSize = 500

const lastNumber = SequenceNumber.make(Number.MAX_SAFE_INTEGER - 1)

/**
 * What becomes of the events of a page, each of which keeps its place: of as many as have so many bytes then, and of one at least. The others are to come
 * again, with the next page.
 */
export type Amend = (
  page: ReadonlyArray<EncodedEnvelope>,
  maxBytes: number
) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, StorageError>

type Pull = Effect.Effect<Arr.NonEmptyReadonlyArray<EncodedElement>, TailError>

/** What opening a reader of the logs needs. */
interface Logs {
  readonly amend: Amend | undefined
  readonly journal: Journal.Journal["Service"]
  readonly entityType: string
  readonly range: SliceRange.SliceRange
  readonly byTime: boolean
  readonly scope: Scope.Scope
}

/** A reader that is closed by itself once it is not needed any more. */
interface OpenReader extends Pick<Journal.JournalReader, "next"> {
  readonly close: Effect.Effect<void>
  /** What was read and is to be read again, next. */
  unread: ReadonlyArray<EncodedEnvelope>
}

/** A feed of a journal, while it is open. */
interface Following {
  readonly logs: Logs
  readonly budget: ReadBudget
  readonly follower: Follower
  readonly tail: JournalTail<TailError>
  /** Opens when the tail has more, or a replay is asked for. */
  readonly latch: Latch.Latch
  readonly replays: Replays
  /** Of metrics of the entity type. */
  readonly metered: Context.Context<never>
  reader: OpenReader
  /** Whether the next events come from the tail, and not from the reader. */
  isLive: boolean
  /** The last page, if it is of a replay. */
  replayed: ReadonlySet<unknown>
  /** What is shown before it waits. */
  rest: () => ReadonlyArray<EncodedElement>
}

const nothing: ReadonlySet<unknown> = new Set()

/**
 * @internal
 * Reads a journal to its end, and from then on takes what comes from the tail that all share. Whoever falls behind the tail reads the
 * journal again: positions tell what comes next, wherever it comes from.
 */
export const follow = (
  entityType: string,
  range: SliceRange.SliceRange,
  start: Start,
  amend?: Amend
): Effect.Effect<Feed<TailError>, TailError | Journal.JournalReplaced, Journal.Journal | Scope.Scope> =>
  Effect.gen(function*() {
    const journal = yield* Journal.Journal
    if (start.journal !== undefined && start.journal !== journal.identity) {
      return yield* new Journal.JournalReplaced({ expected: start.journal, actual: journal.identity, entityType })
    }
    const floors = start.pastDeleted === true ? yield* journal.floors(entityType, range) : Offset.none
    const raised = Floor.raise(start.offsets, floors)
    const byTime = start.byTime ?? false
    const offsets = byTime ? pastHeads(raised, yield* journal.heads(entityType, range)) : raised
    const logs: Logs = { amend, journal, entityType, range, byTime, scope: yield* Effect.scope }
    const reader = yield* openReader(logs, offsets)
    const tail = yield* (yield* JournalTails).get(journal, entityType)
    const health = yield* Health
    const { latch } = yield* Effect.acquireRelease(
      Effect.sync(() => tail.subscribe(range, health)),
      (subscriber) => Effect.sync(() => tail.unsubscribe(subscriber))
    )
    const following: Following = {
      logs,
      budget: yield* ReadBudget,
      follower: new Follower(range, offsets),
      tail,
      latch,
      replays: new Replays(),
      metered: MetricAttributes.add(yield* Effect.context(), "entity_type", entityType),
      reader,
      isLive: false,
      replayed: nothing,
      rest: () => []
    }
    const envelopes = Stream.fromPull(Effect.succeed(pull(following)))
    const deleted = leftOut(start.offsets, raised)
    return {
      journal: journal.identity,
      replay: (request) => askReplay(following, request),
      isReplayed: (element) => following.replayed.has(element),
      beforeWaiting: (rest) => {
        following.rest = rest
      },
      envelopes: deleted.length === 0 ? envelopes : Stream.concat(Stream.fromArray(deleted), envelopes)
    }
  })

const openReader = (
  { byTime, entityType, journal, range, scope }: Logs,
  offsets: Offset.Offsets
): Effect.Effect<OpenReader, TailError> =>
  Effect.flatMap(Scope.fork(scope), (own) =>
    Effect.map(
      Scope.provide(journal.reader(entityType, range, offsets, { byTime }), own),
      ({ next }) => ({ next, close: Scope.close(own, Exit.void), unread: [] })
    ))

/** What comes next: of a replay that was asked for, or else of the logs. */
const pull = (self: Following): Pull =>
  Effect.suspend(() => {
    const request = self.replays.next
    self.replayed = nothing
    if (request !== undefined) return readReplay(self, request)
    return self.isLive ? readTail(self) : readJournal(self)
  })

const readJournal = (self: Following): Pull => {
  const { follower, metered, reader, tail } = self
  const readNext = (limit: number) => reader.unread.length > 0 ? Effect.succeed(reader.unread) : reader.next(limit)
  const readAgain = (rest: ReadonlyArray<EncodedEnvelope>) => void (reader.unread = rest)
  return Effect.flatMap(readPage(self, readNext, readAgain), (page): Pull => {
    const wrong = follower.cursor.takeAll(page)
    if (wrong !== undefined) return unexpected(self, wrong)
    if (Arr.isReadonlyArrayNonEmpty(page)) {
      Metrics.journalPages.updateUnsafe(1, metered)
      Metrics.journalRead.updateUnsafe(page.length, metered)
    } else if (tail.failure !== undefined) return tailFailed(self, tail.failure)
    switch (follower.afterPage(page, tail)) {
      case "deliver":
        return Effect.succeed(page as Arr.NonEmptyReadonlyArray<EncodedEnvelope>)
      case "lookAgain":
        return readJournal(self)
      case "openReader":
        return readAnew(self)
      case "takeTail":
        self.isLive = true
        return Effect.andThen(reader.close, readTail(self))
      case "fail":
        return forked(self, follower.forkedFrom(tail)!)
    }
  })
}

/** Reads a page. Where it has become larger than a page is, it ends before, if the rest of it can be read again. */
const readPage = <E>(
  { budget, logs: { amend } }: Following,
  read: (limit: number) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, E>,
  readAgain?: (rest: ReadonlyArray<EncodedEnvelope>) => void
): Effect.Effect<ReadonlyArray<EncodedEnvelope>, E | StorageError> =>
  budget.read(
    amend === undefined ?
      read :
      (limit) =>
        Effect.flatMap(read(limit), (page) =>
          Effect.map(amend(page, readAgain === undefined ? Infinity : Journal.maxPageBytes), (amended) => {
            readAgain?.(page.slice(amended.length))
            return amended
          })),
    pageSize
  )

/** Goes back to the journal, with another reader. */
const readAnew = (self: Following): Pull =>
  Effect.flatMap(
    Effect.andThen(self.reader.close, Effect.suspend(() => openReader(self.logs, self.follower.cursor.offsets()))),
    (reader) => {
      self.reader = reader
      self.isLive = false
      return readJournal(self)
    }
  )

const readTail = (self: Following): Pull =>
  Effect.suspend(() => {
    const { follower, latch, metered, replays, tail } = self
    if (tail.failure !== undefined) return tailFailed(self, tail.failure)
    latch.closeUnsafe()
    let taken: Taken
    const take = (limit: number) => Effect.sync(() => (taken = follower.take(tail, limit)).events)
    return Effect.flatMap(readPage(self, take), (events): Pull => {
      if (Arr.isReadonlyArrayNonEmpty(events)) {
        Metrics.journalLive.updateUnsafe(events.length, metered)
        return Effect.succeed(events)
      }
      if (taken.fork !== undefined) return unexpected(self, taken.fork)
      if (taken.isBehind) return readAnew(self)
      // who asks for a replay opens the latch, and may have done so before it was closed
      if (!replays.isIdle) return pull(self)
      const rest = self.rest()
      return Arr.isReadonlyArrayNonEmpty(rest) ? Effect.succeed(rest) : Effect.andThen(latch.await, pull(self))
    })
  })

/** Says whether the replay was taken: too many may wait. */
const askReplay = ({ latch, logs, replays }: Following, request: Replay): Effect.Effect<boolean> =>
  Effect.sync(() => {
    const { persistenceId } = request
    // what is read has nothing of it, though the journal may: it is not for whoever reads this
    if (PersistenceId.entityType(persistenceId) !== logs.entityType) return true
    if (!SliceRange.contains(logs.range, Slice.ofPersistenceId(persistenceId))) return true
    const isTaken = replays.ask(request)
    latch.openUnsafe()
    return isTaken
  })

/**
 * Reads what comes next of a replay. The logs wait for its end. It ends at the last event that was read of the log, as later ones come with
 * the log: an entity that is written to all the time must not keep all others waiting.
 */
const readReplay = (self: Following, request: Replay): Pull => {
  const { follower: { cursor }, logs: { journal }, replays } = self
  return Effect.flatMap(
    readPage(
      self,
      (limit) => journal.entity(request.persistenceId, request.from, lastNumber, limit),
      // it goes on after the last event of the page
      () => {}
    ),
    (page) => {
      const missed = page.filter(({ position, slice, timestamp }) => {
        const verdict = cursor.verdict(slice, position!, timestamp)
        return verdict !== "next" && verdict !== "gap"
      })
      replays.read(request, missed)
      self.replayed = new Set(missed)
      return Arr.isReadonlyArrayNonEmpty(missed) ? Effect.succeed(missed) : pull(self)
    }
  )
}

/**
 * The journal has another history than somebody has read. Fails with `JournalForked` if this follower has read events that are gone. Else
 * it fails with an error that passes: opened again, it reads the history that there is now.
 */
const otherHistory = ({ follower, logs }: Following, fork: Journal.JournalForked): Effect.Effect<never, TailError> =>
  Effect.andThen(
    // a reader does not open after events that are gone
    openReader(logs, follower.cursor.offsets()),
    Effect.fail(new StorageError({ operation: "follow the journal", reason: "Unavailable", cause: fork }))
  )

/** The log does not go on as this follower has read it. */
const forked = (self: Following, slice: Slice.Slice): Effect.Effect<never, TailError> => {
  const { follower: { cursor }, logs: { entityType } } = self
  return otherHistory(self, new Journal.JournalForked({ entityType, slice, offset: cursor.offset(slice) }))
}

const tailFailed = (self: Following, cause: Cause.Cause<TailError>): Effect.Effect<never, TailError> => {
  const { follower: { cursor } } = self
  const error = cause.reasons.find(Cause.isFailReason)?.error
  if (!(error instanceof Journal.JournalForked)) return Effect.failCause(cause)
  const { offset: { position, timestamp }, slice } = error
  const hasRead = SliceRange.contains(cursor.range, slice) &&
    cursor.verdict(slice, position, timestamp) === "alreadyDelivered"
  return hasRead ? Effect.fail(error) : otherHistory(self, error)
}

/** Fails at an event that does not follow the last one that was read of its log. */
const unexpected = (
  self: Following,
  { position, slice, timestamp }: EncodedEnvelope
): Effect.Effect<never, TailError> => {
  const { follower: { cursor } } = self
  if (cursor.verdict(slice, position!, timestamp) === "fork") return forked(self, slice)
  const cause = new Error(`position ${position} of slice ${slice} follows ${cursor.offset(slice).position}`)
  return Effect.fail(new StorageError({ operation: "follow the journal", reason: "Damaged", cause }))
}

/** The parts of logs between the offsets to begin after and those that were raised to the floors: their events were deleted. */
const leftOut = (start: Offset.Offsets, raised: Offset.Offsets): ReadonlyArray<Skipped> =>
  Array.from(raised).flatMap(([slice, { position, timestamp }]): ReadonlyArray<Skipped> => {
    const before = start.get(slice)?.position ?? 0
    const from = Position.make(before + 1)
    return position > before ? [skipped(slice, from, position, timestamp)] : []
  })
