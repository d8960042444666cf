import type { EncodedElement } from "@sluice/core/Envelope"

/** A generator of numbers from 0 to below 1, the same for a seed. */
const numbers = (seed: number) => {
  let state = seed | 0
  return (): number => {
    state = Math.imul(state ^ state >>> 15, 0x2c1b3c6d) + 0x6d2b79f5 | 0
    let mixed = Math.imul(state ^ state >>> 15, state | 1)
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61)
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
  }
}

/** @internal Makes a function that puts elements into another order, in which those of each slice follow each other as before. */
export const reordering = (seed: number) => {
  const next = numbers(seed)
  return (elements: ReadonlyArray<EncodedElement>): ReadonlyArray<EncodedElement> => {
    const logs = Array.from(Map.groupBy(elements, ({ slice }) => slice).values(), (log) => log.toReversed())
    const reordered: Array<EncodedElement> = []
    while (logs.length > 0) {
      const at = Math.floor(next() * logs.length)
      reordered.push(logs[at]!.pop()!)
      if (logs[at]!.length === 0) logs.splice(at, 1)
    }
    return reordered
  }
}
