import * as Effect from "effect/Effect"
import type { Element } from "../../Envelope.ts"
import type { Ahead, Move } from "../../OffsetStore.ts"
import type { OffsetTracker } from "./OffsetTracker.ts"

/**
 * @internal
 * What comes after the event that is being handled, of the same chunk. It says where the offsets are going to move, so that the store can begin the next
 * transaction with the commit of this one. If the next event turns out to be a duplicate, they move elsewhere, which the store finds out.
 */
export class NextEvent implements Ahead {
  readonly #tracker: OffsetTracker
  #chunk: ReadonlyArray<Element<any>> = []
  #at = 0
  abandon: Effect.Effect<void> = Effect.void

  constructor(tracker: OffsetTracker) {
    this.#tracker = tracker
  }

  /** The event before an element of the chunk is handled now. */
  isAt(chunk: ReadonlyArray<Element<any>>, index: number): void {
    this.#chunk = chunk
    this.#at = index
  }

  /** What comes next is not known any more. */
  forget(): void {
    this.#chunk = []
  }

  next(): ReadonlyArray<Move> | undefined {
    const elements: Array<Exclude<Element<any>, { readonly _tag: "Poison" }>> = []
    for (let i = this.#at; i < this.#chunk.length; i++) {
      const element = this.#chunk[i]!
      if (element._tag === "Poison") return undefined
      elements.push(element)
      if (element._tag === "Envelope") return this.#tracker.movesAfter(elements)
    }
    return undefined
  }
}
