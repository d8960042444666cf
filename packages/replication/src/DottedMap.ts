/**
 * What maps of CRDTs consist of: keys with the dots of their updates, and values in which the parts of each replica can be told apart. `OrMap` and
 * `LwwMap` are read and changed by their own functions.
 *
 * @since 0.1.0
 */
import type { VersionVector } from "@sluice/core/ReplicationMetadata"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type * as HashMap from "effect/HashMap"
import type * as HashSet from "effect/HashSet"
import type * as Schema from "effect/Schema"
import type * as LwwTime from "./LwwTime.ts"

/**
 * A kind of values: `V` as it is read, changed by deltas `D`. A map keeps it as `S`, in which what each replica has put there can be told apart, and writes
 * of a delta `W`, which is enough for those who have less of the value.
 *
 * @category models
 * @since 0.1.0
 */
export interface Kind<V, D, S, W> {
  readonly empty: S
  readonly store: Schema.Codec<S, any>
  readonly written: Schema.Codec<W, any>
  /** The value, where the map has seen so much. */
  readonly read: (store: S, vector: VersionVector) => V
  /** What a map puts into its own delta for a delta of the value. */
  readonly write: (store: S, vector: VersionVector, replica: string, delta: D) => W
  /** How many dots of the replica the value itself has used, after a write. */
  readonly used: (written: W, replica: string) => number
  /** What a map keeps after a write of a replica. */
  readonly apply: (store: S, vector: VersionVector, replica: string, written: W) => S
  /** Without what was written up to those numbers; the writes that remain are given as dots of their key. */
  readonly forget: (store: S, removed: VersionVector, left: VersionVector) => S
  /** Without what waits for writes that were seen. */
  readonly settle: (store: S, vector: VersionVector) => S
  /** Whether it waits for none. */
  readonly isSettled: (store: S) => boolean
  /** What makes it something that no writes lead to, if anything. */
  readonly problemOf: (store: S, dots: VersionVector, vector: VersionVector) => string | undefined
}

/**
 * What a map keeps of a key.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry<out S> {
  /** The newest write of each replica that was not removed. A key without one is not in the map. */
  readonly dots: VersionVector
  /** Which writes that are still to come were removed already. */
  readonly removed: VersionVector
  readonly store: S
}

/**
 * The keys of a map, each with the dots of its updates and its value as the map keeps it.
 *
 * @category models
 * @since 0.1.0
 */
export interface DottedMap<out K, out S> {
  readonly vector: VersionVector
  readonly entries: HashMap.HashMap<K, Entry<S>>
  /** The keys that wait for writes to come. */
  readonly waiting: HashSet.HashSet<K>
}

/**
 * A value was updated.
 *
 * @category models
 * @since 0.1.0
 */
export interface Updated<out K, out W> {
  readonly _tag: "OrMapUpdated"
  readonly replica: string
  readonly version: SequenceNumber
  readonly key: K
  readonly written: W
}

/**
 * Keys were removed, as far as the replica had seen their updates.
 *
 * @category models
 * @since 0.1.0
 */
export interface Removed<out K> {
  readonly _tag: "OrMapRemoved"
  readonly replica: string
  readonly keys: ReadonlyArray<K>
  readonly vector: VersionVector
}

/**
 * What each replica has put into a value, all of it. The newest one counts.
 *
 * @category models
 * @since 0.1.0
 */
export type Parts<P> = ReadonlyMap<string, P>

/**
 * What a replica has written into a last-write-wins register, and when.
 *
 * @category models
 * @since 0.1.0
 */
export interface Written<out A> {
  readonly written: LwwTime.LwwTime
  readonly value: A
}

/**
 * What a replica has written into a register that keeps concurrent writes, and which writes it had seen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen<out A> {
  readonly vector: VersionVector
  readonly value: A
}
