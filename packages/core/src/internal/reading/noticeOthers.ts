import * as Effect from "effect/Effect"
import type { Offsets } from "../../Offset.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { StorageError } from "../../StorageError.ts"

/** How many other types are named. */
const maxNamed = 20

/** What a journal, or a store of states, is asked for. */
interface Asked {
  readonly entityTypes: (limit: number) => Effect.Effect<ReadonlyArray<string>, StorageError>
  readonly heads: (entityType: string, range: SliceRange.SliceRange) => Effect.Effect<Offsets, StorageError>
}

/** @internal What to tell whoever reads a type of which there is nothing, though there is something of others. */
export const noticeOthers = Effect.fnUntraced(function*(
  { entityTypes, heads }: Asked,
  what: "events" | "states",
  wanted: string
): Effect.fn.Return<{ readonly message: string; readonly level: "Info" | "Warn" } | undefined, StorageError> {
  const types = yield* entityTypes(maxNamed + 1)
  if (types.length === 0 || types.includes(wanted)) return undefined
  // it may be one of those that were not looked for
  if (types.length > maxNamed && (yield* heads(wanted, SliceRange.full)).size > 0) return undefined
  const others = types.slice(0, maxNamed).map((type) => `'${type}'`).join(", ")
  const message = `There are no ${what} of the entity type '${wanted}' yet, but of ${others}${
    types.length > maxNamed ? " and others" : ""
  }: if some are expected, the type is misspelt, or was renamed`
  // a type that is new has none either
  return { message, level: types.some((type) => isAlike(type, wanted)) ? "Warn" : "Info" }
})

/** Whether one name may be the other, misspelt: they differ in case, in what is no letter or digit, or in a letter or two. */
const isAlike = (one: string, other: string): boolean => {
  const [a, b] = [plain(one), plain(other)]
  return distance(a, b) <= (Math.min(a.length, b.length) > 4 ? 2 : 1)
}

const plain = (name: string): string => name.slice(0, 100).toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, "")

/** How many letters have to be put in, left out or replaced. */
const distance = (a: string, b: string): number => {
  let above = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      row.push(Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    above = row
  }
  return above[b.length]!
}
