import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import * as Metrics from "../Metrics.ts"
import type { WorkerStatus } from "../ProjectionStatus.ts"

/** @internal Measures the workers of a projection. */
export class ProjectionMeters {
  readonly #handled
  readonly #skipped
  readonly #restarts
  readonly #group
  readonly #commit
  readonly #delay

  constructor(projection: string, context: Context.Context<never>) {
    const of = <Input>(metric: Metric.Metric<Input, unknown>) => {
      const own = Metric.withAttributes(metric, { projection })
      return (input: Input) => own.updateUnsafe(input, context)
    }
    this.#handled = of(Metrics.projectionHandled)
    this.#skipped = of(Metrics.projectionSkipped)
    this.#restarts = of(Metrics.projectionRestarts)
    this.#group = of(Metrics.projectionGroup)
    this.#commit = of(Metrics.projectionCommit)
    this.#delay = of(Metrics.projectionDelay)
  }

  changed(before: WorkerStatus, after: WorkerStatus): void {
    if (after.handled > before.handled) this.#handled(after.handled - before.handled)
    if (after.skipped > before.skipped) this.#skipped(after.skipped - before.skipped)
    if (after.restarts > before.restarts) this.#restarts(after.restarts - before.restarts)
  }

  /** Times in milliseconds. */
  group(events: number, last: number, now: number): void {
    this.#group(events)
    this.#delay(Math.max(0, now - last) / 1000)
  }

  committed(nanos: bigint): void {
    this.#commit(Number(nanos) / 1e9)
  }
}
