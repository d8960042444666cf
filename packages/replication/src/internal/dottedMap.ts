/** The map that OrMap and LwwMap are: keys with dots, and with values of a kind. */
import type { VersionVector } from "@sluice/core/ReplicationMetadata"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import type { DottedMap, Entry, Kind, Removed, Updated } from "../DottedMap.ts"
import { merge } from "../VersionVector.ts"
import { isRepeated, problemOfDots, problemOfPending } from "./sets.ts"
import { beyond, inOrderOf, next, refuseTwin, seenOf, Vector, Version } from "./vectors.ts"

/** @internal */
export const empty: DottedMap<never, never> = {
  vector: new Map(),
  entries: HashMap.empty(),
  waiting: HashSet.empty()
}

const none: VersionVector = new Map()

const isWaiting = <S>(kind: Kind<any, any, S, any>, { removed, store }: Entry<S>): boolean =>
  removed.size > 0 || !kind.isSettled(store)

/** @internal */
export const schema = <K, I, S>(key: Schema.Codec<K, I>, kind: Kind<any, any, S, any>) => {
  const Encoded = Schema.Struct({
    vector: Vector,
    entries: Schema.Array(
      Schema.Struct({ key, dots: Vector, removed: Vector, store: kind.store as Schema.Codec<S, unknown> })
    )
  }).check(Schema.makeFilter(({ entries, vector }) => {
    if (isRepeated(entries.map(({ key }) => key))) return "a key that is there twice"
    const dots = entries.map(({ dots }) => dots)
    const problem = problemOfDots(vector, dots) ?? problemOfPending(vector, entries.map(({ removed }) => removed))
    if (problem !== undefined) return problem
    for (const entry of entries) {
      if (entry.dots.size === 0 && !isWaiting(kind, entry)) return "a key without a dot"
      const problem = kind.problemOf(entry.store, entry.dots, vector)
      if (problem !== undefined) return problem
    }
    return undefined
  }))
  return Encoded.pipe(
    Schema.decodeTo(Schema.declare<DottedMap<K, S>>(isDottedMap), {
      decode: SchemaGetter.transform(({ entries, vector }): DottedMap<K, S> => ({
        vector,
        entries: HashMap.fromIterable(entries.map(({ key, ...entry }) => [key, entry])),
        waiting: HashSet.fromIterable(entries.flatMap(({ key, ...entry }) => isWaiting(kind, entry) ? [key] : []))
      })),
      encode: SchemaGetter.transform(({ entries, vector }) => ({
        vector,
        entries: inOrder(entries).map(([key, entry]) => ({ key, ...entry }))
      }))
    })
  )
}

const isDottedMap = (u: unknown): u is DottedMap<any, any> =>
  typeof u === "object" && u !== null && "vector" in u && u.vector instanceof Map && "entries" in u &&
  HashMap.isHashMap(u.entries) && "waiting" in u && HashSet.isHashSet(u.waiting)

/** @internal */
export const delta = <K, I, W>(key: Schema.Codec<K, I>, kind: Kind<any, any, any, W>) =>
  Schema.Union([
    Schema.TaggedStruct("OrMapUpdated", {
      replica: Schema.String,
      version: Version,
      key,
      written: kind.written as Schema.Codec<W, unknown>
    }).check(Schema.makeFilter(({ replica, version, written }) =>
      kind.used(written, replica) > version ? `dots that replica '${replica}' has not given away` : undefined
    )),
    Schema.TaggedStruct("OrMapRemoved", { replica: Schema.String, keys: Schema.Array(key), vector: Vector })
  ])

const entryOf = <K, S>(self: DottedMap<K, S>, kind: Kind<any, any, S, any>, key: K): Entry<S> =>
  Option.getOrElse(HashMap.get(self.entries, key), () => ({ dots: none, removed: none, store: kind.empty }))

/** @internal */
export const update = <K, V, D, S, W>(
  self: DottedMap<K, S>,
  kind: Kind<V, D, S, W>,
  replica: string,
  key: K,
  f: (value: V) => D
): Updated<K, W> => {
  const { store } = entryOf(self, kind, key)
  const written = kind.write(store, self.vector, replica, f(kind.read(store, self.vector)))
  const version = Math.max(next(self.vector, replica), kind.used(written, replica))
  return { _tag: "OrMapUpdated", replica, version: SequenceNumber.make(version), key, written }
}

