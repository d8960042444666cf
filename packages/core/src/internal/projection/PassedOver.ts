import { type Passed, pastLag } from "../../ConsumerFilter.ts"
import type { Element } from "../../Envelope.ts"
import type { Offset, Offsets } from "../../Offset.ts"
import type { StoredOffsets } from "../../OffsetStore.ts"
import type { Slice } from "../../Slice.ts"

/** How far a slice was looked through. */
interface Looked {
  /** After which event to go on. */
  offset: Offset
  /** Which may be further, as not every part that is left out says its timestamp. */
  position: number
  readonly upTo: number
}

/**
 * @internal
 * What a worker looks through once more, as its filter includes more of it now. Pure: `take` what the source shows from
 * `start` on, and store `progress` once that was handled.
 */
export class PassedOver {
  readonly #slices = new Map<Slice, Looked>()
  /** The slices whose progress was not asked for since they moved on. */
  readonly #moved = new Set<Slice>()
  #remaining = 0

  constructor(
    passed: ReadonlyMap<Slice, Passed>,
    { completeUpTo, offsets }: Pick<StoredOffsets, "completeUpTo" | "offsets">
  ) {
    for (const [slice, part] of passed) {
      const { from } = part
      const left = pastLag(part, { offset: offsets.get(slice), completeUpTo: completeUpTo.get(slice) })
      if (left === 0) continue
      this.#slices.set(slice, { offset: from, position: from.position, upTo: from.position + left })
      this.#remaining += left
    }
  }

  /** How many events it has yet to look through. */
  get remaining(): number {
    return this.#remaining
  }

  /** Up to which position a slice is looked through, or was; 0 if it is not. */
  upTo(slice: Slice): number {
    return this.#slices.get(slice)?.upTo ?? 0
  }

  /** Where to open the source, if other slices are opened where they are stored. */
  start(stored: Offsets): Offsets {
    const start = new Map(stored)
    for (const [slice, { offset }] of this.#slices) {
      if (offset.position === 0 && offset.timestamp === 0) start.delete(slice)
      else start.set(slice, offset)
    }
    return start
  }

  /** Of what the source shows, the events that were passed over, in the order of their positions. */
  take(chunk: ReadonlyArray<Element<any>>): ReadonlyArray<Element<any>> {
    return chunk.filter((element) => {
      const { position, slice, timestamp } = element
      const looked = this.#slices.get(slice)
      if (looked === undefined || position === undefined || position <= looked.position) return false
      this.#moved.add(slice)
      this.#moveTo(looked, Math.min(position, looked.upTo))
      if (position > looked.upTo) return false
      if (timestamp !== undefined) looked.offset = { position, timestamp }
      return element._tag !== "Skipped"
    })
  }

  #moveTo(looked: Looked, position: number): void {
    this.#remaining -= position - looked.position
    looked.position = position
  }

  /**
   * After which event slices are to be looked through from now on, of those that have moved on since it was asked last; undefined for one that is
   * done.
   */
  progress(): ReadonlyMap<Slice, Offset | undefined> {
    const progress = new Map<Slice, Offset | undefined>()
    for (const slice of this.#moved) {
      const { offset, position, upTo } = this.#slices.get(slice)!
      progress.set(slice, position < upTo ? offset : undefined)
    }
    this.#moved.clear()
    return progress
  }
}
