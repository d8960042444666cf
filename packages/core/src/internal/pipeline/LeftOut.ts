import type { NonEmptyReadonlyArray } from "effect/Array"
import { type EncodedElement, isSkipped, type Skipped, skipped } from "../../Envelope.ts"
import type { Position } from "../../Position.ts"
import type { Selection } from "../../Selection.ts"
import type { Slice } from "../../Slice.ts"
import type { Timestamp } from "../../Timestamp.ts"

const nothing: ReadonlyArray<never> = []

/** A run of events of one log that are left out. */
interface Run {
  readonly from: Position
  position: Position
  timestamp: Timestamp
}

/**
 * @internal
 * What a selection leaves out. In the place of each run of events in one log comes a part that is left out for now, so that whoever reads on
 * knows that nothing is missing. A run goes on over many arrays, until something else of its log comes. An event that is replayed, or that has no
 * position, leaves no trace.
 */
export class LeftOut {
  readonly #selection: Selection
  readonly #isReplayed: ((element: EncodedElement) => boolean) | undefined
  readonly #holdFor: number
  readonly #runs = new Map<Slice, Run>()
  /** When the oldest run began, in milliseconds. */
  #since = 0

  /** A run may be held back for so many milliseconds. With 0 each array has the runs of its own. */
  constructor(
    selection: Selection,
    isReplayed: ((element: EncodedElement) => boolean) | undefined,
    holdFor: number
  ) {
    this.#selection = selection
    this.#isReplayed = isReplayed
    this.#holdFor = holdFor
  }

  /** The elements to show when an array comes, at a time in milliseconds. */
  take(chunk: NonEmptyReadonlyArray<EncodedElement>, now: number): ReadonlyArray<EncodedElement> {
    if (this.#selection.isOpen) return this.#runs.size === 0 ? chunk : [...this.rest(), ...chunk]
    if (this.#runs.size === 0) this.#since = now
    const elements: Array<EncodedElement> = []
    for (const element of chunk) {
      const { position, slice } = element
      const isAgain = this.#isReplayed !== undefined && this.#isReplayed(element)
      if (isSkipped(element) || this.#selection.isSelected(element, isAgain)) {
        const run = this.#runs.get(slice)
        if (run !== undefined) {
          elements.push(partOf(slice, run))
          this.#runs.delete(slice)
        }
        elements.push(element)
      } else if (position !== undefined && !isAgain) {
        const run = this.#runs.get(slice)
        if (run === undefined) {
          this.#runs.set(slice, { from: position, position, timestamp: element.timestamp })
        } else {
          run.position = position
          run.timestamp = element.timestamp
        }
      }
    }
    if (now - this.#since >= this.#holdFor) elements.push(...this.rest())
    return elements
  }

  /** What was held back, of each log in one part. */
  rest(): ReadonlyArray<Skipped> {
    if (this.#runs.size === 0) return nothing
    const parts = Array.from(this.#runs, ([slice, run]) => partOf(slice, run))
    this.#runs.clear()
    return parts
  }
}

const partOf = (slice: Slice, { from, position, timestamp }: Run): Skipped =>
  skipped(slice, from, position, timestamp, true)
