import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type EncodedEnvelope, type Skipped, skipped } from "../../Envelope.ts"
import { type Feed, Health, type Replay, type Start } from "../../Feed.ts"
import * as Floor from "../../Floor.ts"
import * as Journal from "../../Journal.ts"
import * as Metrics from "../../Metrics.ts"
import * as Offset from "../../Offset.ts"
import * as Position from "../../Position.ts"
import { ReadBudget } from "../../ReadBudget.ts"
import * as SequenceNumber from "../../SequenceNumber.ts"
import * as Slice from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import { StorageError } from "../../StorageError.ts"
import { meterOf } from "../meterOf.ts"
import { Follower, type Taken } from "./Follower.ts"
import { JournalTails, type TailError } from "./JournalTails.ts"
import { pastHeads } from "./pastHeads.ts"
import { Replays } from "./Replays.ts"

/** Enough for the cost of a page to vanish, and few enough for the event loop to stay responsive. */
const pageSize = 500

const lastNumber = SequenceNumber.make(Number.MAX_SAFE_INTEGER - 1)

type Pull = Effect.Effect<Arr.NonEmptyReadonlyArray<EncodedEnvelope>, TailError>

const pages = meterOf(Metrics.journalPages)
const read = meterOf(Metrics.journalRead)
const live = meterOf(Metrics.journalLive)

/**
 * @internal
 * Reads a journal to its end, and from then on takes what comes from the tail that all share. Whoever falls behind the tail reads the
 * journal again: positions tell what comes next, wherever it comes from.
 */
