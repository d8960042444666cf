import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
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
  /** What comes when all chunks are taken and there are no more. */
  #end: Effect.Effect<never, unknown> | undefined
  /** Wakes the worker, which then looks for a chunk; there may be none. */
  #listener: (() => void) | undefined
  /** How often it was to be woken. */
  #wakes = 0
  readonly #turns = new Turns()
  readonly #held: Pick<HeldBack, "isFilling">
  readonly #clock: Clock.Clock

  private constructor(
    next: Waiting,
    replayed: Waiting,
    held: Pick<HeldBack, "isFilling">,
    clock: Clock.Clock
  ) {
    this.#next = next
    this.#replayed = replayed
    this.#held = held
    this.#clock = clock
  }

  /** With what waits for replays. */
  static readonly make = (held: Pick<HeldBack, "isFilling">): Effect.Effect<Chunks> =>
    Effect.gen(function*() {
      return new Chunks(
        yield* Queue.bounded<Chunk, Cause.Done>(ahead),
        yield* Queue.bounded<Chunk, Cause.Done>(ahead),
        held,
        yield* Effect.clockWith(Effect.succeed)
      )
    })

  /** Ends when there is room for the chunk. */
  offer(chunk: Chunk): Effect.Effect<void> {
    return Effect.asVoid(Queue.offer(isReplay(chunk) ? this.#replayed : this.#next, chunk)).pipe(
      // whoever is interrupted may have offered it
      Effect.ensuring(Effect.sync(() => this.#wake()))
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
      this.#isPressing
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

  /** Whether replays are not to rest. */
  get #isPressing(): boolean {
    return this.#held.isFilling || this.#end !== undefined
  }

  get #isReplayWaiting(): boolean {
    return this.#restOfReplayed !== undefined || Queue.sizeUnsafe(this.#replayed) > 0
  }

  #now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** Ends when there is a chunk to be taken, which it leaves. */
  readonly peek: Effect.Effect<void, unknown> = Effect.suspend(() => Effect.asVoid(this.#peekUntil(Infinity)))

  /** Whether there is a chunk to be taken, for which it waits so many milliseconds. */
  peekFor(wait: number): Effect.Effect<boolean, unknown> {
    return Effect.suspend(() => this.#peekUntil(this.#now() + wait))
  }

  #peekUntil(time: number): Effect.Effect<boolean, unknown> {
    return Effect.suspend(() => {
      const now = this.#now()
      // whoever looks for a chunk has ended what it had
      this.#turns.end(this.#isNewWaiting, now, this.#isPressing)
      const rest = !this.#isReplayWaiting ? Infinity : this.#isPressing ? 0 : this.#turns.rest(now)
      if (this.#isNewWaiting || rest === 0) return Effect.succeed(true)
      if (this.#end !== undefined) return this.#end
      if (now >= time) return Effect.succeed(false)
      // whoever brings one chunk may have more, which are cheaper to handle together
      const woken = Effect.andThen(this.#untilWoken(Math.min(rest, time - now)), Effect.yieldNow)
      return Effect.andThen(woken, this.#peekUntil(time))
    })
  }

  /** Ends when somebody wakes the worker, or after so many milliseconds. Without a race, whose fibers each have a turn of the event loop to end. */
  #untilWoken(wait: number): Effect.Effect<void> {
    const wakes = this.#wakes
    const woken = Effect.callback<void>((resume) => {
      // others may have had their turn before this is run
      if (this.#wakes > wakes) return resume(Effect.void)
      const listener = () => resume(Effect.void)
      this.#listener = listener
      return Effect.sync(() => {
        if (this.#listener === listener) this.#listener = undefined
      })
    })
    if (wait === Infinity) return woken
    const alarm = Effect.andThen(Effect.sleep(wait), Effect.sync(() => this.#wake()))
    return Effect.flatMap(
      Effect.forkChild(alarm, { startImmediately: true }),
      (fiber) => Effect.ensuring(woken, Effect.sync(() => fiber.interruptUnsafe()))
    )
  }

  #wake(): void {
    this.#wakes++
    const listener = this.#listener
    this.#listener = undefined
    listener?.()
  }

  /** Fails whoever takes chunks, once those are taken that are there. */
  fail(cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return Effect.sync(() => this.#endWith(Effect.failCause(cause)))
  }

  /** Nothing comes any more after the effect. Its failure is that of whoever takes chunks. */
  endWith<E, R>(effect: Effect.Effect<void, E, R>): Effect.Effect<void, never, R> {
    return effect.pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => this.#endWith(Exit.isSuccess(exit) ? Cause.done() : Effect.failCause(exit.cause)))
      ),
      Effect.exit,
      Effect.asVoid
    )
  }

  /** What is offered from now on is not taken. */
  #endWith(end: Effect.Effect<never, unknown>): void {
    this.#end ??= end
    Queue.endUnsafe(this.#next)
    Queue.endUnsafe(this.#replayed)
    this.#wake()
  }
}
