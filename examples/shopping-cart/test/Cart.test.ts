import { assert, describe, it } from "@effect/vitest"
import { Journal, MemoryStorage } from "@sluice/core"
import { EventSourced } from "@sluice/entity"
import { DateTime, Effect, Layer, Option, Stream } from "effect"
import * as Cart from "../src/Cart.ts"
import { CheckedOut, ItemAdded } from "../src/contract.ts"

const tea = { sku: "tea", quantity: 2, cents: 449, shopper: "ann" }

const eventsOf = (id: string) =>
  Effect.map(
    Stream.runCollect(Journal.read(Cart.entityType, id)),
    (read) => read.map(({ event, tags }) => ({ event, tags }))
  )

const carts = EventSourced.layerPlain(Cart.Cart).pipe(Layer.provideMerge(Layer.fresh(MemoryStorage.layer)))

describe("Cart", () => {
  it.effect("charges for what was picked, and is empty afterwards", () =>
    Effect.gen(function*() {
      const cart = (yield* EventSourced.client(Cart.Cart))("c-1")
      assert.deepStrictEqual(yield* cart.PickItem(tea), { isLarge: false, items: 2, cents: 898 })
      assert.deepStrictEqual(yield* cart.Pay(), { isLarge: false, items: 0, cents: 0 })
      assert.deepStrictEqual(yield* cart.Look(), { isLarge: false, items: 0, cents: 0 })
      assert.deepStrictEqual(yield* eventsOf("c-1"), [
        { event: new Cart.ItemPicked(tea), tags: [] },
        { event: new Cart.Paid({ cents: 898, at: yield* DateTime.now }), tags: [] }
      ])
    }).pipe(Effect.provide(carts)))

  it.effect("refuses to be paid for when it is empty, and an item that is none", () =>
    Effect.gen(function*() {
      const cart = (yield* EventSourced.client(Cart.Cart))("c-1")
      assert.deepStrictEqual(yield* Effect.flip(cart.Pay()), new Cart.CartEmpty())
      assert.strictEqual((yield* Effect.flip(cart.PickItem({ ...tea, quantity: 0 })))._tag, "InvalidCommand")
      assert.deepStrictEqual(yield* eventsOf("c-1"), [])
    }).pipe(Effect.provide(carts)))

  it.effect("does once what is asked for twice", () =>
    Effect.gen(function*() {
      const cart = (yield* EventSourced.client(Cart.Cart))("c-4")
      const first = yield* cart.PickItem(tea, { commandId: "1" })
      assert.deepStrictEqual(yield* cart.PickItem(tea, { commandId: "1" }), first)
      assert.deepStrictEqual(yield* eventsOf("c-4"), [{ event: new Cart.ItemPicked(tea), tags: [Cart.large] }])
    }).pipe(Effect.provide(carts)))

  it.effect("tells others neither prices nor names, and nothing of coupons", () =>
    Effect.gen(function*() {
      const at = yield* DateTime.now
      assert.deepStrictEqual(
        [
          new Cart.ItemPicked(tea),
          new Cart.Paid({ cents: 898, at }),
          new Cart.CouponTried({ code: "SAVE5", shopper: "ann" })
        ].map(Cart.toPublic),
        [Option.some(new ItemAdded({ sku: "tea", quantity: 2 })), Option.some(new CheckedOut({ at })), Option.none()]
      )
    }))
})