export const follow = (
  entityType: string,
  range: SliceRange.SliceRange,
  start: Start
): Effect.Effect<Feed<TailError>, TailError | Journal.JournalReplaced, Journal.Journal | Scope.Scope> =>
  Effect.gen(function*() {
    const journal = yield* Journal.Journal
    if (start.journal !== undefined && start.journal !== journal.identity) {
      return yield* new Journal.JournalReplaced({ expected: start.journal, actual: journal.identity })
    }
    const floors = start.pastDeleted === true ? yield* journal.floors(entityType, range) : Offset.none
    const raised = Floor.raise(start.offsets, floors)
    const byTime = start.byTime ?? false
    const offsets = byTime ? pastHeads(raised, yield* journal.heads(entityType, range)) : raised
    const scope = yield* Effect.scope
    const budget = yield* ReadBudget
    const context = yield* Effect.context()

    const openReader = (offsets: Offset.Offsets) =>
      Effect.flatMap(Scope.fork(scope), (own) =>
        Effect.map(
          Scope.provide(journal.reader(entityType, range, offsets, { byTime }), own),
          ({ next }) => ({ next, close: Scope.close(own, Exit.void) })
        ))
    let reader = yield* openReader(offsets)
    const follower = new Follower(range, offsets)
    const { cursor } = follower

    const tail = yield* (yield* JournalTails).get(journal, entityType)
    const health = yield* Health
    const { latch } = yield* Effect.acquireRelease(
      Effect.sync(() => tail.subscribe(range, health)),
      (subscriber) => Effect.sync(() => tail.unsubscribe(subscriber))
    )

    /**
     * Somebody has seen another history than is there now. Fails with `JournalForked` if this follower has read of the one that is gone. If
     * not, it begins anew, in the history that there is now.
     */
    const forked = (fork: Journal.JournalForked): Effect.Effect<never, TailError> =>
      Effect.andThen(
        openReader(cursor.offsets()),
        Effect.fail(new StorageError({ operation: "follow the journal", reason: "Unavailable", cause: fork }))
      )
    const tailFailed = (cause: Cause.Cause<TailError>): Effect.Effect<never, TailError> => {
      const error = cause.reasons.find(Cause.isFailReason)?.error
      if (!(error instanceof Journal.JournalForked)) return Effect.failCause(cause)
      const { offset: { position, timestamp }, slice } = error
      const hasRead = SliceRange.contains(range, slice) &&
        cursor.verdict(slice, position, timestamp) === "alreadyDelivered"
      return hasRead ? Effect.fail(error) : forked(error)
    }
    /** What to fail with at an event that does not follow what was read. */
    const unexpected = ({ position, slice, timestamp }: EncodedEnvelope): Effect.Effect<never, TailError> => {
      const offset = cursor.offset(slice)
      if (cursor.verdict(slice, position!, timestamp) === "fork") {
        return forked(new Journal.JournalForked({ entityType, slice, offset }))
      }
      const cause = new Error(`position ${position} of slice ${slice} follows ${offset.position}`)
      return Effect.fail(new StorageError({ operation: "follow the journal", reason: "Damaged", cause }))
    }

    const readJournal: Pull = Effect.suspend(() =>
      Effect.flatMap(budget.read((limit) => reader.next(limit), pageSize), (page): Pull => {
        const wrong = cursor.takeAll(page)
        if (wrong !== undefined) return unexpected(wrong)
        if (Arr.isReadonlyArrayNonEmpty(page)) {
          pages(entityType, 1, context)
          read(entityType, page.length, context)
        } else if (tail.failure !== undefined) return tailFailed(tail.failure)
        switch (follower.afterPage(page, tail)) {
          case "deliver":
            return Effect.succeed(page as Arr.NonEmptyReadonlyArray<EncodedEnvelope>)
          case "lookAgain":
            return readJournal
          case "openReader":
            return readAnew
          case "takeTail":
            return Effect.andThen(reader.close, readTail)
          case "fail": {
            const slice = follower.forkedFrom(tail)!
            return forked(new Journal.JournalForked({ entityType, slice, offset: cursor.offset(slice) }))
          }
        }
      })
    )

    const readAnew: Pull = Effect.suspend(() =>
      Effect.flatMap(Effect.andThen(reader.close, openReader(cursor.offsets())), (opened) => {
        reader = opened
        return pull = readJournal
      })
    )

    const readTail: Pull = Effect.suspend(() => {
      pull = readTail
      if (tail.failure !== undefined) return tailFailed(tail.failure)
      latch.closeUnsafe()
      let taken: Taken
      const take = (limit: number) => Effect.sync(() => (taken = follower.take(tail, limit)).events)
      return Effect.flatMap(budget.read(take, pageSize), (events): Pull => {
        if (Arr.isReadonlyArrayNonEmpty(events)) {
          live(entityType, events.length, context)
          return Effect.succeed(events)
        }
        if (taken.fork !== undefined) return unexpected(taken.fork)
        if (taken.isBehind) return readAnew
        // who asks for a replay opens the latch, and may have done so before it was closed
        return replays.isIdle ? Effect.andThen(latch.await, next) : next
      })
    })

    const replays = new Replays()
    const replay = (request: Replay) =>
      Effect.sync(() => {
        if (!SliceRange.contains(range, Slice.ofPersistenceId(request.persistenceId))) return true
        const isTaken = replays.ask(request)
        latch.openUnsafe()
        return isTaken
      })
    /**
     * Nothing is read of the logs while a replay goes on. It ends where they were read to, as what comes after that comes with them; or an
     * entity that is written to all the time would keep all others waiting.
     */
    const readReplay = (request: Replay): Pull =>
      Effect.flatMap(
        budget.read((limit) => journal.entity(request.persistenceId, request.from, lastNumber, limit), pageSize),
        (page) => {
          const missed = page.filter(({ position, slice, timestamp }) => {
            const verdict = cursor.verdict(slice, position!, timestamp)
            return verdict !== "next" && verdict !== "gap"
          })
          replays.read(request, missed)
          return Arr.isReadonlyArrayNonEmpty(missed) ? Effect.succeed(missed) : next
        }
      )

    let pull: Pull = readJournal
    const next: Pull = Effect.suspend(() => {
      const request = replays.next
      return request === undefined ? pull : readReplay(request)
    })
    const envelopes = Stream.fromPull(Effect.succeed(next))
    const deleted = leftOut(start.offsets, raised)
    return {
      journal: journal.identity,
      replay,
      envelopes: deleted.length === 0 ? envelopes : Stream.concat(Stream.fromArray(deleted), envelopes)
    }
  })

/** What lies between where it was to begin and where it begins. */
const leftOut = (start: Offset.Offsets, raised: Offset.Offsets): ReadonlyArray<Skipped> =>
  Array.from(raised).flatMap(([slice, { position, timestamp }]): ReadonlyArray<Skipped> => {
    const before = start.get(slice)?.position ?? 0
    const from = Position.make(before + 1)
    return position > before ? [skipped(slice, from, position, timestamp)] : []
  })