/** @internal */
export const remove = <K>(self: DottedMap<K, unknown>, replica: string, keys: Iterable<K>): Removed<K> => ({
  _tag: "OrMapRemoved",
  replica,
  keys: Array.from(keys),
  vector: self.vector
})

/** @internal */
export const apply = <K, S, W>(
  self: DottedMap<K, S>,
  kind: Kind<any, any, S, W>,
  delta: Updated<K, W> | Removed<K>
): DottedMap<K, S> => {
  if (delta._tag === "OrMapRemoved") {
    const toCome = beyond(delta.vector, self.vector)
    return delta.keys.reduce((map, key) => {
      const entry = entryOf(map, kind, key)
      const dots = beyond(entry.dots, delta.vector)
      const store = kind.forget(entry.store, delta.vector, dots)
      return settle(map, kind, key, { dots, removed: merge(entry.removed, toCome), store })
    }, self)
  }
  const { key, replica, version, written } = delta
  const { vector } = self
  if (version <= seenOf(vector, replica)) refuseTwin("map", replica, version)
  const entry = entryOf(self, kind, key)
  const store = kind.apply(entry.store, vector, replica, written)
  const updated = { ...self, vector: new Map(vector).set(replica, version) }
  const isRemoved = version <= seenOf(entry.removed, replica)
  const after = settle(
    updated,
    kind,
    key,
    isRemoved
      ? { ...entry, store: kind.forget(store, entry.removed, entry.dots) }
      : { ...entry, store, dots: new Map(entry.dots).set(replica, version) }
  )
  // the others wait for something that this may have been
  return HashSet.reduce(after.waiting, after, (map, key) => settle(map, kind, key, entryOf(map, kind, key)))
}

/** The map with an entry that waits for nothing that was seen, or without it if nothing is left of it. */
const settle = <K, S>(
  self: DottedMap<K, S>,
  kind: Kind<any, any, S, any>,
  key: K,
  entry: Entry<S>
): DottedMap<K, S> => {
  const settled = {
    dots: entry.dots,
    removed: beyond(entry.removed, self.vector),
    store: kind.settle(entry.store, self.vector)
  }
  const waits = isWaiting(kind, settled)
  const { entries, vector, waiting } = self
  return {
    vector,
    entries: waits || settled.dots.size > 0 ? HashMap.set(entries, key, settled) : HashMap.remove(entries, key),
    waiting: waits ? HashSet.add(waiting, key) : HashSet.remove(waiting, key)
  }
}

/** @internal */
export const get = <K, V, S>(self: DottedMap<K, S>, kind: Kind<V, any, S, any>, key: K): Option.Option<V> =>
  Option.flatMap(
    HashMap.get(self.entries, key),
    ({ dots, store }) => dots.size > 0 ? Option.some(kind.read(store, self.vector)) : Option.none()
  )

/** @internal */
export const has = <K>(self: DottedMap<K, unknown>, key: K): boolean =>
  Option.exists(HashMap.get(self.entries, key), ({ dots }) => dots.size > 0)

const inOrder = <K, S>(entries: HashMap.HashMap<K, Entry<S>>) =>
  inOrderOf(HashMap.toEntries(entries), ([, { dots }]) => dots)

/** @internal */
export const entries = <K, V, S>(
  self: DottedMap<K, S>,
  kind: Kind<V, any, S, any>
): ReadonlyArray<readonly [K, V]> =>
  inOrder(self.entries).flatMap(([key, { dots, store }]) =>
    dots.size > 0 ? [[key, kind.read(store, self.vector)] as const] : []
  )

/** @internal */
export const keys = <K>(self: DottedMap<K, unknown>): ReadonlyArray<K> =>
  inOrder(self.entries).flatMap(([key, { dots }]) => dots.size > 0 ? [key] : [])

/** @internal */
export const size = (self: DottedMap<unknown, unknown>): number =>
  HashSet.reduce(self.waiting, HashMap.size(self.entries), (size, key) => has(self, key) ? size : size - 1)
