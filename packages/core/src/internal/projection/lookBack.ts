import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Element } from "../../Envelope.ts"
import type { Offset } from "../../Offset.ts"
import type { Slice } from "../../Slice.ts"
import type { SliceRange } from "../../SliceRange.ts"
import * as Source from "../../Source.ts"
import type { PassedOver } from "./PassedOver.ts"
import { scopedInTime } from "./scopedInTime.ts"

/** So many elements are one chunk, after which it is known how far was looked through. */
const atOnce = 32

/** How often it is stored how far was looked through, in milliseconds. */
const savedEvery = 1_000

/** @internal Elements that were passed over, and how far they were looked through with these. */
export interface PastChunk {
  readonly elements: ReadonlyArray<Element<any>>
  readonly progress: ReadonlyMap<Slice, Offset | undefined>
  readonly remaining: number
}

/**
 * @internal
 * Opens the source once more, beside what is new, and hands over what was passed over until there is no more of it.
 */
export const lookBack = (
  source: Source.Source<any, any, any>,
  range: SliceRange,
  passedOver: PassedOver,
  start: Source.Start,
  offer: (chunk: PastChunk) => Effect.Effect<unknown>
): Effect.Effect<void, unknown, any> =>
  Effect.gen(function*() {
    const offsets = passedOver.start(start.offsets)
    // what was deleted since it was passed over is gone
    const { elements } = yield* Source.open(source, { range, start: { ...start, offsets, pastDeleted: true } })
    yield* Stream.runForEachWhile(Stream.chunks(elements), (chunk) =>
      Effect.gen(function*() {
        for (let i = 0; i < chunk.length && passedOver.remaining > 0; i += atOnce) {
          const elements = passedOver.take(chunk.slice(i, i + atOnce))
          const progress = passedOver.progress()
          if (progress.size > 0) yield* offer({ elements, progress, remaining: passedOver.remaining })
        }
        return passedOver.remaining > 0
      }))
  }).pipe(scopedInTime)

/** @internal How far a worker has handled what was passed over, and not stored yet. Pure but for what it remembers. */
export class PastProgress {
  #unsaved = new Map<Slice, Offset | undefined>()
  #remaining: number | undefined
  #savedAt: number

  constructor(now: number) {
    this.#savedAt = now
  }

  /** Elements were judged. They are handled, or wait in a group, or for others. */
  take({ progress, remaining }: PastChunk): void {
    for (const [slice, offset] of progress) this.#unsaved.set(slice, offset)
    this.#remaining = remaining
  }

  /** Whether any progress is to be stored, sooner or later. */
  get isBegun(): boolean {
    return this.#unsaved.size > 0
  }

  /** How many events it has yet to look through. */
  get remaining(): number {
    return this.#remaining ?? 0
  }

  /** Whether it has to be stored now, in milliseconds. */
  isDue(now: number): boolean {
    return this.#remaining === 0 || now - this.#savedAt >= savedEvery
  }

  /** What is to be stored. */
  save(now: number): ReadonlyMap<Slice, Offset | undefined> {
    const unsaved = this.#unsaved
    this.#unsaved = new Map()
    this.#savedAt = now
    return unsaved
  }
}
