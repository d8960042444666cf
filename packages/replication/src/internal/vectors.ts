/** Version vectors as the state and the deltas of CRDTs have them: how many writes of each replica were seen. */
import type { VersionVector } from "@sluice/core/ReplicationMetadata"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"

/** @internal The number of a write of a replica, from 1. */
export const Version = SequenceNumber.SequenceNumber.check(Schema.isGreaterThan(0))

/** @internal In code units, as Java compares strings: which replica comes first is the same everywhere. */
export const byText = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0

/** @internal The entries in the order of the replicas: equal vectors are written as the same text. */
export const entriesOf = (vector: VersionVector): ReadonlyArray<readonly [string, SequenceNumber.SequenceNumber]> =>
  Array.from(vector).toSorted(([a], [b]) => byText(a, b))

/** @internal What makes entries no vector, if anything. */
export const repeated = (entries: ReadonlyArray<readonly [string, unknown]>): string | undefined => {
  const seen = new Set<string>()
  for (const [replica] of entries) {
    if (seen.has(replica)) return `two entries of replica '${replica}'`
    seen.add(replica)
  }
  return undefined
}

const vectorOf = (
  entries: Schema.Codec<
    ReadonlyArray<readonly [string, SequenceNumber.SequenceNumber]>,
    ReadonlyArray<readonly [string, number]>
  >
): Schema.Codec<VersionVector, ReadonlyArray<readonly [string, number]>> =>
  entries.pipe(
    Schema.decodeTo(Schema.declare((u): u is VersionVector => u instanceof Map), {
      decode: SchemaGetter.transform((entries) => new Map(entries)),
      encode: SchemaGetter.transform(entriesOf)
    })
  )

/** @internal A vector, in JSON an array of pairs. */
export const Vector = vectorOf(
  Schema.Array(Schema.Tuple([Schema.String, Version])).check(Schema.makeFilter((entries) => repeated(entries)))
)

/** @internal The same of what an entity has seen, which may come from elsewhere. */
export const EntityVector = vectorOf(Schema.Array(Schema.Tuple([Schema.String, SequenceNumber.SequenceNumber])))

/** @internal How many writes of the replica were seen. */
export const seenOf = (vector: VersionVector, replica: string): number => vector.get(replica) ?? 0

/** @internal The number of the next write of the replica. */
export const next = (vector: VersionVector, replica: string): SequenceNumber.SequenceNumber =>
  SequenceNumber.make(seenOf(vector, replica) + 1)

/** @internal The entries that go beyond what the other has seen. */
export const beyond = (vector: VersionVector, seen: VersionVector): VersionVector => {
  for (const [replica, version] of vector) {
    if (version <= seenOf(seen, replica)) {
      return new Map(Array.from(vector).filter(([replica, version]) => version > seenOf(seen, replica)))
    }
  }
  return vector
}

/**
 * @internal
 * In the order of their dots: of the first replica's id, and the number there. As no two have the same dot, it is the same order everywhere.
 */
export const inOrderOf = <A>(entries: ReadonlyArray<A>, dotsOf: (entry: A) => VersionVector): ReadonlyArray<A> =>
  entries.map((entry) => {
    let [first, ...others] = dotsOf(entry)
    for (const dot of others) if (dot[0] < first![0]) first = dot
    const [replica, version] = first ?? ["", 0]
    return { entry, replica, version }
  }).toSorted((a, b) => byText(a.replica, b.replica) || a.version - b.version).map(({ entry }) => entry)

/** @internal Refuses a write that has the number of another one of its replica. */
export const refuseTwin = (what: string, replica: string, version: number): never => {
  throw new RangeError(
    `Two writes of replica '${replica}' to the same ${what} have the number ${version}: both were made from the same value. ` +
      "Apply each write before you make the next"
  )
}
