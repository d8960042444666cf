import type { NonEmptyReadonlyArray } from "effect/Array"
import { type EncodedElement, isSkipped, type Skipped, skipped } from "../../Envelope.ts"
import type { Position } from "../../Position.ts"
import type { Selection } from "../../Selection.ts"
import type { Slice } from "../../Slice.ts"
import type { Timestamp } from "../../Timestamp.ts"

/** A run of events of one log that are left out. */
interface Run {
  readonly from: Position
  position: Position
  timestamp: Timestamp
}

/**
 * @internal
 * The elements without the events that are not selected. In their place stands, for each run of them in one log, a part that is left out for now,
 * so that whoever reads on knows that nothing is missing. An event that is replayed, or that has no position, leaves no trace.
 */
export const leaveOut = (
  chunk: NonEmptyReadonlyArray<EncodedElement>,
  selection: Selection,
  isReplayed: ((element: EncodedElement) => boolean) | undefined
): ReadonlyArray<EncodedElement> => {
  const elements: Array<EncodedElement> = []
  const runs = new Map<Slice, Run>()
  for (const element of chunk) {
    const { position, slice } = element
    const isAgain = isReplayed !== undefined && isReplayed(element)
    if (isSkipped(element) || selection.isSelected(element, isAgain)) {
      const run = runs.get(slice)
      if (run !== undefined) {
        elements.push(partOf(slice, run))
        runs.delete(slice)
      }
      elements.push(element)
    } else if (position !== undefined && !isAgain) {
      const run = runs.get(slice)
      if (run === undefined) {
        runs.set(slice, { from: position, position, timestamp: element.timestamp })
      } else {
        run.position = position
        run.timestamp = element.timestamp
      }
    }
  }
  for (const [slice, run] of runs) elements.push(partOf(slice, run))
  return elements
}

const partOf = (slice: Slice, { from, position, timestamp }: Run): Skipped =>
  skipped(slice, from, position, timestamp, true)
