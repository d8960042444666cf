import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"

/** Workers come and go in numbers: so long, in milliseconds, the first change waits for others. */
const togetherWithin = 10

/** What a reader of the assignment may have running. */
interface Reader {
  last: ReadonlySet<number> | undefined
  running: ReadonlySet<number>
}

/**
 * @internal
 * Which workers are assigned to this process, as its readers follow it. A reader that asks for the next set has done what the last one said: a
 * worker that is in no set since has ended, and another process may have it.
 */
export class AssignedWorkers {
  #assigned: ReadonlySet<number> = new Set()
  #isKnown = false
  readonly #readers = new Set<Reader>()
  #changed = Latch.makeUnsafe(false)

  /** Whether anything is known yet, even if it is that no worker is assigned. */
  get isKnown(): boolean {
    return this.#isKnown
  }

  add(worker: number): void {
    this.#set(new Set(this.#assigned).add(worker))
  }

  remove(worker: number): void {
    const assigned = new Set(this.#assigned)
    assigned.delete(worker)
    this.#set(assigned)
  }

  /** There is nothing to wait for: no worker is assigned. */
  known(): void {
    if (!this.#isKnown) this.#set(this.#assigned)
  }

  /** Ends when no reader has the worker running any more, or when `atMost` has passed. */
  ended(worker: number, atMost: Duration.Input): Effect.Effect<void> {
    const wait: Effect.Effect<void> = Effect.suspend(() =>
      this.#readers.values().some(({ running }) => running.has(worker))
        ? Effect.andThen(this.#changed.await, wait)
        : Effect.void
    )
    return Effect.asVoid(Effect.timeoutOption(Effect.interruptible(wait), atMost))
  }

  /** Nobody waits for readers any more. */
  close(): void {
    this.#readers.clear()
    this.#notify()
  }

  /** The set once it is known, and whenever it has changed. */
  readonly changes: Stream.Stream<ReadonlySet<number>> = Stream.scoped(Stream.fromPull(Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const reader: Reader = { last: undefined, running: new Set() }
        this.#readers.add(reader)
        return reader
      }),
      (reader) =>
        Effect.sync(() => {
          this.#readers.delete(reader)
          this.#notify()
        })
    ),
    (reader) => this.#next(reader)
  )))

  #next(reader: Reader): Effect.Effect<readonly [ReadonlySet<number>]> {
    const wait: Effect.Effect<void> = Effect.suspend(() =>
      this.#isKnown && this.#assigned !== reader.last ? Effect.void : Effect.andThen(this.#changed.await, wait)
    )
    return Effect.gen({ self: this }, function*() {
      if (reader.last !== undefined) {
        reader.running = reader.last
        this.#notify()
      }
      yield* wait
      yield* Effect.sleep(togetherWithin)
      const next = this.#assigned
      reader.running = new Set([...reader.running, ...next])
      reader.last = next
      return [next]
    })
  }

  #set(assigned: ReadonlySet<number>): void {
    this.#assigned = assigned
    this.#isKnown = true
    this.#notify()
  }

  #notify(): void {
    const changed = this.#changed
    this.#changed = Latch.makeUnsafe(false)
    changed.openUnsafe()
  }
}
