import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { Element } from "../../Envelope.ts"
import type { HeldBack } from "./HeldBack.ts"
import type { PastChunk } from "./lookBack.ts"
import { Turns } from "./Turns.ts"

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
 * The chunks that wait for a worker. Those of what is new and those of replays take turns, as `Turns` says.
 */
export class Chunks {
  readonly #next: Waiting
  readonly #replayed: Waiting
  /** What is left of a chunk of each kind whose turn was over. */
  #restOfNext: Chunk | undefined
  #restOfReplayed: Chunk | undefined
  /** Wakes the worker, which then looks for a chunk; there may be none. */
  readonly #wakeUp: Queue.Queue<void, unknown>
  readonly #turns = new Turns()
  readonly #held: Pick<HeldBack, "isFilling">
  readonly #clock: Clock.Clock

  private constructor(
    next: Waiting,
    replayed: Waiting,
    wakeUp: Queue.Queue<void, unknown>,
    held: Pick<HeldBack, "isFilling">,
    clock: Clock.Clock
  ) {
    this.#next = next
    this.#replayed = replayed
    this.#wakeUp = wakeUp
    this.#held = held
    this.#clock = clock
  }

  /** With what waits for replays. */
  static readonly make = (held: Pick<HeldBack, "isFilling">): Effect.Effect<Chunks> =>
    Effect.gen(function*() {
      return new Chunks(
        yield* Queue.bounded<Chunk, Cause.Done>(ahead),
        yield* Queue.bounded<Chunk, Cause.Done>(ahead),
        yield* Queue.dropping<void, unknown>(1),
        held,
        yield* Effect.clockWith(Effect.succeed)
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
    const isReplay = this.#turns.next(
      this.#isNewWaiting,
      this.#isReplayWaiting,
      this.#now(),
      this.#held.isFilling
    )
    const rest = isReplay ? this.#restOfReplayed : this.#restOfNext
    if (rest !== undefined) {
      if (isReplay) this.#restOfReplayed = undefined
      else this.#restOfNext = undefined
      return rest
    }
    const taken = Queue.takeUnsafe(isReplay ? this.#replayed : this.#next)
    return taken?._tag === "Success" ? taken.value : undefined
  }

  /** Whether others are due in the turn of a chunk. What it has not come to is then to be put back. */
  get isTurnOver(): boolean {
    const isReplayWaiting = this.#isReplayWaiting
    // most chunks have nothing beside them
    return (isReplayWaiting || this.#turns.isReplay) &&
      this.#turns.isOver(this.#isNewWaiting, isReplayWaiting, this.#now())
  }

  /** The rest of a chunk comes before the others of its kind. */
  putBack(rest: Chunk): void {
    if (isReplay(rest)) this.#restOfReplayed = rest
    else this.#restOfNext = rest
  }

  /** Ends once the event loop has had its turn, which may bring what is new, unless that is there already. */
  readonly look: Effect.Effect<void> = Effect.suspend(() => this.#isNewWaiting ? Effect.void : Effect.yieldNow)

  get #isNewWaiting(): boolean {
    return this.#restOfNext !== undefined || Queue.sizeUnsafe(this.#next) > 0
  }

  get #isReplayWaiting(): boolean {
    return this.#restOfReplayed !== undefined || Queue.sizeUnsafe(this.#replayed) > 0
  }

  #now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** Ends when there is a chunk to be taken, which it leaves. */
  readonly peek: Effect.Effect<void, unknown> = Effect.suspend(() => {
    if (this.#isNewWaiting) return Effect.void
    const woken = Queue.take(this.#wakeUp)
    if (!this.#isReplayWaiting) return Effect.andThen(woken, this.peek)
    const rest = this.#turns.rest(this.#now())
    return rest === 0 ? Effect.void : Effect.andThen(Effect.timeoutOption(woken, rest), this.peek)
  })

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
