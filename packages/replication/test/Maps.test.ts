import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Counter from "@sluice/replication/Counter"
import * as GCounter from "@sluice/replication/GCounter"
import * as LwwMap from "@sluice/replication/LwwMap"
import * as LwwRegister from "@sluice/replication/LwwRegister"
import * as MapValue from "@sluice/replication/MapValue"
import * as MvRegister from "@sluice/replication/MvRegister"
import * as OrMap from "@sluice/replication/OrMap"
import * as OrSet from "@sluice/replication/OrSet"
import * as Equal from "effect/Equal"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type Draw, type Op, type Order, runMany } from "./kit/deliveries.ts"

const Key = Schema.Struct({ sku: Schema.String })
type Key = typeof Key.Type
const keys: ReadonlyArray<Key> = ["tea", "milk", "salt"].map((sku) => ({ sku }))

/** What a delta was made for: what the oracle reads. */
interface Said<D> {
  readonly key: string
  readonly update?: D | undefined
}

/** What there is to a key: its updates, those that no removal has seen, and what these make of it. */
const kept = <W, D>(
  said: ReadonlyMap<unknown, Said<D>>,
  ops: ReadonlyArray<Op<OrMap.Delta<Key, W>>>,
  { sku }: Key
) => {
  const removals = ops.filter(({ delta }) => delta._tag === "OrMapRemoved" && delta.keys.some((key) => key.sku === sku))
  const updates = ops.flatMap((op) => {
    const { key, update } = said.get(op.delta) ?? {}
    return key === sku && update !== undefined ? [{ op, update }] : []
  })
  const isKept = ({ op }: { readonly op: Op<unknown> }) => !removals.some((removal) => removal.seen.has(op.id))
  /**
   * By replica, if it has an update that is kept: all that it has put into the value since it last had nothing there itself.
   */
  const parts = new Map<string, ReadonlyArray<D>>()
  for (const replica of new Set(updates.map(({ op }) => op.replica))) {
    const own = updates.filter(({ op }) => op.replica === replica)
    if (!isKept(own.at(-1)!)) continue
    let chain: ReadonlyArray<D> = []
    own.forEach(({ op, update }, i) => {
      const before = own[i - 1]
      const isGone = before === undefined ||
        removals.some((removal) => removal.seen.has(before.op.id) && (op.seen.has(removal.id)))
      chain = isGone ? [update] : [...chain, update]
    })
    parts.set(replica, chain)
  }
  return { updates: updates.filter(isKept), all: updates, parts }
}

/** Runs histories of a type of map, and compares each value at the end with the one that is expected. */
const compare = <V, D, S, W, E>(
  maps: OrMap.Maps<Key, V, D, S, W>,
  options: {
    readonly order: Order
    readonly write: (value: V, replica: string, draw: Draw) => D
    readonly read: (value: V) => E
    readonly expected: (history: {
      readonly updates: ReadonlyArray<{ readonly op: Op<unknown>; readonly update: D }>
      readonly all: ReadonlyArray<{ readonly op: Op<unknown>; readonly update: D }>
      readonly parts: ReadonlyMap<string, ReadonlyArray<D>>
    }) => E
  }
): void => {
  const said = new Map<unknown, Said<D>>()
  let waited = 0
  let present = 0
  runMany<OrMap.OrMap<Key, S>, OrMap.Delta<Key, W>>(
    {
      state: maps.schema,
      delta: maps.delta,
      empty: maps.empty,
      apply: (map, delta) => {
        const after = maps.apply(map, delta)
        waited = Math.max(waited, HashSet.size(after.waiting))
        assert.strictEqual(maps.size(after), maps.keys(after).length)
        return after
      },
      write: (map, replica, draw) => {
        const key = { ...draw.of(keys) }
        const what = draw.below(12)
        if (what === 0) return maps.clear(map, replica)
        if (what < 5) return maps.remove(map, replica, key)
        let update: D | undefined
        const delta = maps.update(map, replica, key, (value) => update = options.write(value, replica, draw))
        said.set(delta, { key: key.sku, update })
        return delta
      }
    },
    { order: options.order, repeats: false },
    (map, ops, seed) => {
      for (const key of keys) {
        const where = `'${key.sku}', seed ${seed}`
        const history = kept(said, ops, key)
        assert.strictEqual(maps.has(map, key), history.updates.length > 0, where)
        const value = maps.get(map, key)
        assert.strictEqual(Option.isSome(value), history.updates.length > 0, where)
        if (Option.isNone(value)) continue
        present++
        assert.deepStrictEqual(options.read(value.value), options.expected(history), where)
      }
      assert.strictEqual(HashSet.size(map.waiting), 0)
      assert.deepStrictEqual(maps.entries(map).map(([key]) => key), maps.keys(map))
    }
  )
  assert.isAbove(present, 100)
  assert.strictEqual(waited > 0, options.order === "origin")
}

