import type { Slice } from "@sluice/core/Slice"

/** @internal A set of places in logs. */
export class Positions {
  readonly #slices = new Map<Slice, Set<number>>()

  has(slice: Slice, position: number): boolean {
    return this.#slices.get(slice)?.has(position) === true
  }

  add(slice: Slice, position: number): void {
    const positions = this.#slices.get(slice)
    if (positions === undefined) this.#slices.set(slice, new Set([position]))
    else positions.add(position)
  }

  /** Those of them for which the predicate holds. */
  filter(holds: (slice: Slice, position: number) => boolean): Positions {
    const some = new Positions()
    for (const [slice, positions] of this.#slices) {
      for (const position of positions) if (holds(slice, position)) some.add(slice, position)
    }
    return some
  }

  of(slice: Slice): Iterable<number> {
    return this.#slices.get(slice) ?? []
  }
}
