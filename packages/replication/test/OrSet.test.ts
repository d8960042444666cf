import { assert, describe, it } from "@effect/vitest"
import * as OrSet from "@sluice/replication/OrSet"
import * as DateTime from "effect/DateTime"
import * as Equal from "effect/Equal"
import * as HashMap from "effect/HashMap"
import * as Schema from "effect/Schema"
import { type Draw, type Op, type Order, runMany } from "./kit/deliveries.ts"

const Element = Schema.Struct({ sku: Schema.String })
type Element = typeof Element.Type
const elements: ReadonlyArray<Element> = ["tea", "milk", "salt", "rice"].map((sku) => ({ sku }))

const write = (set: OrSet.OrSet<Element>, replica: string, draw: Draw): OrSet.Delta<Element> => {
  // structs of their own, which are equal to others of the same content
  const element = { ...draw.of(elements) }
  const what = draw.below(20)
  if (what < 10) return OrSet.add(set, replica, element)
  if (what < 12) return OrSet.addAll(set, replica, [element, { ...draw.of(elements) }])
  if (what < 17) return OrSet.remove(set, replica, element)
  if (what < 18) return OrSet.removeAll(set, replica, [element, { ...draw.of(elements) }])
  if (what < 19) return OrSet.clear(set, replica)
  const removed = OrSet.remove(set, replica, element)
  const added = OrSet.add(OrSet.apply(set, removed), replica, draw.of(elements))
  return { _tag: "OrSetGroup", deltas: [removed, added] }
}

const atoms = (delta: OrSet.Delta<Element>): ReadonlyArray<OrSet.AtomicDelta<Element>> =>
  delta._tag === "OrSetGroup" ? delta.deltas : [delta]

/** What a delta says of an element, last. */
const says = (delta: OrSet.Delta<Element>, { sku }: Element): "added" | "removed" | undefined => {
  let said: "added" | "removed" | undefined
  for (const atom of atoms(delta)) {
    if (atom._tag === "OrSetMerged") said = "removed"
    else if (atom._tag === "OrSetAdded" && atom.elements.some(([element]) => element.sku === sku)) said = "added"
    else if (atom._tag === "OrSetRemoved" && atom.elements.some((element) => element.sku === sku)) said = "removed"
  }
  return said
}

/** Whether the addition of an element is among what the delta takes away where its replica had seen it. */
const removes = (delta: OrSet.Delta<Element>, { sku }: Element): boolean =>
  atoms(delta).some((atom) =>
    atom._tag === "OrSetMerged" ||
    (atom._tag === "OrSetRemoved" && atom.elements.some((element) => element.sku === sku))
  )

/** An element is there if there is an addition that no removal of it has seen. */
const expected = (ops: ReadonlyArray<Op<OrSet.Delta<Element>>>): ReadonlyArray<string> =>
  elements.filter((element) =>
    ops.some((addition) =>
      says(addition.delta, element) === "added" &&
      !ops.some((removal) => removes(removal.delta, element) && removal.seen.has(addition.id))
    )
  ).map(({ sku }) => sku).toSorted()

