/** How a map keeps values of each kind. */
import type { VersionVector } from "@sluice/core/ReplicationMetadata"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import * as HashMap from "effect/HashMap"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import type * as Counter from "../Counter.ts"
import type { Kind, Parts, Seen, Written } from "../DottedMap.ts"
import type * as GCounter from "../GCounter.ts"
import type * as LwwRegister from "../LwwRegister.ts"
import * as LwwTime from "../LwwTime.ts"
import type * as MvRegister from "../MvRegister.ts"
import * as OrSet from "../OrSet.ts"
import { merge } from "../VersionVector.ts"
import { Amount, NaturalAmount } from "./amounts.ts"
import { problemOfDots, problemOfPending, setSchema, stillToCome } from "./sets.ts"
import { beyond, byText, repeated, seenOf, Vector } from "./vectors.ts"

const partsOf = <V, D, P, I>(options: {
  readonly part: Schema.Codec<P, I>
  readonly read: (parts: Parts<P>, vector: VersionVector) => V
  readonly write: (mine: P | undefined, delta: D) => P
  readonly used?: (part: P, replica: string) => number
}): Kind<V, D, Parts<P>, P> => ({
  empty: new Map(),
  store: Schema.Array(Schema.Tuple([Schema.String, options.part])).check(
    Schema.makeFilter((parts) => repeated(parts))
  ).pipe(
    Schema.decodeTo(Schema.declare((u): u is Parts<P> => u instanceof Map), {
      decode: SchemaGetter.transform((parts) => new Map(parts)),
      encode: SchemaGetter.transform((parts) => Array.from(parts).toSorted(([a], [b]) => byText(a, b)))
    })
  ),
  written: options.part,
  read: options.read,
  write: (parts, _, replica, delta) => options.write(parts.get(replica), delta),
  used: options.used ?? (() => 0),
  apply: (parts, _, replica, part) => new Map(parts).set(replica, part),
  forget: (parts, _, left) => new Map(Array.from(parts).filter(([replica]) => left.has(replica))),
  settle: (parts) => parts,
  isSettled: () => true,
  problemOf: (parts, dots) =>
    parts.size === dots.size && Array.from(parts.keys()).every((replica) => dots.has(replica))
      ? undefined
      : "a value whose parts are not those of the key's dots"
})

const sumOf = (parts: Parts<bigint>): bigint => {
  let sum = BigInt(0)
  for (const part of parts.values()) sum += part
  return sum
}

/** @internal */
export const counter: Kind<Counter.Counter, Counter.Delta, Parts<bigint>, bigint> = partsOf({
  part: Amount,
  read: (parts) => ({ value: sumOf(parts) }),
  write: (mine = BigInt(0), { amount }: Counter.Delta) => mine + amount
})

/** @internal */
export const gCounter: Kind<GCounter.GCounter, GCounter.Delta, Parts<bigint>, bigint> = partsOf({
  part: NaturalAmount,
  read: (parts) => ({ value: sumOf(parts) }),
  write: (mine = BigInt(0), { amount }: GCounter.Delta) => mine + amount
})

/** @internal */
export const lwwRegister = <A, I>(
  value: Schema.Codec<A, I>,
  initial: A
): Kind<LwwRegister.LwwRegister<A>, LwwRegister.Delta<A>, Parts<Written<A>>, Written<A>> =>
  partsOf({
    part: Schema.Struct({ written: LwwTime.schema, value }) as Schema.Codec<Written<A>, unknown>,
    read: (parts) => {
      let last: Written<A> = { written: LwwTime.first, value: initial }
      for (const part of parts.values()) if (LwwTime.isAfter(part.written, last.written)) last = part
      return last
    },
    write: (_, { value, written }: LwwRegister.Delta<A>) => ({ written, value })
  })

/** @internal */
export const mvRegister = <A, I>(
  value: Schema.Codec<A, I>
): Kind<MvRegister.MvRegister<A>, MvRegister.Delta<A>, Parts<Seen<A>>, Seen<A>> =>
  partsOf({
    part: Schema.Struct({ vector: Vector, value }) as Schema.Codec<Seen<A>, unknown>,
    read: (parts, seen) => {
      const all = Array.from(parts)
      const writes = all.flatMap(([replica, { value, vector }]) => {
        const version = seenOf(vector, replica) as SequenceNumber
        const isOverwritten = all.some(([other, { vector }]) => other !== replica && version <= seenOf(vector, replica))
        return isOverwritten ? [] : [{ replica, version, value }]
      }).toSorted((a, b) => byText(a.replica, b.replica))
      return { vector: all.reduce((vector, [, part]) => merge(vector, part.vector), seen), writes }
    },
    write: (_, { value, vector }: MvRegister.Delta<A>) => ({ vector, value }),
    // a part that has not seen itself is none
    used: ({ vector }, replica) => vector.get(replica) ?? Infinity
  })

const newestDot = (delta: OrSet.Delta<unknown>, replica: string): number => {
  switch (delta._tag) {
    case "OrSetAdded":
      return delta.replica === replica ? Math.max(0, ...delta.elements.map(([, version]) => version)) : Infinity
    case "OrSetRemoved":
      return seenOf(delta.vector, replica)
    case "OrSetMerged":
      return seenOf(delta.set.vector, replica)
    case "OrSetGroup":
      return delta.deltas.reduce((newest, delta) => Math.max(newest, newestDot(delta, replica)), 0)
  }
}

/**
 * @internal
 * A set that has, of its vector, only what goes beyond that of the map.
 */
export const orSet = <A, I>(
  element: Schema.Codec<A, I>
): Kind<OrSet.OrSet<A>, OrSet.Delta<A>, OrSet.OrSet<A>, OrSet.Delta<A>> => {
  const read = (set: OrSet.OrSet<A>, vector: VersionVector): OrSet.OrSet<A> => ({
    ...set,
    vector: merge(vector, set.vector)
  })
  return {
    empty: OrSet.empty,
    store: setSchema(element, () => undefined),
    written: OrSet.delta(element) as Schema.Codec<OrSet.Delta<A>, unknown>,
    read,
    write: (_set, _vector, _replica, delta) => delta,
    used: newestDot,
    apply: (set, vector, _, delta) => OrSet.apply(read(set, vector), delta),
    forget: (set, removed) => OrSet.merge(set, { ...OrSet.empty, vector: removed }),
    settle: ({ entries, pending, vector }, seen) => ({
      entries,
      pending: stillToCome(pending, seen),
      vector: beyond(vector, seen)
    }),
    isSettled: ({ pending, vector }) => vector.size === 0 && HashMap.size(pending) === 0,
    problemOf: ({ entries, pending, vector }, _, seen) =>
      problemOfDots(merge(seen, vector), Array.from(HashMap.values(entries))) ??
        problemOfPending(merge(seen, vector), Array.from(HashMap.values(pending)))
  }
}
