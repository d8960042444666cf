import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { Element } from "../../Envelope.ts"
import type { PastChunk } from "./lookBack.ts"

/** Chunks that are decoded while the handler is busy, of each kind. */
const ahead = 2

/** @internal Elements that come next, or that a replay brings, or that were passed over and are looked through once more. */
export type Chunk =
  | { readonly elements: ReadonlyArray<Element<any>>; readonly isReplay: boolean; readonly progress?: undefined }
  | PastChunk

/** @internal Whether the elements are not in the order of their logs. */
export const isReplay = (chunk: Chunk): boolean => chunk.progress !== undefined || chunk.isReplay

/**
 * @internal
 * The chunks that wait for a worker. Those of what is new and those of replays take turns, so that neither waits for more than one of the others.
 */
export class Chunks {
  readonly #next: Queue.Queue<Chunk>
  readonly #replayed: Queue.Queue<Chunk>
  /** One for each chunk that waits. */
  readonly #there: Queue.Queue<void, unknown>
  #lastWasReplay = true

  private constructor(next: Queue.Queue<Chunk>, replayed: Queue.Queue<Chunk>, there: Queue.Queue<void, unknown>) {
    this.#next = next
    this.#replayed = replayed
    this.#there = there
  }

  static readonly make: Effect.Effect<Chunks> = Effect.gen(function*() {
    return new Chunks(
      yield* Queue.bounded<Chunk>(ahead),
      yield* Queue.bounded<Chunk>(ahead),
      yield* Queue.unbounded<void, unknown>()
    )
  })

  /** Ends when there is room for the chunk. */
  offer(chunk: Chunk): Effect.Effect<void> {
    return Effect.map(
      Queue.offer(isReplay(chunk) ? this.#replayed : this.#next, chunk),
      () => void Queue.offerUnsafe(this.#there, undefined)
    )
  }

  readonly take: Effect.Effect<Chunk, unknown> = Effect.suspend(() =>
    Effect.flatMap(Queue.take(this.#there), () => this.#turn())
  )

  #turn(): Effect.Effect<Chunk> {
    const [first, second] = this.#lastWasReplay ? [this.#next, this.#replayed] : [this.#replayed, this.#next]
    return Effect.flatMap(Queue.poll(first), (chunk) => {
      const isOther = chunk._tag === "None"
      this.#lastWasReplay = (isOther ? second : first) === this.#replayed
      return isOther ? Queue.take(second) : Effect.succeed(chunk.value)
    })
  }

  /** Ends when a chunk is there, which it leaves. */
  readonly peek: Effect.Effect<void, unknown> = Effect.suspend(() => Queue.peek(this.#there))

  /** Fails whoever takes chunks, once those are taken that are there. */
  fail(cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return Effect.asVoid(Queue.failCause(this.#there, cause))
  }

  /** Nothing comes any more after the effect. Its failure is that of whoever takes chunks. */
  endWith<E, R>(effect: Effect.Effect<void, E, R>): Effect.Effect<void, never, R> {
    return Effect.asVoid(Queue.into(this.#there as Queue.Queue<void, E | Cause.Done>)(effect))
  }
}
