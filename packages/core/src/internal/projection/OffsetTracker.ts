import type { Place, Skipped } from "../../Envelope.ts"
import { beginning, type Offset, type Offsets } from "../../Offset.ts"
import type { Move } from "../../OffsetStore.ts"
import type { Position } from "../../Position.ts"
import type { Reading } from "../../ReadingState.ts"
import type { Slice } from "../../Slice.ts"
import type { Timestamp } from "../../Timestamp.ts"
import { hasReached, timeOf } from "./inTime.ts"

/**
 * @internal
 * The offsets of a worker: as they are stored, and as they are after what it has handled since. Pure: `advance` past
 * elements, store the `moves`, and then say `stored` or `revert`.
 */
export class OffsetTracker {
  readonly #stored: Map<Slice, Offset>
  readonly #reading: Reading
  #ahead = new Map<Slice, Offset>()
  /**
   * The heads of the slices in which it has not caught up yet. Undefined while they are unknown, and once it has caught
   * up in all.
   */
  #heads: Map<Slice, Position> | undefined
  /** In their place, the newest time of a source without positions. */
  #time: Timestamp | undefined

  constructor(stored: Offsets, reading: Reading) {
    this.#stored = new Map(stored)
    this.#reading = reading
  }

  /** The offsets as the store has them, now and later. */
  get offsets(): Offsets {
    return this.#stored
  }

  /** Whether anything has to be stored. */
  get isAhead(): boolean {
    return this.#ahead.size > 0
  }

  /** Advances past elements that were handled. Those of a slice are in the order of their positions. */
  advance(elements: ReadonlyArray<Place | Skipped>): void {
    for (const { position, slice, timestamp } of this.#reading.advance(elements)) {
      if (position !== undefined && timestamp !== undefined) this.#ahead.set(slice, { position, timestamp })
    }
    // the sequence numbers of entities are stored with the offset of their slice, even if that does not move
    for (const slice of this.#reading.ahead) {
      if (!this.#ahead.has(slice)) this.#ahead.set(slice, this.#stored.get(slice) ?? beginning)
    }
  }

  /** What the store has to change, in the order of the slices, in which every worker locks them. */
  get moves(): ReadonlyArray<Move> {
    const moves = Array.from(this.#ahead, ([slice, to]): Move => {
      const from = this.#stored.get(slice)
      const entities = this.#reading.entities(slice)
      return entities === undefined ? { slice, from, to } : { slice, from, to, entities }
    })
    return inOrder(moves)
  }

  /** What is going to be moved once the elements are handled after what it is ahead of; undefined where that depends on more than their places. */
  movesAfter(elements: ReadonlyArray<Place | Skipped>): ReadonlyArray<Move> | undefined {
    if (!this.#reading.isExact) return undefined
    const to = new Map<Slice, Offset>()
    for (const { position, slice, timestamp } of elements) {
      if (position !== undefined && timestamp !== undefined) to.set(slice, { position, timestamp })
    }
    return inOrder(
      Array.from(to, ([slice, to]): Move => ({ slice, from: this.#ahead.get(slice) ?? this.#stored.get(slice), to }))
    )
  }

  /** Sets the heads to come to. Says whether it has come to them already. If not, `stored` says so once it has. */
  follow(heads: Offsets): boolean {
    const time = timeOf(heads)
    if (time !== undefined) {
      this.#time = time
      return this.#comeToTime()
    }
    const ahead = new Map<Slice, Position>()
    for (const [slice, { position }] of heads) {
      if (position > (this.#stored.get(slice)?.position ?? 0)) ahead.set(slice, position)
    }
    this.#heads = ahead.size === 0 ? undefined : ahead
    return ahead.size === 0
  }

  /** The store has made the moves. Says whether it has come to the heads now. */
  stored(): boolean {
    for (const [slice, offset] of this.#ahead) {
      this.#stored.set(slice, offset)
      this.#reading.stored(slice, offset.position)
    }
    const hasCaughtUp = this.#time === undefined
      ? this.#heads !== undefined && this.#comeTo(this.#heads)
      : this.#comeToTime()
    this.#ahead.clear()
    return hasCaughtUp
  }

  /** Whether it has come to the newest time now, as nothing waits any more. */
  get hasComeToTime(): boolean {
    return this.#time !== undefined && this.#comeToTime()
  }

  #comeToTime(): boolean {
    if (!hasReached(this.#stored, this.#time!, this.#reading.waitsFrom)) return false
    this.#time = undefined
    return true
  }

  #comeTo(heads: Map<Slice, Position>): boolean {
    for (const [slice, { position }] of this.#ahead) {
      if (position >= (heads.get(slice) ?? Infinity)) heads.delete(slice)
    }
    if (heads.size > 0) return false
    this.#heads = undefined
    return true
  }

  /** The store has not made the moves. */
  revert(): void {
    this.#ahead.clear()
    this.#reading.revert()
  }
}

const inOrder = (moves: ReadonlyArray<Move>): ReadonlyArray<Move> =>
  moves.length === 1 ? moves : moves.toSorted((a, b) => a.slice - b.slice)
