/** Fills a journal, and knows what is in it. */
import * as Journal from "@sluice/core/Journal"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import { cart, entities, item } from "./events.ts"

/** Consecutive events per append. */
const size = 5

/** The type of what has been loaded. */
export const Cart = cart("")

/** As often as an entity has to appear in the read model. */
export type Expected = ReadonlyMap<string, number>

/** Of a hundred entities one has this tag. */
export const rare = "rare"

const appends = entities / size
const rareOnes = appends / 100

const isRare = (append: number): boolean => append % appends < rareOnes

/** How many of so many events have the tag, if they are appends that are whole. */
export const rareOf = (events: number): number => {
  const rest = Math.min(rareOnes, events / size % appends)
  return (Math.floor(events / size / appends) * rareOnes + rest) * size
}

/** How many events with the tag are before one. */
export const rareBefore = (n: number): number => rareOf(n - n % size) + n % size

/** Appends so many events, a few at a time to one entity after the other. */
export const load = Effect.fnUntraced(function*(events: number) {
  const expected = new Map<string, number>()
  yield* Effect.forEach(
    Array.from({ length: Math.ceil(events / size) }, (_, i) => i),
    (i) => {
      const count = Math.min(size, events - i * size)
      const id = `c-${i % (entities / size)}`
      expected.set(`${Cart.name}|${id}`, (expected.get(`${Cart.name}|${id}`) ?? 0) + count)
      return Journal.append(Cart, {
        id,
        events: Arr.makeBy(count, (j) => item(i * size + j)),
        tags: isRare(i) ? [rare] : []
      })
    },
    { concurrency: 256, discard: true }
  )
  return expected
})

/** What a read model has of it. What nobody has written counts as doubled. */
export const compareCounts = (
  expected: Expected,
  counts: ReadonlyArray<{ readonly id: string; readonly n: number }>
): { readonly lost: number; readonly doubled: number } => {
  let lost = 0
  let doubled = 0
  const found = new Map(counts.map(({ id, n }) => [id, n]))
  for (const id of new Set([...expected.keys(), ...found.keys()])) {
    const more = (found.get(id) ?? 0) - (expected.get(id) ?? 0)
    if (more < 0) lost -= more
    else doubled += more
  }
  return { lost, doubled }
}
