/**
 * What the values of an {@link OrMap} may be.
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"
import type * as Counter from "./Counter.ts"
import type { Kind, Parts, Seen, Written } from "./DottedMap.ts"
import type * as GCounter from "./GCounter.ts"
import * as Kinds from "./internal/kinds.ts"
import type * as LwwRegister from "./LwwRegister.ts"
import type * as MvRegister from "./MvRegister.ts"
import type * as OrSet from "./OrSet.ts"

/**
 * A kind of values: `Value`, which a `Delta` changes. A map keeps it as `Store`, which tells apart what each replica has put there, and has
 * `W` in its own deltas.
 *
 * @category models
 * @since 0.1.0
 */
export interface MapValue<in out Value, in out Delta, in out Store, in out W> {
  readonly kind: Kind<Value, Delta, Store, W>
}

/**
 * Values that are `Counter`s. A removal takes away what the replicas have counted that it had seen, and not what one of them has that went on counting meanwhile.
 *
 * @category values
 * @since 0.1.0
 */
export const counter: MapValue<Counter.Counter, Counter.Delta, Parts<bigint>, bigint> = { kind: Kinds.counter }

/**
 * Values that are `GCounter`s, as with {@link counter}.
 *
 * @category values
 * @since 0.1.0
 */
export const gCounter: MapValue<GCounter.GCounter, GCounter.Delta, Parts<bigint>, bigint> = {
  kind: Kinds.gCounter
}

/**
 * Values that are `LwwRegister`s, with what they have before the first write. The last of those writes counts that were not removed.
 *
 * @category values
 * @since 0.1.0
 */
export const lwwRegister = <A, I>(
  value: Schema.Codec<A, I>,
  initial: NoInfer<A>
): MapValue<
  LwwRegister.LwwRegister<A>,
  LwwRegister.Delta<A>,
  Parts<Written<A>>,
  Written<A>
> => ({ kind: Kinds.lwwRegister(value, initial) })

/**
 * Values that are `MvRegister`s.
 *
 * @category values
 * @since 0.1.0
 */
export const mvRegister = <A, I>(
  value: Schema.Codec<A, I>
): MapValue<
  MvRegister.MvRegister<A>,
  MvRegister.Delta<A>,
  Parts<Seen<A>>,
  Seen<A>
> => ({ kind: Kinds.mvRegister(value) })

/**
 * Values that are `OrSet`s. A removal of the key takes away the elements that it had seen, and leaves those that were added meanwhile.
 *
 * @category values
 * @since 0.1.0
 */
export const orSet = <A, I>(
  element: Schema.Codec<A, I>
): MapValue<OrSet.OrSet<A>, OrSet.Delta<A>, OrSet.OrSet<A>, OrSet.Delta<A>> => ({ kind: Kinds.orSet(element) })