const takesAway = (delta: OrSet.Delta<string>, element: string): boolean =>
  delta._tag === "OrSetMerged" || (delta._tag === "OrSetRemoved" && delta.elements.includes(element))

const sum = (parts: ReadonlyMap<string, ReadonlyArray<{ readonly amount: bigint }>>) =>
  Array.from(parts.values()).flat().reduce((sum, { amount }) => sum + amount, BigInt(0))

for (const order of ["causal", "origin"] satisfies ReadonlyArray<Order>) {
  describe(`an OrMap, in ${order} order, has what no removal has seen`, () => {
    it("of Counters", () => {
      compare(OrMap.make(Key, MapValue.counter), {
        order,
        write: (_value, _replica, draw) => Counter.increment(draw.below(9) - 4),
        read: ({ value }) => value,
        expected: ({ parts }) => sum(parts)
      })
    })

    it("of GCounters", () => {
      compare(OrMap.make(Key, MapValue.gCounter), {
        order,
        write: (_value, _replica, draw) => GCounter.increment(draw.below(9)),
        read: ({ value }) => value,
        expected: ({ parts }) => sum(parts)
      })
    })

    it("of LwwRegisters", () => {
      compare(OrMap.make(Key, MapValue.lwwRegister(Schema.String, "initial")), {
        order,
        write: (value, replica, draw) => LwwRegister.write(value, replica, draw.below(9), `${draw.below(99)}`),
        read: ({ value }) => value,
        expected: ({ parts }) =>
          Array.from(parts.values(), (part) => part.at(-1)!).reduce((a, b) => {
            if (a.written.time !== b.written.time) return a.written.time > b.written.time ? a : b
            return a.written.replica < b.written.replica ? a : b
          }).value
      })
    })

    it("of MvRegisters", () => {
      compare(OrMap.make(Key, MapValue.mvRegister(Schema.String)), {
        order,
        write: (value, replica, draw) => MvRegister.write(value, replica, `${replica}-${draw.below(99)}`),
        read: MvRegister.values,
        expected: ({ parts }) => {
          const last = Array.from(parts.values(), (part) => part.at(-1)!)
          return last.filter((a) =>
            !last.some((b) => b !== a && a.vector.get(a.replica)! <= (b.vector.get(a.replica) ?? 0))
          ).toSorted((a, b) => a.replica < b.replica ? -1 : 1).map(({ value }) => value)
        }
      })
    })

    it("of OrSets", () => {
      const elements = ["a", "b", "c"]
      compare(OrMap.make(Key, MapValue.orSet(Schema.String)), {
        order,
        write: (set, replica, draw): OrSet.Delta<string> => {
          const what = draw.below(10)
          if (what < 4) return OrSet.add(set, replica, draw.of(elements))
          if (what < 6) return OrSet.addAll(set, replica, [draw.of(elements), draw.of(elements)])
          return what < 9 ? OrSet.remove(set, replica, draw.of(elements)) : OrSet.clear(set, replica)
        },
        read: (set) => OrSet.values(set).toSorted(),
        expected: ({ all, updates }) =>
          elements.filter((element) =>
            updates.some(({ op, update }) =>
              update._tag === "OrSetAdded" && update.elements.some(([added]) => added === element) &&
              !all.some(({ op: removal, update }) => takesAway(update, element) && removal.seen.has(op.id))
            )
          )
      })
    })
  })
}

