import type { EncodedElement } from "@sluice/core/Envelope"

/** So many are kept: what streams of different slices write in turn. */
const kept = 8

/** @internal What a piece that was written had, and whether it ended because no more went into it. */
export interface Frame {
  readonly elements: ReadonlyArray<EncodedElement>
  readonly bytes: Buffer
  readonly isFull: boolean
}

/**
 * @internal
 * The pieces that were written last, whichever stream they were for: consumers of the same events, that are up to date, are written the same bytes, one after the other.
 * Envelopes are the same where they are the same objects, as they never change.
 */
export class RecentFrames {
  readonly #frames: Array<Frame> = []
  #oldest = 0

  keep(frame: Frame): void {
    this.#frames[this.#oldest] = frame
    this.#oldest = (this.#oldest + 1) % kept
  }

  /** That of the elements from an index on, undefined if it was not written lately. */
  find(
    { at, length }: { readonly at: (index: number) => EncodedElement; readonly length: number },
    from: number
  ): Frame | undefined {
    const left = length - from
    if (left === 0) return undefined
    const first = at(from)
    return this.#frames.find(({ elements, isFull }) => {
      if (elements[0] !== first || (isFull ? elements.length > left : elements.length !== left)) return false
      for (let i = 1; i < elements.length; i++) if (elements[i] !== at(from + i)) return false
      return true
    })
  }
}
