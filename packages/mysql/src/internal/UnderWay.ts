import type { AppendRequest } from "@sluice/core/Journal"
import * as Slice from "@sluice/core/Slice"
import * as Effect from "effect/Effect"

/**
 * @internal
 * The slices that this process is writing to. An event of its own may be seen in the database before the answer says that it is written.
 */
export class UnderWay {
  readonly #appends = new Uint32Array(Slice.count)

  /** Whether an append to the slice is under way, in whatever entity type. */
  has(slice: Slice.Slice): boolean {
    return this.#appends[slice]! > 0
  }

  /** While the effect appends these. */
  during<A, E, R>(requests: ReadonlyArray<AppendRequest>, append: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const slices = requests.map(({ persistenceId }) => Slice.ofPersistenceId(persistenceId))
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        for (const slice of slices) this.#appends[slice]!++
      }),
      () => append,
      () =>
        Effect.sync(() => {
          for (const slice of slices) this.#appends[slice]!--
        })
    )
  }
}