describe("an OrMap", () => {
  const Cart = OrMap.make(Schema.String, MapValue.counter)
  const Tags = OrMap.make(Schema.String, MapValue.orSet(Schema.String))

  it("begins again with a key that was removed", () => {
    let cart = Cart.empty
    for (const amount of [5, 1]) {
      cart = Cart.apply(cart, Cart.update(cart, "eu", "tea", () => Counter.increment(amount)))
      assert.deepStrictEqual(Cart.get(cart, "tea"), Option.some({ value: BigInt(amount) }))
      cart = Cart.apply(cart, Cart.remove(cart, "us", "tea"))
      assert.deepStrictEqual(Cart.get(cart, "tea"), Option.none())
    }
  })

  it("has a key whose value is empty", () => {
    let cart = Cart.apply(Cart.empty, Cart.update(Cart.empty, "eu", "tea", () => Counter.increment(1)))
    cart = Cart.apply(cart, Cart.update(cart, "us", "tea", () => Counter.decrement(1)))
    assert.deepStrictEqual(Cart.entries(cart), [["tea", { value: BigInt(0) }]])
    let tags = Tags.apply(Tags.empty, Tags.update(Tags.empty, "eu", "tea", (set) => OrSet.add(set, "eu", "hot")))
    tags = Tags.apply(tags, Tags.update(tags, "eu", "tea", (set) => OrSet.remove(set, "eu", "hot")))
    assert.deepStrictEqual(Tags.entries(tags).map(([key, set]) => [key, OrSet.values(set)]), [["tea", []]])
  })

  it("keeps nothing of keys that were removed, and one number a replica", () => {
    let tags = Tags.empty
    for (let i = 0; i < 500; i++) {
      tags = Tags.apply(tags, Tags.update(tags, "eu", `key-${i}`, (set) => OrSet.addAll(set, "eu", ["a", "b"])))
      tags = Tags.apply(tags, Tags.remove(tags, "us", `key-${i}`))
    }
    assert.deepStrictEqual(
      JSON.stringify(Schema.encodeSync(Schema.toCodecJson(Tags.schema))(tags)),
      `{"vector":[["eu",1000]],"entries":[]}`
    )
  })

  it("refuses a delta that was applied, and the second of two that were made from one map", () => {
    const update = Cart.update(Cart.empty, "eu", "tea", () => Counter.increment(1))
    const cart = Cart.apply(Cart.empty, update)
    assert.throws(() => Cart.apply(cart, update), RangeError)
    const twin = Cart.update(Cart.empty, "eu", "milk", () => Counter.increment(1))
    assert.throws(() => Cart.apply(cart, twin), "made from the same value")
  })

  it("is not read from what is no map", () => {
    const decode = Schema.decodeUnknownSync(Schema.toCodecJson(Cart.schema))
    const entry = { key: "tea", dots: [["eu", 1]], removed: [], store: [["eu", "5"]] }
    const good = { vector: [["eu", 2]], entries: [entry] }
    assert.deepStrictEqual(Cart.get(decode(good), "tea"), Option.some({ value: BigInt(5) }))
    const other = { ...entry, key: "milk", dots: [["eu", 2]] }
    for (
      const entries of [
        [entry, { ...entry, dots: [["eu", 2]] }],
        [entry, { ...other, dots: [["eu", 1]] }],
        [{ ...entry, dots: [] }],
        [{ ...entry, dots: [], store: [] }],
        [{ ...entry, dots: [["eu", 3]] }],
        [{ ...entry, store: [] }],
        [{ ...entry, store: [["us", "5"]] }],
        [{ ...entry, store: [["eu", "5"], ["eu", "6"]] }],
        [{ ...entry, store: [["eu", 5]] }],
        [{ ...entry, removed: [["eu", 2]] }],
        [{ ...entry, key: 1 }]
      ]
    ) assert.throws(() => decode({ ...good, entries }))

    const sets = Schema.decodeUnknownSync(Schema.toCodecJson(Tags.schema))
    const set = { vector: [], entries: [["hot", [["eu", 1]]]], pending: [] }
    assert.strictEqual(Tags.size(sets({ ...good, entries: [{ ...entry, store: set }] })), 1)
    for (
      const store of [
        { ...set, entries: [["hot", [["eu", 3]]]] },
        { ...set, entries: [["hot", [["eu", 1]]], ["cold", [["eu", 1]]]] },
        { ...set, pending: [["hot", [["eu", 1]]]] }
      ]
    ) assert.throws(() => sets({ ...good, entries: [{ ...entry, store }] }))
  })

  it("is not given dots that nobody has given away", () => {
    const decode = Schema.decodeUnknownSync(Schema.toCodecJson(Tags.delta))
    const added = { _tag: "OrSetAdded", replica: "eu", elements: [["hot", 2]] }
    const good = { _tag: "OrMapUpdated", replica: "eu", version: 2, key: "tea", written: added }
    assert.strictEqual(decode(good)._tag, "OrMapUpdated")
    for (
      const written of [
        { ...added, elements: [["hot", 3]] },
        { ...added, replica: "us" },
        { _tag: "OrSetGroup", deltas: [added, { ...added, elements: [["cold", 3]] }] }
      ]
    ) assert.throws(() => decode({ ...good, written }))
    const register = Schema.decodeUnknownSync(
      Schema.toCodecJson(OrMap.make(Schema.String, MapValue.mvRegister(Schema.String)).delta)
    )
    assert.throws(() => register({ ...good, written: { vector: [["us", 1]], value: "a" } }))
    assert.throws(() => register({ ...good, written: { vector: [["eu", 3]], value: "a" } }))
  })
})

