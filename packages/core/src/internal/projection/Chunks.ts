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

type Waiting = Queue.Queue<Chunk, Cause.Done>

/** @internal Whether the elements are not in the order of their logs. */
export const isReplay = (chunk: Chunk): boolean => chunk.progress !== undefined || chunk.isReplay

/**
 * @internal
 * The chunks that wait for a worker. Those of what is new and those of replays take turns, so that neither waits for more than one of the others.
 */
export class Chunks {
  readonly #next: Waiting
  readonly #replayed: Waiting
  /** Wakes the worker, which then looks for a chunk; there may be none. */
  readonly #wakeUp: Queue.Queue<void, unknown>
  #lastWasReplay = true

  private constructor(next: Waiting, replayed: Waiting, wakeUp: Queue.Queue<void, unknown>) {
    this.#next = next
    this.#replayed = replayed
    this.#wakeUp = wakeUp
  }

  static readonly make: Effect.Effect<Chunks> = Effect.gen(function*() {
    return new Chunks(
      yield* Queue.bounded<Chunk, Cause.Done>(ahead),
      yield* Queue.bounded<Chunk, Cause.Done>(ahead),
      yield* Queue.dropping<void, unknown>(1)
    )
  })

  /** Ends when there is room for the chunk. */
  offer(chunk: Chunk): Effect.Effect<void> {
    return Effect.asVoid(Queue.offer(isReplay(chunk) ? this.#replayed : this.#next, chunk)).pipe(
      // whoever is interrupted may have offered it
      Effect.ensuring(Effect.sync(() => void Queue.offerUnsafe(this.#wakeUp, undefined)))
    )
  }

  readonly take: Effect.Effect<Chunk, unknown> = Effect.suspend(() => {
    const chunk = this.#poll()
    return chunk === undefined ? Effect.andThen(this.peek, this.take) : Effect.succeed(chunk)
  })

  #poll(): Chunk | undefined {
    const turns = this.#lastWasReplay ? [this.#next, this.#replayed] : [this.#replayed, this.#next]
    for (const turn of turns) {
      const taken = Queue.takeUnsafe(turn)
      if (taken?._tag !== "Success") continue
      this.#lastWasReplay = turn === this.#replayed
      return taken.value
    }
    return undefined
  }

  /** Ends when a chunk is there, which it leaves. */
  readonly peek: Effect.Effect<void, unknown> = Effect.suspend(() =>
    Queue.sizeUnsafe(this.#next) + Queue.sizeUnsafe(this.#replayed) > 0
      ? Effect.void
      : Effect.andThen(Queue.take(this.#wakeUp), this.peek)
  )

  /** Fails whoever takes chunks, once those are taken that are there. */
  fail(cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return Effect.andThen(Queue.failCause(this.#wakeUp, cause), this.#close)
  }

  /** Nothing comes any more after the effect. Its failure is that of whoever takes chunks. */
  endWith<E, R>(effect: Effect.Effect<void, E, R>): Effect.Effect<void, never, R> {
    return Effect.andThen(Queue.into(this.#wakeUp as Queue.Queue<void, E | Cause.Done>)(effect), this.#close)
  }

  /** What is offered from now on is not taken. */
  readonly #close = Effect.sync(() => {
    Queue.endUnsafe(this.#next)
    Queue.endUnsafe(this.#replayed)
  })
}
