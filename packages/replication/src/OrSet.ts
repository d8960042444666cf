/**
 * A set that every replica may add to and remove from: of a concurrent addition and removal of an element, the addition wins.
 *
 * @since 0.1.0
 */
import type { VersionVector } from "@sluice/core/ReplicationMetadata"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Equal from "effect/Equal"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { entriesInOrder, problemOfSet, setDots, setSchema, stillToCome } from "./internal/sets.ts"
import { beyond, refuseTwin, seenOf, Vector, Version } from "./internal/vectors.ts"
import { merge as mergeVectors } from "./VersionVector.ts"

/**
 * A set of elements, which are equal if `Equal.equals` says so: structs, arrays, dates and classes by what is in them; `NaN` equals itself, and `-0` is 0.
 *
 * **Details**
 *
 * Each addition has a *dot*: its replica, and its number among the additions of that replica. A removal takes away the dots that its replica had seen,
 * so an addition that it had not seen stays. Deltas of one replica have to come in their order; those of several in any order; and an addition or a removal that comes
 * twice does nothing. A replicated entity sees to more than that.
 *
 * It has, for each of its elements, a dot of each replica that has added it, and one number a replica. A removed element leaves nothing behind, except for
 * the time that an addition is still to come which its removal has seen already.
 *
 * @category models
 * @since 0.1.0
 */
export interface OrSet<out A> {
  /** The number of additions of each replica that were seen. */
  readonly vector: VersionVector
  /** The elements, each with the newest of its dots of each replica. */
  readonly entries: HashMap.HashMap<A, VersionVector>
  /** Which additions that are still to come were removed already. */
  readonly pending: HashMap.HashMap<A, VersionVector>
}

/**
 * A change of a set: the event.
 *
 * @category models
 * @since 0.1.0
 */
export type Delta<A> = AtomicDelta<A> | Group<A>

/**
 * A change of a set that is no group of changes.
 *
 * @category models
 * @since 0.1.0
 */
export type AtomicDelta<A> = Added<A> | Removed<A> | Merged<A>

/**
 * Elements were added, each with the number of the addition among those of the replica.
 *
 * @category models
 * @since 0.1.0
 */
export interface Added<out A> {
  readonly _tag: "OrSetAdded"
  readonly replica: string
  readonly elements: ReadonlyArray<readonly [element: A, version: SequenceNumber.SequenceNumber]>
}

/**
 * Elements were removed, as far as the replica had seen them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Removed<out A> {
  readonly _tag: "OrSetRemoved"
  readonly replica: string
  readonly elements: ReadonlyArray<A>
  /** The additions that the replica had seen. */
  readonly vector: VersionVector
}

/**
 * The set has become one with another: what that lacks and has seen is removed, what it has is added. With an empty one, the set was cleared.
 *
 * @category models
 * @since 0.1.0
 */
export interface Merged<out A> {
  readonly _tag: "OrSetMerged"
  readonly replica: string
  readonly set: OrSet<A>
}

/**
 * Several changes in one event, as Akka writes them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Group<out A> {
  readonly _tag: "OrSetGroup"
  readonly deltas: ReadonlyArray<AtomicDelta<A>>
}

/**
 * The set in JSON, in one order whatever the order of the deltas.
 *
 * @category models
 * @since 0.1.0
 */
export interface Encoded<out I> {
  readonly vector: ReadonlyArray<readonly [replica: string, version: number]>
  readonly entries: ReadonlyArray<
    readonly [element: I, dots: ReadonlyArray<readonly [replica: string, version: number]>]
  >
  readonly pending: ReadonlyArray<
    readonly [element: I, dots: ReadonlyArray<readonly [replica: string, version: number]>]
  >
}

/**
 * The set as a schema, by that of its elements. What no deltas lead to is refused: an element twice, a dot twice, or one that the vector has not seen.
 *
 * @category schemas
 * @since 0.1.0
 */
