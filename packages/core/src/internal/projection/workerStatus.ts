import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Envelope } from "../../Envelope.ts"
import { ProjectionNotRunning, type WorkerFailure, type WorkerStatus } from "../../ProjectionStatus.ts"
import type { SliceRange } from "../../SliceRange.ts"
import { errorOf } from "./failures.ts"
import { ProjectionMeters } from "./ProjectionMeters.ts"

/** @internal What a worker knows of itself over its incarnations. */
export class WorkerState {
  #status: Omit<WorkerStatus, "handled" | "skipped">
  #handled = 0
  #skipped = 0
  /** Why it has to stop, once it has. */
  stop: WorkerFailure | undefined
  /** What the source itself has failed with last, and not a stage or a handler. */
  #ofSource: unknown
  /** Whether the current incarnation has stored any offset. */
  progressed = false
  #isOver = false
  readonly #listeners = new Set<() => void>()
  // how often a stage has failed on the same event, over the incarnations
  #stumble = { at: "", times: 0 }

  readonly meters: ProjectionMeters

  constructor(projection: string, range: SliceRange, context: Context.Context<never>) {
    this.meters = new ProjectionMeters(projection, context)
    this.#status = {
      projection,
      range,
      state: "Starting",
      failure: undefined,
      restarts: 0,
      revision: undefined,
      offsets: new Map()
    }
  }

  get status(): WorkerStatus {
    // the tracker goes on with its map
    const offsets = new Map(this.#status.offsets)
    return { ...this.#status, offsets, handled: this.#handled, skipped: this.#skipped }
  }

  handled(envelopes: ReadonlyArray<Envelope<unknown>>): void {
    this.#handled += envelopes.length
    this.meters.handled(envelopes.length, envelopes.at(-1)!.timestamp)
  }

  skipped(): void {
    this.#skipped++
    this.meters.skipped()
  }

  restarts(change: Pick<WorkerStatus, "failure">): void {
    this.meters.restarted()
    this.update({ ...change, state: "Restarting", restarts: this.#status.restarts + 1 })
  }

  update(change: Partial<Omit<WorkerStatus, "handled" | "skipped">>): void {
    this.#status = { ...this.#status, ...change }
    for (const listener of this.#listeners) listener()
  }

  /** Remembers what the source fails with. */
  readonly ofSource = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.tapCause(effect, (cause) => Effect.sync(() => void (this.#ofSource = errorOf(cause))))

  /** Whether it is the source that has failed so. */
  isOfSource(error: unknown): boolean {
    return error !== undefined && error === this.#ofSource
  }

  /** Counts how often the place was failed at in a row. */
  stumbleAt(at: string): number {
    this.#stumble = { at, times: this.#stumble.at === at ? this.#stumble.times + 1 : 1 }
    return this.#stumble.times
  }

  /** It has ended, and its status stays as it is. */
  end(): void {
    this.#isOver = true
    for (const listener of this.#listeners) listener()
  }

  /** Ends when the status is such, and fails when the worker has ended before. */
  until(predicate: (status: WorkerStatus) => boolean): Effect.Effect<WorkerStatus, ProjectionNotRunning> {
    return Effect.callback((resume) => {
      const listener = () => {
        const { status } = this
        const isSuch = predicate(status)
        if (!isSuch && !this.#isOver) return
        this.#listeners.delete(listener)
        resume(
          isSuch ? Effect.succeed(status) : Effect.fail(new ProjectionNotRunning({ projection: status.projection }))
        )
      }
      this.#listeners.add(listener)
      listener()
      return Effect.sync(() => this.#listeners.delete(listener))
    })
  }
}
