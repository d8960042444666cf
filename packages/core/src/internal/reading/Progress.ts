import type { EncodedEnvelope } from "../../Envelope.ts"
import * as Offset from "../../Offset.ts"
import type { Slice } from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"

const unknown = -1

/** @internal How far a reader is in each log of its range. */
export class Progress {
  readonly #range: SliceRange.SliceRange
  /** The last position of each log, which is unknown as long as only the time is known at which reading begins. */
  readonly #positions: Float64Array
  /** The timestamp of the last position, or the time at which reading begins. */
  readonly #timestamps: Float64Array

  constructor(range: SliceRange.SliceRange, start: Offset.Offsets) {
    this.#range = range
    this.#positions = new Float64Array(range.max - range.min + 1)
    this.#timestamps = new Float64Array(range.max - range.min + 1)
    for (const [slice, { position, timestamp }] of start) {
      if (!SliceRange.contains(range, slice)) continue
      this.#positions[slice - range.min] = position === 0 && timestamp > 0 ? unknown : position
      this.#timestamps[slice - range.min] = timestamp
    }
  }

  /** Whether everything in the log, up to and with the place, was read, or is older than what is asked for. */
  covers({ position, slice, timestamp }: { slice: Slice; position: number; timestamp: number }): boolean {
    const last = this.#positions[slice - this.#range.min]!
    return last === unknown ? timestamp < this.#timestamps[slice - this.#range.min]! : position <= last
  }

  /** Whether the event, which is not covered, comes next in its log. */
  isNext({ position, slice }: EncodedEnvelope): boolean {
    const last = this.#positions[slice - this.#range.min]!
    return last === unknown || position === last + 1
  }

  pass({ position, slice, timestamp }: EncodedEnvelope): void {
    this.#positions[slice - this.#range.min] = position!
    this.#timestamps[slice - this.#range.min] = timestamp
  }

  offsets(): Offset.Offsets {
    const offsets = new Map<Slice, Offset.Offset>()
    for (const slice of SliceRange.slices(this.#range)) {
      const position = this.#positions[slice - this.#range.min]!
      const timestamp = this.#timestamps[slice - this.#range.min]!
      if (timestamp > 0) offsets.set(slice, Offset.make(Math.max(position, 0), timestamp))
    }
    return offsets
  }
}
