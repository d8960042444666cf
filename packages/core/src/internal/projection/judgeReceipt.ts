import { isIn } from "../../LogsIdentity.ts"
import type { Progress, SliceProgress } from "../../ProjectionManagement.ts"
import type { Receipt } from "../../Receipt.ts"
import { isHandled, isJumped, type StoredNumber } from "../../Rewind.ts"

/**
 * @internal
 * How a projection stands to the events of a receipt:
 *
 * - `handled`: its handler is done with them, or stages have dropped them.
 * - `leftOut`: it is past them, and a filter has left them out.
 * - `behind`: it has not come so far.
 * - `otherJournal`: it reads another journal.
 * - `forked`: it reads the journal with another history.
 */
export type Standing = "handled" | "leftOut" | "behind" | "otherJournal" | "forked"

/** @internal Whether the last sequence number that is stored of the entity is needed to judge. */
export const asksForEntity = ({ position }: Receipt, progress: SliceProgress | undefined): boolean =>
  progress?.completeUpTo !== undefined && position > progress.completeUpTo

const isBegun = ({ completeUpTo, offset }: SliceProgress): boolean => offset.position > 0 || completeUpTo !== undefined

/** @internal The journal that a projection has read in the slice of a receipt; in its other slices, if that one is not begun. */
export const journalRead = ({ slice }: Receipt, { journal, slices }: Pick<Progress, "journal" | "slices">) => {
  const own = slices.get(slice)
  return own !== undefined && isBegun(own) ? own.journal : journal
}

/** @internal `last` is the last sequence number that is stored of the entity, if there is one. */
export const judgeReceipt = (
  receipt: Receipt,
  progress: Pick<Progress, "journal" | "slices">,
  last?: StoredNumber
): Standing => {
  const journal = journalRead(receipt, progress)
  if (journal !== undefined && !isIn(journal, receipt.journal)) return "otherJournal"
  const slice = progress.slices.get(receipt.slice)
  if (slice === undefined) return "behind"
  if (isFork(receipt, slice)) return "forked"
  const isPast = slice.offset.position >= receipt.position
  if (!asksForEntity(receipt, slice)) return isPast ? "handled" : "behind"
  if (isHandled(slice.rewinds, last, receipt)) return "handled"
  if (!isPast) return "behind"
  return isJumped(slice.rewinds, receipt.timestamp) ? "handled" : "leftOut"
}

/** Timestamps rise with the positions of a log. At position 0 there may be a time to begin at. */
const isFork = ({ position, timestamp }: Receipt, { offset }: SliceProgress): boolean =>
  offset.position > 0 &&
  Math.sign(offset.position - position) !== Math.sign(offset.timestamp - timestamp)
