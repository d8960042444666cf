/**
 * A map whose values are CRDTs themselves, which every replica may update and remove: of a concurrent update and removal of a key, the update wins.
 *
 * @since 0.1.0
 */
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as DottedMap from "./DottedMap.ts"
import * as Dotted from "./internal/dottedMap.ts"
import type { MapValue } from "./MapValue.ts"

/**
 * A map. Its keys are equal if `Equal.equals` says so, as the elements of an `OrSet` are. `Store` is how it keeps the values.
 *
 * **Details**
 *
 * Each update has a *dot*: its replica, and its number among the updates of that replica. A removal takes away what its replica had seen of the key. A concurrent
 * update keeps the key, with what the replica of that update has put there itself.
 *
 * Deltas of one replica have to come in their order, and each of them once; those of several may come in any order. A replicated entity sees to that.
 *
 * It has one number a replica and, for each of its keys, a number and a part of the value of each replica that has updated it. A removed key leaves nothing
 * behind, except for the time that an update is still to come which its removal has seen already.
 *
 * @category models
 * @since 0.1.0
 */
export interface OrMap<out K, out Store> extends DottedMap.DottedMap<K, Store> {}

/**
 * A change of a map: the event.
 *
 * @category models
 * @since 0.1.0
 */
export type Delta<K, Written> = Updated<K, Written> | Removed<K>

/**
 * A value was updated.
 *
 * @category models
 * @since 0.1.0
 */
export interface Updated<out K, out Written> extends DottedMap.Updated<K, Written> {}

/**
 * Keys were removed, as far as the replica had seen their updates.
 *
 * @category models
 * @since 0.1.0
 */
export interface Removed<out K> extends DottedMap.Removed<K> {}

/**
 * What there is to do with maps of one type.
 *
 * @category models
 * @since 0.1.0
 */
export interface Maps<in out K, in out Value, in out ValueDelta, in out Store, in out Written> {
  /** What no deltas lead to is refused. */
  readonly schema: Schema.Codec<OrMap<K, Store>, unknown>
  readonly delta: Schema.Codec<Delta<K, Written>, unknown>
  readonly empty: OrMap<K, Store>
  /**
   * The delta that updates the value of a key by the value's own delta. A key that is not there has the empty value. Apply it before you make the
   * next delta of the same map.
   */
  readonly update: (
    self: OrMap<K, Store>,
    replica: string,
    key: K,
    f: (value: Value) => ValueDelta
  ) => Updated<K, Written>
  /** The delta that removes a key, as far as this map has seen its updates. It is harmless where the key is not there. */
  readonly remove: (self: OrMap<K, Store>, replica: string, key: K) => Removed<K>
  /** The delta that removes all keys. */
  readonly clear: (self: OrMap<K, Store>, replica: string) => Removed<K>
  /**
   * The map after a delta. Throws a `RangeError` where an update has a number that was seen: it was applied before, or was made from the same
   * map as another one, which would be lost.
   */
  readonly apply: (self: OrMap<K, Store>, delta: Delta<K, Written>) => OrMap<K, Store>
  /** The value of a key, if that is there. */
  readonly get: (self: OrMap<K, Store>, key: K) => Option.Option<Value>
  /** Whether a key is there. */
  readonly has: (self: OrMap<K, Store>, key: K) => boolean
  /** In an order that is the same everywhere. */
  readonly keys: (self: OrMap<K, Store>) => ReadonlyArray<K>
  /** In an order that is the same everywhere. */
  readonly entries: (self: OrMap<K, Store>) => ReadonlyArray<readonly [key: K, value: Value]>
  /** How many keys are there. */
  readonly size: (self: OrMap<K, Store>) => number
}

/**
 * Maps with keys of a schema, and with values of a kind.
 *
 * **Example** (A cart: a removal, and a concurrent update)
 *
 * ```ts
 * import { Counter, MapValue, OrMap } from "@sluice/replication"
 * import { Option, Schema } from "effect"
 *
 * const Cart = OrMap.make(Schema.String, MapValue.counter)
 *
 * const two = Cart.apply(Cart.empty, Cart.update(Cart.empty, "eu", "tea", () => Counter.increment(2)))
 * // one replica removes it while another one adds one more
 * const removed = Cart.remove(two, "eu", "tea")
 * const more = Cart.update(two, "us", "tea", () => Counter.increment(1))
 * const eu = [removed, more].reduce(Cart.apply, two)
 * const us = [more, removed].reduce(Cart.apply, two)
 * Cart.get(eu, "tea").pipe(Option.map(({ value }) => Number(value)), Option.getOrNull) // => 1
 * Cart.get(us, "tea").pipe(Option.map(({ value }) => Number(value)), Option.getOrNull) // => 1
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <K, I, Value, ValueDelta, Store, Written>(
  key: Schema.Codec<K, I>,
  { kind }: MapValue<Value, ValueDelta, Store, Written>
): Maps<K, Value, ValueDelta, Store, Written> => ({
  schema: Dotted.schema(key, kind),
  delta: Dotted.delta(key, kind),
  empty: Dotted.empty,
  update: (self, replica, key, f) => Dotted.update(self, kind, replica, key, f),
  remove: (self, replica, key) => Dotted.remove(self, replica, [key]),
  clear: (self, replica) => Dotted.remove(self, replica, Dotted.keys(self)),
  apply: (self, delta) => Dotted.apply(self, kind, delta),
  get: (self, key) => Dotted.get(self, kind, key),
  has: Dotted.has,
  keys: Dotted.keys,
  entries: (self) => Dotted.entries(self, kind),
  size: Dotted.size
})
