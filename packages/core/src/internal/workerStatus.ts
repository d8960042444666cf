import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { WorkerFailure, WorkerStatus } from "../ProjectionStatus.ts"
import type { SliceRange } from "../SliceRange.ts"
import { ProjectionMeters } from "./ProjectionMeters.ts"

/** @internal What a worker knows of itself over its incarnations. */
export class WorkerState {
  status: WorkerStatus
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
    this.status = {
      projection,
      range,
      state: "Starting",
      failure: undefined,
      handled: 0,
      skipped: 0,
      restarts: 0,
      offsets: new Map()
    }
  }

  update(change: Partial<WorkerStatus>): void {
    const before = this.status
    this.status = { ...before, ...change }
    this.meters.changed(before, this.status)
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
        if (!predicate(this.status)) return
        this.#listeners.delete(listener)
        resume(Effect.succeed(this.status))
      }
      this.#listeners.add(listener)
      listener()
      return Effect.sync(() => this.#listeners.delete(listener))
    })
  }
}
