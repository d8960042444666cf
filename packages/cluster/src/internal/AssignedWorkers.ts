import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"

/** Workers come and go in numbers: so long, in milliseconds, the first change waits for others. */
const togetherWithin = 10

/**
 * @internal
 * Which workers are assigned to this process, as its readers follow it.
 */
export class AssignedWorkers {
  #assigned: ReadonlySet<number> = new Set()
  #isKnown = false
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

  /** The set once it is known, and whenever it has changed. */
  readonly changes: Stream.Stream<ReadonlySet<number>> = Stream.fromPull(Effect.sync(() => {
    let last: ReadonlySet<number> | undefined
    const wait: Effect.Effect<void> = Effect.suspend(() =>
      this.#isKnown && this.#assigned !== last ? Effect.void : Effect.andThen(this.#changed.await, wait)
    )
    return wait.pipe(
      Effect.andThen(Effect.sleep(togetherWithin)),
      Effect.map(() => [last = this.#assigned] as const)
    )
  }))

  #set(assigned: ReadonlySet<number>): void {
    this.#assigned = assigned
    this.#isKnown = true
    const changed = this.#changed
    this.#changed = Latch.makeUnsafe(false)
    changed.openUnsafe()
  }
}
