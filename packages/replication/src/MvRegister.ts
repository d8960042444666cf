/**
 * A value that every replica may overwrite: of concurrent writes all are kept, until somebody decides.
 *
 * @since 0.1.0
 */
import type { VersionVector } from "@sluice/core/ReplicationMetadata"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import * as Equal from "effect/Equal"
import * as Schema from "effect/Schema"
import { byText, next, refuseTwin, seenOf, Vector, Version } from "./internal/vectors.ts"
import { merge } from "./VersionVector.ts"

/**
 * The writes that no other has seen. There is one after a write, and several after concurrent ones.
 *
 * **Details**
 *
 * Its deltas may come in any order, and more than once. It has at most one value a replica, and a number a replica.
 *
 * @category models
 * @since 0.1.0
 */
export interface MvRegister<out A> {
  /** The writes of each replica that were seen or that a write has overwritten. */
  readonly vector: VersionVector
  /** In the order of the replicas' ids. */
  readonly writes: ReadonlyArray<Write<A>>
}

/**
 * A value that no write has overwritten, and where it comes from.
 *
 * @category models
 * @since 0.1.0
 */
export interface Write<out A> {
  readonly replica: string
  readonly version: SequenceNumber
  readonly value: A
}

/**
 * A write: the event. It overwrites what its vector has seen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delta<out A> {
  readonly _tag: "MvRegisterWritten"
  readonly replica: string
  /** What the replica had seen, this write included. */
  readonly vector: VersionVector
  readonly value: A
}

/**
 * The register as a schema, by that of its value.
 *
 * @category schemas
 * @since 0.1.0
 */
export const schema = <A, I>(value: Schema.Codec<A, I>) =>
  Schema.Struct({
    vector: Vector,
    writes: Schema.Array(Schema.Struct({ replica: Schema.String, version: Version, value }))
  }).check(Schema.makeFilter(({ vector, writes }) => {
    for (const [i, { replica, version }] of writes.entries()) {
      if (version > seenOf(vector, replica)) return `a write of replica '${replica}' that the vector has not seen`
      if (i > 0 && !(writes[i - 1]!.replica < replica)) return `replica '${replica}' is out of order, or has two writes`
    }
    return undefined
  }))

/**
 * The delta as a schema, by that of the value.
 *
 * @category schemas
 * @since 0.1.0
 */
export const delta = <A, I>(value: Schema.Codec<A, I>) =>
  Schema.TaggedStruct("MvRegisterWritten", { replica: Schema.String, vector: Vector, value }).check(
    Schema.makeFilter(({ replica, vector }) =>
      vector.has(replica) ? undefined : `the vector has not seen the write of replica '${replica}' itself`
    )
  )

/**
 * The register without a value.
 *
 * @category constants
 * @since 0.1.0
 */
export const empty: MvRegister<never> = { vector: new Map(), writes: [] }

/**
 * The delta that writes a value, over those that the register has.
 *
 * **Example** (Concurrent writes, and a decision)
 *
 * ```ts
 * import { MvRegister } from "@sluice/replication"
 *
 * const inEurope = MvRegister.write(MvRegister.empty, "eu", "Tea")
 * const inAsia = MvRegister.write(MvRegister.empty, "asia", "Green tea")
 * const both = MvRegister.apply(MvRegister.apply(MvRegister.empty, inEurope), inAsia)
 * MvRegister.values(both) // => ["Green tea", "Tea"]
 * const decided = MvRegister.apply(both, MvRegister.write(both, "eu", "Sencha"))
 * MvRegister.values(decided) // => ["Sencha"]
 * ```
 *
 * @category deltas
 * @since 0.1.0
 */
export const write = <A>(self: MvRegister<unknown>, replica: string, value: A): Delta<A> => ({
  _tag: "MvRegisterWritten",
  replica,
  vector: new Map(self.vector).set(replica, next(self.vector, replica)),
  value
})

/**
 * The register after a delta. Throws a `RangeError` where two writes of one replica have the same number and other values: both were made from the same
 * register, and one would be lost.
 *
 * @category combinators
 * @since 0.1.0
 */
export const apply = <A>(self: MvRegister<A>, delta: Delta<A>): MvRegister<A> => {
  const { replica, value, vector } = delta
  const version = vector.get(replica)!
  if (version <= seenOf(self.vector, replica)) {
    const known = self.writes.find((_) => _.replica === replica && _.version === version)
    if (known !== undefined && !Equal.equals(known.value, value)) refuseTwin("MvRegister", replica, version)
    return self
  }
  const writes = self.writes.filter((_) => _.version > seenOf(vector, _.replica))
  return {
    vector: merge(self.vector, vector),
    writes: [...writes, { replica, version, value }].toSorted((a, b) => byText(a.replica, b.replica))
  }
}

/**
 * The values that no write has overwritten, in the order of the ids of the replicas that wrote them: the same everywhere.
 *
 * @category getters
 * @since 0.1.0
 */
export const values = <A>(self: MvRegister<A>): ReadonlyArray<A> => self.writes.map(({ value }) => value)