describe("an OrSet", () => {
  for (const order of ["causal", "origin"] satisfies ReadonlyArray<Order>) {
    it(`has what was added and not removed by one who had seen it, in ${order} order, some deltas twice`, () => {
      let mostPending = 0
      runMany(
        {
          state: OrSet.schema(Element),
          delta: OrSet.delta(Element),
          empty: OrSet.empty,
          apply: (set: OrSet.OrSet<Element>, delta) => {
            const after = OrSet.apply(set, delta)
            mostPending = Math.max(mostPending, HashMap.size(after.pending))
            return after
          },
          write
        },
        { order, repeats: true },
        (set, ops, seed) => {
          assert.deepStrictEqual(OrSet.values(set).map(({ sku }) => sku).toSorted(), expected(ops), `seed ${seed}`)
          assert.strictEqual(HashMap.size(set.pending), 0)
          assert.strictEqual(OrSet.size(set), OrSet.values(set).length)
        }
      )
      // only where a removal may come before what it has seen
      assert.strictEqual(mostPending > 0, order === "origin")
    })
  }

  it("is what two sets make together, in either order", () => {
    const one = [
      OrSet.addAll(OrSet.empty, "eu", ["a", "b", "c"])
    ].reduce<OrSet.OrSet<string>>(OrSet.apply, OrSet.empty)
    const left = OrSet.apply(one, OrSet.remove(one, "eu", "a"))
    const right = [OrSet.add(one, "us", "b"), OrSet.remove(one, "us", "c")].reduce<OrSet.OrSet<string>>(
      OrSet.apply,
      one
    )
    const both = OrSet.merge(left, right)
    assert.deepStrictEqual(OrSet.values(both), ["b"])
    assert.isTrue(Equal.equals(both, OrSet.merge(right, left)))
    assert.isTrue(Equal.equals(both, OrSet.merge(both, left)))
    assert.isTrue(Equal.equals(both, OrSet.merge(both, both)))
  })

  it("keeps nothing of what was removed, and one number a replica", () => {
    let set: OrSet.OrSet<string> = OrSet.empty
    for (let i = 0; i < 1_000; i++) {
      set = OrSet.apply(set, OrSet.add(set, "eu", `element-${i}`))
      set = OrSet.apply(set, OrSet.remove(set, "eu", `element-${i}`))
    }
    assert.strictEqual(OrSet.size(set), 0)
    assert.strictEqual(
      JSON.stringify(Schema.encodeSync(Schema.toCodecJson(OrSet.schema(Schema.String)))(set)),
      `{"vector":[["eu",1000]],"entries":[],"pending":[]}`
    )
  })

  it("refuses the second of two additions that were made from one set", () => {
    const added = OrSet.apply(OrSet.empty, OrSet.add(OrSet.empty, "eu", "a"))
    assert.throws(() => OrSet.apply(added, OrSet.add(OrSet.empty, "eu", "b")), "made from the same value")
    assert.strictEqual(OrSet.apply(added, OrSet.add(OrSet.empty, "eu", "a")), added)
  })

  it("takes no notice of a removal of what is not there", () => {
    const set = OrSet.apply(OrSet.empty, OrSet.add(OrSet.empty, "eu", "a"))
    assert.isTrue(Equal.equals(OrSet.apply(set, OrSet.remove(set, "us", "b")), set))
  })

  it("is not changed by what is made of it", () => {
    const set = OrSet.apply(OrSet.empty, OrSet.add(OrSet.empty, "eu", "a"))
    OrSet.apply(set, OrSet.clear(set, "us"))
    OrSet.apply(set, OrSet.add(set, "eu", "b"))
    assert.deepStrictEqual(OrSet.values(set), ["a"])
    assert.strictEqual(OrSet.size(OrSet.empty), 0)
  })
})

/** Another one of the same content, as another replica reads it. */
const sent = <A>(element: Schema.Codec<A, any>, value: A): A => {
  const json = Schema.fromJsonString(Schema.toCodecJson(element))
  return Schema.decodeSync(json)(Schema.encodeSync(json)(value))
}

const check = <A>(name: string, element: Schema.Codec<A, any>, value: A, same: A, others: ReadonlyArray<A>) => {
  it(`by what is in them: ${name}`, () => {
    let set: OrSet.OrSet<A> = OrSet.empty
    const apply = (delta: OrSet.Delta<A>) => {
      set = OrSet.apply(set, sent(OrSet.delta(element), delta))
    }
    apply(OrSet.add(set, "eu", value))
    apply(OrSet.addAll(set, "us", others))
    for (const _ of [value, same, sent(element, value)]) {
      assert.isTrue(OrSet.has(set, _))
      apply(OrSet.add(set, "asia", _))
    }
    assert.strictEqual(OrSet.size(set), 1 + others.length)
    set = sent(OrSet.schema(element), set)
    apply(OrSet.remove(set, "us", same))
    assert.isFalse(OrSet.has(set, value))
    assert.strictEqual(OrSet.size(set), others.length)
    for (const other of others) assert.isTrue(OrSet.has(set, other))
  })
}

