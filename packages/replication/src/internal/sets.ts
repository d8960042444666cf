/** What the schemas of sets, and of the sets in maps, have in common. */
import type { VersionVector } from "@sluice/core/ReplicationMetadata"
import * as HashMap from "effect/HashMap"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import { beyond, inOrderOf, seenOf, Vector } from "./vectors.ts"

type Dotted<A> = HashMap.HashMap<A, VersionVector>

type Entries = ReadonlyArray<readonly [element: unknown, dots: VersionVector]>

/** What an `OrSet` is. */
interface DottedSet<out A> {
  readonly vector: VersionVector
  readonly entries: Dotted<A>
  readonly pending: Dotted<A>
}

interface Encoded<out I> {
  readonly vector: typeof Vector.Encoded
  readonly entries: ReadonlyArray<readonly [element: I, dots: typeof Vector.Encoded]>
  readonly pending: ReadonlyArray<readonly [element: I, dots: typeof Vector.Encoded]>
}

/** @internal A set with what it has, whose parts are no set together if `problemOf` says so. */
export const setSchema = <A, I>(
  element: Schema.Codec<A, I>,
  problemOf: (vector: VersionVector, entries: Entries, pending: Entries) => string | undefined
): Schema.Codec<DottedSet<A>, Encoded<I>> => {
  const Entries = Schema.Array(Schema.Tuple([element, Vector])).check(Schema.makeFilter(problemOfEntries))
  return Schema.Struct({ vector: Vector, entries: Entries, pending: Entries }).check(
    Schema.makeFilter(({ entries, pending, vector }) => problemOf(vector, entries, pending))
  ).pipe(
    Schema.decodeTo(Schema.declare<DottedSet<A>>(isSet), {
      decode: SchemaGetter.transform(({ entries, pending, vector }): DottedSet<A> => ({
        vector,
        entries: HashMap.fromIterable(entries),
        pending: HashMap.fromIterable(pending)
      })),
      encode: SchemaGetter.transform(({ entries, pending, vector }) => ({
        vector,
        entries: entriesInOrder(entries),
        pending: entriesInOrder(pending)
      }))
    })
  )
}

const isSet = (u: unknown): u is DottedSet<any> =>
  typeof u === "object" && u !== null && "vector" in u && u.vector instanceof Map && "entries" in u &&
  HashMap.isHashMap(u.entries) && "pending" in u && HashMap.isHashMap(u.pending)

/** @internal Whether something is there twice, by what makes it equal. */
export const isRepeated = (keys: ReadonlyArray<unknown>): boolean =>
  HashMap.size(HashMap.fromIterable(keys.map((key) => [key, undefined]))) !== keys.length

const problemOfEntries = (entries: Entries): string | undefined => {
  if (isRepeated(entries.map(([element]) => element))) return "an element that is there twice"
  return entries.some(([, dots]) => dots.size === 0) ? "an element without a dot" : undefined
}

/** @internal What no deltas lead to. */
export const problemOfSet = (vector: VersionVector, entries: Entries, pending: Entries): string | undefined =>
  problemOfDots(vector, entries.map(([, dots]) => dots)) ?? problemOfPending(vector, pending.map(([, dots]) => dots))

/** @internal A dot that was never given away, or twice. */
export const problemOfDots = (vector: VersionVector, all: ReadonlyArray<VersionVector>): string | undefined => {
  const taken = new Map<string, Set<number>>()
  for (const dots of all) {
    for (const [replica, version] of dots) {
      if (version > seenOf(vector, replica)) return `a dot of replica '${replica}' that the vector has not seen`
      const versions = taken.get(replica) ?? new Set()
      if (versions.has(version)) return `dot ${version} of replica '${replica}' twice`
      taken.set(replica, versions.add(version))
    }
  }
  return undefined
}

/** @internal A dot that is to come though it was seen. */
export const problemOfPending = (vector: VersionVector, all: ReadonlyArray<VersionVector>): string | undefined => {
  for (const dots of all) {
    for (const [replica, version] of dots) {
      if (version <= seenOf(vector, replica)) return `a dot of replica '${replica}' is to come that the vector has seen`
    }
  }
  return undefined
}

/** @internal With other dots, or without the element if there are none. */
export const setDots = <A>(entries: Dotted<A>, element: A, dots: VersionVector): Dotted<A> =>
  dots.size > 0 ? HashMap.set(entries, element, dots) : HashMap.remove(entries, element)

/** @internal Nothing is to come of what was seen. */
export const stillToCome = <A>(pending: Dotted<A>, vector: VersionVector): Dotted<A> => {
  let remaining = pending
  for (const [element, dots] of pending) remaining = setDots(remaining, element, beyond(dots, vector))
  return remaining
}

/** @internal The elements in an order that is the same everywhere. */
export const entriesInOrder = <A>(entries: Dotted<A>): ReadonlyArray<readonly [A, VersionVector]> =>
  inOrderOf(HashMap.toEntries(entries), ([, dots]) => dots)
