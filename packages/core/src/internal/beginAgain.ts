import * as Effect from "effect/Effect"
import { JournalForked, JournalReplaced, OffsetBelowFloor } from "../Journal.ts"
import * as Offset from "../Offset.ts"
import type { Fenced, Move, OffsetKey, OffsetStore } from "../OffsetStore.ts"
import * as SliceRange from "../SliceRange.ts"
import type { StorageError } from "../StorageError.ts"

/** @internal What makes offsets useless. */
export type Change = JournalReplaced | JournalForked | OffsetBelowFloor

/** @internal */
export const isChange = (error: unknown): error is Change =>
  error instanceof JournalReplaced || error instanceof JournalForked || error instanceof OffsetBelowFloor

const beginning = Offset.make(0, 0)

/**
 * @internal
 * Moves the offsets that are of no use any more back to the beginning: those of another journal, or of the log that has lost events. Each
 * is moved from where it is stored, so that whoever has moved it meanwhile is left alone. Where events were deleted there is
 * nothing to move: the source goes on with what is left.
 */
export const beginAgain = (
  store: OffsetStore["Service"],
  key: OffsetKey,
  range: SliceRange.SliceRange,
  change: Change
): Effect.Effect<void, Fenced | StorageError> =>
  Effect.gen(function*() {
    if (change._tag === "OffsetBelowFloor") return
    const moves: Array<Move> = []
    const { journal, offsets } = yield* store.load(key, range)
    if (change._tag === "JournalForked") {
      const { position, timestamp } = change.offset
      const from = offsets.get(change.slice)
      if (from?.position !== position || from.timestamp !== timestamp) return
      yield* store.transact(key, journal ?? "", [{ slice: change.slice, from, to: beginning }], Effect.void)
      return
    }
    if (journal === change.actual) return
    for (const [slice, from] of offsets) {
      // one by one, as some may have begun again already
      const stored = yield* store.load(key, SliceRange.make(slice, slice))
      if (stored.journal !== change.actual) moves.push({ slice, from, to: beginning })
    }
    // in the order in which every worker locks them
    moves.sort((a, b) => a.slice - b.slice)
    if (moves.length > 0) yield* store.transact(key, change.actual, moves, Effect.void)
  })