describe("elements are the same", () => {
  class Item extends Schema.Class<Item>("Item")({ sku: Schema.String, at: Schema.DateTimeUtc }) {}

  check("NaN", Schema.Number, Number.NaN, Number.NaN, [0, Infinity])
  check("-0 and 0", Schema.Number, -0, 0, [1, Number.NaN])
  check("dates", Schema.Date, new Date(5), new Date(5), [new Date(6)])
  check("structs", Element, { sku: "tea" }, { sku: "tea" }, [{ sku: "milk" }])
  check("arrays", Schema.Array(Schema.Int), [1, 2], [1, 2], [[2, 1], []])
  check("bigints", Schema.BigInt, BigInt(7), BigInt("7"), [BigInt(8)])
  check("bytes", Schema.Uint8Array, Uint8Array.of(1, 2), Uint8Array.of(1, 2), [Uint8Array.of(2, 1)])
  const at = DateTime.makeUnsafe("2026-01-31T12:00:00Z")
  check("classes", Item, new Item({ sku: "a", at }), new Item({ sku: "a", at: DateTime.makeUnsafe(at) }), [
    new Item({ sku: "b", at })
  ])
})

describe("what is no set is not read", () => {
  const decode = Schema.decodeUnknownSync(Schema.toCodecJson(OrSet.schema(Schema.String)))
  const good = {
    vector: [["eu", 2], ["us", 1]],
    entries: [["a", [["eu", 1], ["us", 1]]], ["b", [["eu", 2]]]],
    pending: []
  }

  it("while a set is", () => {
    assert.deepStrictEqual(OrSet.values(decode(good)), ["a", "b"])
  })

  const bad: Record<string, unknown> = {
    "an element twice": { ...good, entries: [["a", [["eu", 1]]], ["a", [["eu", 2]]]] },
    "an element without a dot": { ...good, entries: [["a", []]] },
    "a dot twice": { ...good, entries: [["a", [["eu", 1]]], ["b", [["eu", 1]]]] },
    "two dots of a replica": { ...good, entries: [["a", [["eu", 1], ["eu", 2]]]] },
    "a dot that nobody gave away": { ...good, entries: [["a", [["eu", 3]]]] },
    "a dot of a replica that the vector lacks": { ...good, entries: [["a", [["asia", 1]]]] },
    "a dot below 1": { ...good, entries: [["a", [["eu", 0]]]] },
    "part of a number": { ...good, vector: [["eu", 2.5]] },
    "a number that is not exact": { ...good, vector: [["eu", 2 ** 53]] },
    "a replica twice": { ...good, vector: [["eu", 2], ["eu", 1], ["us", 1]] },
    "something to come that was seen": { ...good, pending: [["c", [["eu", 1]]]] },
    "an element of another type": { ...good, entries: [[1, [["eu", 1]]]] },
    "an object for the vector": { ...good, vector: { __proto__: null, eu: 2, us: 1 } },
    "no entries": { vector: [] },
    "nothing": null
  }
  for (const [name, json] of Object.entries(bad)) {
    it(name, () => {
      assert.throws(() => decode(json))
    })
  }

  it("nor is what is no delta", () => {
    const delta = Schema.decodeUnknownSync(Schema.toCodecJson(OrSet.delta(Schema.String)))
    const added = { _tag: "OrSetAdded", replica: "eu", elements: [["a", 1]] }
    assert.deepStrictEqual(delta(added), added as unknown as OrSet.Delta<string>)
    const group = { _tag: "OrSetGroup", deltas: [added] }
    assert.deepStrictEqual(delta(group), group as unknown as OrSet.Delta<string>)
    for (
      const json of [
        { ...added, elements: [["a", 0]] },
        { ...added, elements: [["a"]] },
        { ...added, elements: [[1, 1]] },
        { ...added, replica: undefined },
        { ...added, _tag: "Added" },
        { _tag: "OrSetRemoved", replica: "eu", elements: ["a"] },
        { _tag: "OrSetMerged", replica: "eu", set: bad["a dot twice"] },
        { ...group, deltas: [group] }
      ]
    ) assert.throws(() => delta(json))
  })

  it("and a replica's name is no property of an object", () => {
    const set = OrSet.apply(OrSet.empty, OrSet.add(OrSet.empty, "__proto__", "a"))
    const json = Schema.encodeSync(Schema.toCodecJson(OrSet.schema(Schema.String)))(set)
    assert.isTrue(Equal.equals(decode(JSON.parse(JSON.stringify(json))), set))
    assert.strictEqual(set.vector.get("__proto__"), 1)
  })
})