export const schema = <A, I>(element: Schema.Codec<A, I>): Schema.Codec<OrSet<A>, Encoded<I>> =>
  setSchema(element, problemOfSet)

/**
 * The delta as a schema, by that of the elements.
 *
 * @category schemas
 * @since 0.1.0
 */
export const delta = <A, I>(element: Schema.Codec<A, I>) => {
  const replica = Schema.String
  const Added = Schema.TaggedStruct("OrSetAdded", { replica, elements: Schema.Array(Schema.Tuple([element, Version])) })
  const Removed = Schema.TaggedStruct("OrSetRemoved", { replica, elements: Schema.Array(element), vector: Vector })
  const Merged = Schema.TaggedStruct("OrSetMerged", { replica, set: schema(element) })
  const Group = Schema.TaggedStruct("OrSetGroup", { deltas: Schema.Array(Schema.Union([Added, Removed, Merged])) })
  return Schema.Union([Added, Removed, Merged, Group])
}

/**
 * The set without elements.
 *
 * @category constants
 * @since 0.1.0
 */
export const empty: OrSet<never> = { vector: new Map(), entries: HashMap.empty(), pending: HashMap.empty() }

/**
 * The delta that adds an element.
 *
 * **Gotchas**
 *
 * Apply it before you make the next delta of the same set. Two additions that were made from one set have the same dot, and `apply` refuses the second one:
 * add several elements with `addAll`.
 *
 * **Example** (The addition wins)
 *
 * ```ts
 * import { OrSet } from "@sluice/replication"
 *
 * const added = OrSet.add(OrSet.empty, "eu", "tea")
 * const both = OrSet.apply(OrSet.empty, added)
 *
 * // one replica removes it while another one adds it again
 * const removed = OrSet.remove(both, "us", "tea")
 * const again = OrSet.add(both, "eu", "tea")
 * const us = [removed, again].reduce(OrSet.apply, both)
 * const eu = [again, removed].reduce(OrSet.apply, both)
 * OrSet.values(us) // => ["tea"]
 * OrSet.values(eu) // => ["tea"]
 * ```
 *
 * @category deltas
 * @since 0.1.0
 */
export const add = <A>(self: OrSet<A>, replica: string, element: A): Added<A> => addAll(self, replica, [element])

/**
 * The delta that adds elements.
 *
 * @category deltas
 * @since 0.1.0
 */
export const addAll = <A>(self: OrSet<A>, replica: string, elements: Iterable<A>): Added<A> => {
  const seen = seenOf(self.vector, replica)
  return {
    _tag: "OrSetAdded",
    replica,
    elements: Array.from(elements, (element, i) => [element, SequenceNumber.make(seen + i + 1)])
  }
}

/**
 * The delta that removes an element, as far as this set has seen it. It is harmless where the element is not there.
 *
 * @category deltas
 * @since 0.1.0
 */
export const remove = <A>(self: OrSet<A>, replica: string, element: A): Removed<A> =>
  removeAll(self, replica, [element])

/**
 * The delta that removes elements.
 *
 * @category deltas
 * @since 0.1.0
 */
export const removeAll = <A>(self: OrSet<A>, replica: string, elements: Iterable<A>): Removed<A> => ({
  _tag: "OrSetRemoved",
  replica,
  elements: Array.from(elements),
  vector: self.vector
})

/**
 * The delta that removes all elements which this set has seen.
 *
 * @category deltas
 * @since 0.1.0
 */
export const clear = <A>(self: OrSet<A>, replica: string): Merged<A> => ({
  _tag: "OrSetMerged",
  replica,
  set: { ...empty, vector: self.vector }
})

/**
 * The set after a delta. Throws a `RangeError` where an addition has the dot of another element that is there: both were made from the same set, and one
 * would be lost.
 *
 * @category combinators
 * @since 0.1.0
 */
