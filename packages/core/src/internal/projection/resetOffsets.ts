import * as Effect from "effect/Effect"
import type { HandlerTooSlow } from "../../Handler.ts"
import { JournalForked, JournalReplaced, OffsetBelowFloor } from "../../JournalError.ts"
import { isIn } from "../../LogsIdentity.ts"
import * as Offset from "../../Offset.ts"
import type { Fenced, Move, OffsetKey, OffsetsDeleted, OffsetStore } from "../../OffsetStore.ts"
import type { ProjectionManagement } from "../../ProjectionManagement.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { StorageError } from "../../StorageError.ts"

/** @internal What makes offsets useless. */
export type JournalChange = JournalReplaced | JournalForked | OffsetBelowFloor

/** @internal */
export const isJournalChange = (error: unknown): error is JournalChange =>
  error instanceof JournalReplaced || error instanceof JournalForked || error instanceof OffsetBelowFloor

/**
 * @internal
 * Moves useless offsets back to the beginning: those of another journal, or of the log that has lost events. Each is
 * moved by compare-and-set from where it is stored, so a move of another worker is not undone. Dead letters there come
 * again, too. If events were deleted there is nothing to move: the source goes on after them. Says whether the worker may begin from where
 * its offsets are now.
 */
export const resetOffsets = (
  store: OffsetStore["Service"],
  management: ProjectionManagement["Service"],
  key: OffsetKey,
  range: SliceRange.SliceRange,
  change: JournalChange
): Effect.Effect<boolean, Fenced | HandlerTooSlow | OffsetsDeleted | StorageError> =>
  Effect.gen(function*() {
    if (change._tag === "OffsetBelowFloor") return true
    const { completeUpTo, journal, offsets, revision } = yield* store.load(key, range)
    if (revision === undefined) return true
    const move = (journal: string, moves: ReadonlyArray<Move>) =>
      Effect.as(store.transact(key, { journal, revision }, moves, management.discardAhead(key)), true)
    if (change._tag === "JournalForked") {
      const { position, timestamp } = change.offset
      const from = offsets.get(change.slice)
      if (from?.position !== position || from.timestamp !== timestamp) return false
      return yield* move(journal ?? "", [{ slice: change.slice, from, to: Offset.beginning }])
    }
    const isNow = (journal: string | undefined) => journal !== undefined && isIn(change.actual, journal)
    if (isNow(journal)) return true
    const moves: Array<Move> = []
    // a slice at its beginning may have entities, of which a replay has shown events
    for (const slice of new Set([...offsets.keys(), ...completeUpTo.keys()])) {
      // one by one, as some may have begun again already
      const stored = yield* store.load(key, SliceRange.make(slice, slice))
      if (!isNow(stored.journal)) moves.push({ slice, from: offsets.get(slice), to: Offset.beginning })
    }
    // in the order in which every worker locks them
    moves.sort((a, b) => a.slice - b.slice)
    return moves.length === 0 || (yield* move(change.actual, moves))
  })
