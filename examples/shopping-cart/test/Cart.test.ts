import { assert, describe, it } from "@effect/vitest"
import { Journal, MemoryStorage } from "@sluice/core"
import { DateTime, Effect, Layer, Option, Ref, Result, Stream } from "effect"
import * as Cart from "../src/Cart.ts"
import { CheckedOut, ItemAdded } from "../src/contract.ts"

const pickTea: Cart.Command = { _tag: "PickItem", sku: "tea", quantity: 2, cents: 449 }
const by = { shopper: "ann", at: DateTime.makeUnsafe("2026-01-01T00:00:00Z") }

const view = (id: string) => Effect.flatMap(Cart.load(id), (view) => Ref.make(view))

describe("Cart", () => {
  it("charges for what was picked, and is empty afterwards", () => {
    const picked = Result.getOrThrow(Cart.decide(Cart.empty, pickTea, by))
    const paid = Result.getOrThrow(Cart.decide(Cart.evolve(Cart.empty, picked), { _tag: "Pay" }, by))
    assert.deepStrictEqual(paid, new Cart.Paid({ cents: 898, at: by.at }))
    assert.deepStrictEqual(Cart.evolve(Cart.evolve(Cart.empty, picked), paid), Cart.empty)
  })

  it("refuses to be paid for when it is empty", () => {
    assert.deepStrictEqual(Cart.decide(Cart.empty, { _tag: "Pay" }, by), Result.fail(new Cart.CartEmpty()))
  })

  it("tells others neither prices nor names, and nothing of coupons", () => {
    const { at } = by
    assert.deepStrictEqual(
      [
        new Cart.ItemPicked({ sku: "tea", quantity: 2, cents: 449, shopper: "ann" }),
        new Cart.Paid({ cents: 898, at }),
        new Cart.CouponTried({ code: "SAVE5", shopper: "ann" })
      ].map(Cart.toPublic),
      [Option.some(new ItemAdded({ sku: "tea", quantity: 2 })), Option.some(new CheckedOut({ at })), Option.none()]
    )
  })

  it.effect("lets nobody decide on an old view", () =>
    Effect.gen(function*() {
      const ann = yield* view("c-1")
      yield* Cart.handle(ann, "ann", pickTea)
      const bob = yield* view("c-1")
      yield* Cart.handle(bob, "bob", { _tag: "Pay" })
      // ann still sees her tea, which bob has paid for
      const result = yield* Effect.result(Cart.handle(ann, "ann", { _tag: "Pay" }))

      assert.deepStrictEqual(result, Result.fail(new Cart.CartEmpty()))
      const events = yield* Stream.runCollect(Journal.read(Cart.entityType, "c-1"))
      assert.deepStrictEqual(events.map(({ event }) => event._tag), ["ItemPicked", "Paid"])
    }).pipe(Effect.provide(Layer.fresh(MemoryStorage.layer))))
})
