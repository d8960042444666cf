import * as Slice from "@sluice/core/Slice"
import type { Answer } from "@sluice/sql/adapter/AppendLane"

/**
 * @internal
 * The positions up to which this process has written logs, from which the append function looks for the heads. It does so without them
 * where they are wrong, so nothing depends on them but its speed.
 */
export class KnownPositions {
  readonly #byType = new Map<string, Float64Array>()

  /** Zero where nothing is known. */
  get(entityType: string, slice: Slice.Slice): number {
    return this.#byType.get(entityType)?.[slice] ?? 0
  }

  /** Learns from the answers of a transaction that is committed, in the order of its appends. */
  learn(entityType: string, answers: ReadonlyArray<Answer | undefined>): void {
    let positions = this.#byType.get(entityType)
    if (positions === undefined) this.#byType.set(entityType, positions = new Float64Array(Slice.count))
    for (const answer of answers) if (answer?._tag === "Success") positions[answer.value.slice] = answer.value.position
  }
}
