import type { Place, Skipped } from "../../Envelope.ts"
import type { Offset, Offsets } from "../../Offset.ts"
import type { Move } from "../../OffsetStore.ts"
import type { Slice } from "../../Slice.ts"

/**
 * @internal
 * How far a worker has come, and how far the store knows. Pure: `advance`, then store `moves`, then `stored` or `revert`.
 */
export class OffsetTracker {
  readonly #stored: Map<Slice, Offset>
  #ahead = new Map<Slice, Offset>()

  constructor(stored: Offsets) {
    this.#stored = new Map(stored)
  }

  /** The offsets as the store has them, now and later. */
  get offsets(): Offsets {
    return this.#stored
  }

  /** Whether anything has to be stored. */
  get isAhead(): boolean {
    return this.#ahead.size > 0
  }

  /** Goes past the elements, which are in the order of their positions, slice by slice. */
  advance(elements: ReadonlyArray<Place | Skipped>): void {
    for (const { position, slice, timestamp } of elements) {
      if (position !== undefined && timestamp !== undefined) this.#ahead.set(slice, { position, timestamp })
    }
  }

  /** What the store has to change, in the order of the slices, in which every worker locks them. */
  get moves(): ReadonlyArray<Move> {
    const moves = Array.from(this.#ahead, ([slice, to]): Move => ({ slice, from: this.#stored.get(slice), to }))
    return moves.length === 1 ? moves : moves.toSorted((a, b) => a.slice - b.slice)
  }

  /** The store has made the moves. */
  stored(): void {
    for (const [slice, offset] of this.#ahead) this.#stored.set(slice, offset)
    this.#ahead.clear()
  }

  /** The store has not made the moves. */
  revert(): void {
    this.#ahead.clear()
  }
}