const put = (map: LwwMap.LwwMap<string, number>, replica: string, key: string) =>
  LwwMap.apply(map, LwwMap.put(map, replica, 1, key, 7))

describe("an LwwMap", () => {
  for (const order of ["causal", "origin"] satisfies ReadonlyArray<Order>) {
    it(`has, in ${order} order, the last write of each key of those that no removal has seen`, () => {
      const ops = new Map<unknown, { readonly key: string; readonly value: string; readonly time: number }>()
      runMany<LwwMap.LwwMap<Key, string>, LwwMap.Delta<Key, string>>(
        {
          state: LwwMap.schema(Key, Schema.String),
          delta: LwwMap.delta(Key, Schema.String),
          empty: LwwMap.empty,
          apply: LwwMap.apply,
          write: (map, replica, draw) => {
            const key = draw.of(keys)
            const what = draw.below(12)
            if (what === 0) return LwwMap.clear(map, replica)
            if (what < 4) return LwwMap.remove(map, replica, key)
            const value = `${replica}-${draw.below(99)}`
            const delta = LwwMap.put(map, replica, draw.below(9), key, value)
            if (delta._tag === "OrMapUpdated") ops.set(delta, { key: key.sku, value, time: delta.written.written.time })
            return delta
          }
        },
        { order, repeats: false },
        (map, all, seed) => {
          for (const key of keys) {
            const left = all.filter(({ delta, id }) =>
              ops.get(delta)?.key === key.sku &&
              !all.some((removal) =>
                removal.delta._tag === "OrMapRemoved" && removal.delta.keys.some(({ sku }) => sku === key.sku) &&
                removal.seen.has(id)
              )
            )
            const [last] = left.map(({ delta, replica }) => ({ ...ops.get(delta)!, replica })).toSorted((a, b) =>
              b.time - a.time || (a.replica < b.replica ? -1 : 1)
            )
            assert.deepStrictEqual(Option.getOrUndefined(LwwMap.get(map, { ...key })), last?.value, `seed ${seed}`)
            assert.strictEqual(LwwMap.has(map, key), last !== undefined)
          }
          assert.strictEqual(LwwMap.size(map), LwwMap.keys(map).length)
          assert.deepStrictEqual(LwwMap.entries(map).map(([key]) => key), LwwMap.keys(map))
        }
      )
    })
  }

  it("is equal to another one of the same content", () => {
    const one = put(put(LwwMap.empty, "eu", "a"), "us", "b")
    const other = put(put(LwwMap.empty, "us", "b"), "eu", "a")
    assert.isTrue(Equal.equals(one, other))
    assert.deepStrictEqual(LwwMap.entries(one), [["a", 7], ["b", 7]])
  })
})

describe("deltas are events of an entity", () => {
  const types = [
    ["Counter", Counter.delta, Counter.increment(2)],
    ["GCounter", GCounter.delta, GCounter.increment(2)],
    ["LwwRegister", LwwRegister.delta(Key), LwwRegister.write(LwwRegister.make({ sku: "a" }), "eu", 1, { sku: "b" })],
    ["MvRegister", MvRegister.delta(Key), MvRegister.write(MvRegister.empty, "eu", { sku: "b" })],
    ["OrSet", OrSet.delta(Key), OrSet.addAll(OrSet.empty, "eu", [{ sku: "a" }, { sku: "b" }])],
    ["OrMap", OrMap.make(Key, MapValue.counter).delta, LwwMap.remove(LwwMap.empty, "eu", { sku: "a" })],
    ["LwwMap", LwwMap.delta(Key, Schema.Date), LwwMap.put(LwwMap.empty, "eu", 1, { sku: "a" }, new Date(7))]
  ] as ReadonlyArray<
    readonly [name: string, schema: Schema.Codec<{ readonly _tag: string }, unknown>, delta: { readonly _tag: string }]
  >

  it.each(types)("of %s", (_, schema, delta) => {
    const { codec } = EntityType.make("entity", { event: schema })
    const payload = codec.encodeUnsafe(delta)
    assert.strictEqual(payload.manifest, `json.sluice/${delta._tag}`)
    assert.isTrue(Equal.equals(codec.decodeUnsafe(payload), delta))
  })
})
