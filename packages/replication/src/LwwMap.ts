/**
 * A map whose values every replica may overwrite: the last write of a key wins, and one wins over a concurrent removal of the key.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Parts, Written } from "./DottedMap.ts"
import * as Dotted from "./internal/dottedMap.ts"
import * as LwwRegister from "./LwwRegister.ts"
import * as MapValue from "./MapValue.ts"
import * as OrMap from "./OrMap.ts"

/**
 * A map with values that are `LwwRegister`s. What holds of an `OrMap` holds of it: how deltas have to come, what it costs, and when keys are equal.
 *
 * @category models
 * @since 0.1.0
 */
export interface LwwMap<out K, out A> extends OrMap.OrMap<K, Parts<Written<A>>> {}

/**
 * A change of a map: the event.
 *
 * @category models
 * @since 0.1.0
 */
export type Delta<K, A> = OrMap.Delta<K, Written<A>>

const maps = <K, A>(key: Schema.Codec<K, any>, value: Schema.Codec<A, any>) =>
  // there is no key without a write
  OrMap.make(key, MapValue.lwwRegister(value, undefined as A))

/** What needs no schema. */
const any = maps<any, any>(Schema.Any, Schema.Any)

/**
 * The map as a schema, by those of keys and values. What no deltas lead to is refused.
 *
 * @category schemas
 * @since 0.1.0
 */
export const schema = <K, A>(
  key: Schema.Codec<K, any>,
  value: Schema.Codec<A, any>
): Schema.Codec<LwwMap<K, A>, unknown> => maps(key, value).schema

/**
 * The delta as a schema, by those of keys and values.
 *
 * @category schemas
 * @since 0.1.0
 */
export const delta = <K, A>(
  key: Schema.Codec<K, any>,
  value: Schema.Codec<A, any>
): Schema.Codec<Delta<K, A>, unknown> => maps(key, value).delta

/**
 * The map without keys.
 *
 * @category constants
 * @since 0.1.0
 */
export const empty: LwwMap<never, never> = Dotted.empty

/**
 * The delta that writes the value of a key, at the time of the replica's clock, or just after the last write of the key that the map has seen. Apply it before you
 * make the next delta of the same map.
 *
 * **Example** (The last write wins)
 *
 * ```ts
 * import { LwwMap } from "@sluice/replication"
 * import { Option } from "effect"
 *
 * const inEurope = LwwMap.put(LwwMap.empty, "eu", 1_000, "title", "Tea")
 * const inAsia = LwwMap.put(LwwMap.empty, "asia", 1_001, "title", "Green tea")
 * const map = LwwMap.apply(LwwMap.apply(LwwMap.empty, inEurope), inAsia)
 * Option.getOrNull(LwwMap.get(map, "title")) // => "Green tea"
 * ```
 *
 * @category deltas
 * @since 0.1.0
 */
export const put = <K, A>(self: LwwMap<K, A>, replica: string, time: number, key: K, value: A): Delta<K, A> =>
  any.update(self, replica, key, (register) => LwwRegister.write(register, replica, time, value))

/**
 * The delta that removes a key, as far as this map has seen its writes. It is harmless where the key is not there.
 *
 * @category deltas
 * @since 0.1.0
 */
export const remove = <K, A>(self: LwwMap<K, A>, replica: string, key: K): Delta<K, A> => any.remove(self, replica, key)

/**
 * The delta that removes all keys.
 *
 * @category deltas
 * @since 0.1.0
 */
export const clear = <K, A>(self: LwwMap<K, A>, replica: string): Delta<K, A> => any.clear(self, replica)

/**
 * The map after a delta. Throws a `RangeError` where a write has a number that was seen: it was applied before, or was made from the same map as another one,
 * which would be lost.
 *
 * @category combinators
 * @since 0.1.0
 */
export const apply = <K, A>(self: LwwMap<K, A>, delta: Delta<K, A>): LwwMap<K, A> => any.apply(self, delta)

/**
 * The value of a key.
 *
 * @category getters
 * @since 0.1.0
 */
export const get = <K, A>(self: LwwMap<K, A>, key: K): Option.Option<A> =>
  Option.map(any.get(self, key), ({ value }) => value)

/**
 * Whether the map has the key.
 *
 * @category getters
 * @since 0.1.0
 */
export const has = <K, A>(self: LwwMap<K, A>, key: K): boolean => any.has(self, key)

/**
 * The keys, in an order that is the same everywhere.
 *
 * @category getters
 * @since 0.1.0
 */
export const keys = <K, A>(self: LwwMap<K, A>): ReadonlyArray<K> => any.keys(self)

/**
 * The keys with their values, in an order that is the same everywhere.
 *
 * @category getters
 * @since 0.1.0
 */
export const entries = <K, A>(self: LwwMap<K, A>): ReadonlyArray<readonly [key: K, value: A]> =>
  any.entries(self).map(([key, { value }]) => [key, value])

/**
 * How many keys the map has.
 *
 * @category getters
 * @since 0.1.0
 */
export const size = <K, A>(self: LwwMap<K, A>): number => any.size(self)
