import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { EncodedEnvelope, Skipped } from "../../Envelope.ts"
import type { Feed, Start } from "../../Feed.ts"
import * as Floor from "../../Floor.ts"
import * as Journal from "../../Journal.ts"
import * as Metrics from "../../Metrics.ts"
import * as Offset from "../../Offset.ts"
import * as Position from "../../Position.ts"
import { ReadBudget } from "../../ReadBudget.ts"
import * as SliceRange from "../../SliceRange.ts"
import { StorageError } from "../../StorageError.ts"
import { meterOf } from "../meterOf.ts"
import { pastHeads } from "./pastHeads.ts"
import { Progress } from "./Progress.ts"
import { type TailError, tailOf } from "./tails.ts"

/** Enough for the cost of a page to vanish, and few enough for the event loop to stay responsive. */
const pageSize = 500

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
    const progress = new Progress(range, offsets)

    const tail = yield* tailOf(journal, entityType)
    const { latch } = yield* Effect.acquireRelease(
      Effect.sync(() => tail.subscribe(range)),
      (subscriber) => Effect.sync(() => tail.unsubscribe(subscriber))
    )
    /** The number of the next event to be taken from the tail. */
    let cursor = 0

    const isAtTail = (): boolean => {
      for (const slice of SliceRange.slices(range)) {
        if (!progress.covers({ slice, position: tail.position(slice), timestamp: tail.timestamp(slice) })) return false
      }
      return true
    }

    /** A fork of what one has not read yet is none: one begins anew, in the history that there is now. */
    const failed = (cause: Cause.Cause<TailError>): Effect.Effect<never, TailError> => {
      const fork = cause.reasons.find(Cause.isFailReason)?.error
      if (!(fork instanceof Journal.JournalForked)) return Effect.failCause(cause)
      const { offset, slice } = fork
      return SliceRange.contains(range, slice) &&
          progress.covers({ slice, position: offset.position, timestamp: offset.timestamp })
        ? Effect.fail(fork)
        // which fails where other events are gone that one has read
        : Effect.andThen(
          openReader(progress.offsets()),
          Effect.fail(new StorageError({ operation: "follow the journal", reason: "Unavailable", cause: fork }))
        )
    }

    /** A reader that has found nothing looks once more, and then another does, as it need not find what the tail has found. */
    const readJournal = (looks: number): Pull =>
      Effect.flatMap(budget.read(reader.next(pageSize)), (page): Pull => {
        for (const event of page) progress.pass(event)
        if (page.length > 0) {
          pages(entityType, 1, context)
          read(entityType, page.length, context)
        }
        if (Arr.isReadonlyArrayNonEmpty(page)) return Effect.succeed(page)
        if (tail.failure !== undefined) return failed(tail.failure)
        if (!isAtTail()) return looks === 1 ? readJournal(2) : readAgain
        // whatever is not read yet will come from there
        cursor = tail.end
        return Effect.andThen(reader.close, readTail)
      })

    const readAgain: Pull = Effect.suspend(() =>
      Effect.flatMap(Effect.andThen(reader.close, openReader(progress.offsets())), (opened) => {
        reader = opened
        pull = readJournal(1)
        return pull
      })
    )

    let isBehind = false
    const takeTail: Effect.Effect<ReadonlyArray<EncodedEnvelope>> = Effect.sync(() => {
      const events: Array<EncodedEnvelope> = []
      let bytes = 0
      isBehind = cursor < tail.start
      while (!isBehind && cursor < tail.end && events.length < pageSize && bytes < Journal.maxPageBytes) {
        const event = tail.at(cursor)
        if (
          SliceRange.contains(range, event.slice) && !progress.covers(event as EncodedEnvelope & { position: number })
        ) {
          isBehind = !progress.isNext(event)
          if (isBehind) break
          progress.pass(event)
          events.push(event)
          bytes += tail.size(cursor)
        }
        cursor++
      }
      return events
    })

    const readTail: Pull = Effect.suspend(() => {
      pull = readTail
      if (tail.failure !== undefined) return failed(tail.failure)
      latch.closeUnsafe()
      return Effect.flatMap(budget.read(takeTail), (events): Pull => {
        if (Arr.isReadonlyArrayNonEmpty(events)) {
          live(entityType, events.length, context)
          return Effect.succeed(events)
        }
        return isBehind ? readAgain : Effect.andThen(latch.await, readTail)
      })
    })

    let pull: Pull = readJournal(1)
    const envelopes = Stream.fromPull(Effect.succeed(Effect.suspend(() => pull)))
    const deleted = leftOut(start.offsets, raised)
    return {
      journal: journal.identity,
      envelopes: deleted.length === 0 ? envelopes : Stream.concat(Stream.fromArray(deleted), envelopes)
    }
  })

/** What lies between where it was to begin and where it begins. */
const leftOut = (start: Offset.Offsets, raised: Offset.Offsets): ReadonlyArray<Skipped> =>
  Array.from(raised).flatMap(([slice, { position, timestamp }]): ReadonlyArray<Skipped> => {
    const before = start.get(slice)?.position ?? 0
    const from = Position.make(before + 1)
    return position > before ? [{ _tag: "Skipped", slice, from, position, timestamp }] : []
  })
