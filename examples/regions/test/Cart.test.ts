import { assert, describe, it } from "@effect/vitest"
import { EventFilter, Journal, MemoryStorage } from "@sluice/core"
import { Replica, ReplicatedEventSourced } from "@sluice/replication"
import { Effect, Layer, Stream } from "effect"
import * as Cart from "../src/Cart.ts"

const inRegion = (id: Cart.Region) =>
  Effect.provide(
    ReplicatedEventSourced.layerPlain(Cart.Cart).pipe(
      Layer.provideMerge([Replica.layer(id), Layer.fresh(MemoryStorage.layer)])
    )
  )

/** Whether the events of a cart leave the region. */
const leave = Effect.fnUntraced(function*(journalId: string) {
  const passes = EventFilter.compile(Cart.shared)
  const events = yield* Stream.runCollect(Journal.read(Cart.entityType, journalId))
  return events.map((event) => passes(event))
})

describe("Cart", () => {
  it.effect("says how many of each product are in it", () =>
    Effect.gen(function*() {
      const cart = (yield* ReplicatedEventSourced.client(Cart.Cart))("fr-1")
      yield* cart.Add({ sku: "tea", quantity: 2 })
      assert.deepStrictEqual(yield* cart.Add({ sku: "milk", quantity: 1 }), { milk: 1, tea: 2 })
      assert.deepStrictEqual(yield* cart.Remove({ sku: "tea" }), { milk: 1 })
      assert.deepStrictEqual(yield* cart.Remove({ sku: "tea" }), { milk: 1 })
      assert.deepStrictEqual(yield* cart.Look(), { milk: 1 })
      assert.deepStrictEqual(yield* leave("fr-1|us"), [true, true, true, true])
      assert.strictEqual((yield* Effect.flip(cart.Add({ sku: "tea", quantity: 0 })))._tag, "InvalidCommand")
    }).pipe(inRegion("us")))

  it.effect("of Germany takes commands in eu, and its events do not leave that", () =>
    Effect.gen(function*() {
      const cart = (yield* ReplicatedEventSourced.client(Cart.Cart))("de-1")
      assert.deepStrictEqual(yield* cart.Add({ sku: "tea", quantity: 2 }), { tea: 2 })
      assert.deepStrictEqual(yield* leave("de-1|eu"), [false])
    }).pipe(inRegion("eu")))

  it.effect("of Germany is refused in another region", () =>
    Effect.gen(function*() {
      const cart = (yield* ReplicatedEventSourced.client(Cart.Cart))("de-1")
      const refused = new Cart.KeptElsewhere({ region: "eu" })
      assert.deepStrictEqual(yield* Effect.flip(cart.Add({ sku: "tea", quantity: 2 })), refused)
      assert.deepStrictEqual(yield* Effect.flip(cart.Remove({ sku: "tea" })), refused)
      assert.deepStrictEqual(yield* Effect.flip(cart.Look()), refused)
      assert.deepStrictEqual(yield* leave("de-1|us"), [])
    }).pipe(inRegion("us")))
})