export const apply = <A>(self: OrSet<A>, delta: Delta<A>): OrSet<A> => {
  switch (delta._tag) {
    case "OrSetAdded":
      return applyAdded(self, delta)
    case "OrSetRemoved":
      return applyRemoved(self, delta)
    case "OrSetMerged":
      return merge(self, delta.set)
    case "OrSetGroup":
      return delta.deltas.reduce<OrSet<A>>(apply, self)
  }
}

const applyAdded = <A>(self: OrSet<A>, { elements, replica }: Added<A>): OrSet<A> => {
  const seen = seenOf(self.vector, replica)
  let { entries } = self
  let newest = seen
  for (const [element, version] of elements) {
    const dots = dotsOf(entries, element)
    if (version <= seen) {
      // it was seen before, and may have been removed since
      refuseOther(entries, element, replica, version)
      continue
    }
    newest = Math.max(newest, version)
    if (version <= seenOf(dotsOf(self.pending, element), replica) || version <= seenOf(dots, replica)) continue
    entries = HashMap.set(entries, element, new Map(dots).set(replica, version))
  }
  if (newest === seen) return self
  const vector = new Map(self.vector).set(replica, SequenceNumber.make(newest))
  return { vector, entries, pending: stillToCome(self.pending, vector) }
}

/** A dot is of one element. */
const refuseOther = <A>(
  entries: HashMap.HashMap<A, VersionVector>,
  element: A,
  replica: string,
  version: number
): void => {
  for (const [other, dots] of entries) {
    if (dots.get(replica) === version && !Equal.equals(other, element)) refuseTwin("OrSet", replica, version)
  }
}

const applyRemoved = <A>(self: OrSet<A>, { elements, vector }: Removed<A>): OrSet<A> => {
  let { entries, pending } = self
  const toCome = beyond(vector, self.vector)
  for (const element of elements) {
    entries = setDots(entries, element, beyond(dotsOf(entries, element), vector))
    pending = setDots(pending, element, mergeVectors(dotsOf(pending, element), toCome))
  }
  return { vector: self.vector, entries, pending }
}

/**
 * What two sets make together: the elements of both, except those that one has seen and no longer has.
 *
 * @category combinators
 * @since 0.1.0
 */
export const merge = <A>(self: OrSet<A>, that: OrSet<A>): OrSet<A> => {
  let entries = HashMap.empty<A, VersionVector>()
  const keep = (mine: OrSet<A>, theirs: OrSet<A>) => {
    for (const [element, dots] of mine.entries) {
      const others = dotsOf(theirs.entries, element)
      const removed = dotsOf(theirs.pending, element)
      const kept = Array.from(dots).filter(([replica, version]) =>
        version > seenOf(removed, replica) &&
        (version > seenOf(theirs.vector, replica) || version === others.get(replica))
      )
      entries = setDots(entries, element, new Map([...dotsOf(entries, element), ...kept]))
    }
  }
  keep(self, that)
  keep(that, self)
  let { pending } = self
  for (const [element, dots] of that.pending) {
    pending = HashMap.set(pending, element, mergeVectors(dotsOf(pending, element), dots))
  }
  const vector = mergeVectors(self.vector, that.vector)
  return { vector, entries, pending: stillToCome(pending, vector) }
}

const noDots: VersionVector = new Map()

const dotsOf = <A>(entries: HashMap.HashMap<A, VersionVector>, element: A): VersionVector =>
  Option.getOrElse(HashMap.get(entries, element), () => noDots)

/**
 * Whether the set has the element.
 *
 * @category getters
 * @since 0.1.0
 */
export const has = <A>(self: OrSet<A>, element: A): boolean => HashMap.has(self.entries, element)

/**
 * The elements, in an order that is the same everywhere.
 *
 * @category getters
 * @since 0.1.0
 */
export const values = <A>(self: OrSet<A>): ReadonlyArray<A> => entriesInOrder(self.entries).map(([element]) => element)

/**
 * How many elements the set has.
 *
 * @category getters
 * @since 0.1.0
 */
export const size = <A>(self: OrSet<A>): number => HashMap.size(self.entries)
