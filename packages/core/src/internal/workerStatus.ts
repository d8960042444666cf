import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Envelope } from "../Envelope.ts"
import type { WorkerFailure, WorkerStatus } from "../ProjectionStatus.ts"
import type { SliceRange } from "../SliceRange.ts"
import { ProjectionMeters } from "./ProjectionMeters.ts"

/** @internal What a worker knows of itself over its incarnations. */
export class WorkerState {
  #status: Omit<WorkerStatus, "handled" | "skipped">
  #handled = 0
  #skipped = 0
  /** Why it has to stop, once it has. */
  stop: WorkerFailure | undefined
  /** Whether the current incarnation has stored any offset. */
  progressed = false
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

  /** Counts how often the place was failed at in a row. */
  stumbleAt(at: string): number {
    this.#stumble = { at, times: this.#stumble.at === at ? this.#stumble.times + 1 : 1 }
    return this.#stumble.times
  }

  /** Ends when the status is such. */
  until(predicate: (status: WorkerStatus) => boolean): Effect.Effect<WorkerStatus> {
    return Effect.callback((resume) => {
      const listener = () => {
        const { status } = this
        if (!predicate(status)) return
        this.#listeners.delete(listener)
        resume(Effect.succeed(status))
      }
      this.#listeners.add(listener)
      listener()
      return Effect.sync(() => this.#listeners.delete(listener))
    })
  }
}
