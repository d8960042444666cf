import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import * as Metrics from "../../Metrics.ts"
import type { OffsetKey } from "../../OffsetStore.ts"

/** @internal Measures the workers of a projection in a source. */
export class ProjectionMeters {
  readonly #handled
  readonly #skipped
  readonly #queued
  readonly #parked
  readonly #restarts
  readonly #filterWaits
  readonly #group
  readonly #commit
  readonly #delay
  #unreported = 0
  #last = 0

  constructor({ projection, source }: OffsetKey, context: Context.Context<never>) {
    const of = <Input>(metric: Metric.Metric<Input, unknown>) => {
      const own = Metric.withAttributes(metric, { projection, source })
      return (input: Input) => own.updateUnsafe(input, context)
    }
    this.#handled = of(Metrics.projectionHandled)
    this.#skipped = of(Metrics.projectionSkipped)
    this.#queued = of(Metrics.projectionQueued)
    this.#parked = of(Metrics.projectionParked)
    this.#restarts = of(Metrics.projectionRestarts)
    this.#filterWaits = of(Metrics.projectionFilterWaits)
    this.#group = of(Metrics.projectionGroup)
    this.#commit = of(Metrics.projectionCommit)
    this.#delay = of(Metrics.projectionDelay)
  }

  /** Events, of which the last has the timestamp. */
  handled(events: number, last: number): void {
    this.#unreported += events
    this.#last = last
  }

  /** Reports what was handled since it was reported last. The time is in milliseconds. */
  report(now: number): void {
    if (this.#unreported === 0) return
    this.#handled(this.#unreported)
    this.#delay(Math.max(0, now / 1000 - this.#last / 1_000_000))
    this.#unreported = 0
  }

  skipped(events: number): void {
    this.#skipped(events)
  }

  /** Which are skipped as well. */
  queued(events: number): void {
    this.#skipped(events)
    this.#queued(events)
  }

  /** So many entities more are parked, or fewer. */
  parked(change: number): void {
    this.#parked(change)
  }

  restarted(): void {
    this.#restarts(1)
  }

  waitedForFilter(): void {
    this.#filterWaits(1)
  }

  group(events: number): void {
    this.#group(events)
  }

  committed(nanos: bigint): void {
    this.#commit(Number(nanos) / 1e9)
  }
}
