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
): Effect.fn.Return<string | undefined, StorageError> {
  const types = yield* entityTypes(maxNamed + 1)
  if (types.length === 0 || types.includes(wanted)) return undefined
  // it may be one of those that were not looked for
  if (types.length > maxNamed && (yield* heads(wanted, SliceRange.full)).size > 0) return undefined
  const others = types.slice(0, maxNamed).map((type) => `'${type}'`).join(", ")
  return `There are no ${what} of the entity type '${wanted}' yet, but of ${others}${
    types.length > maxNamed ? " and others" : ""
  }: if some are expected, the type is misspelt, or was renamed`
})
