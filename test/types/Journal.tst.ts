import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import type { Receipt } from "@sluice/core/Receipt"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import * as StateType from "@sluice/core/StateType"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expect, test } from "tstyche"

class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String }) {}
class CheckedOut extends Schema.TaggedClass<CheckedOut>()("CheckedOut", {}) {}
class CouponTried extends Schema.TaggedClass<CouponTried>()("CouponTried", { code: Schema.String }) {}

const Cart = EntityType.make("cart", { event: Schema.Union([ItemAdded, CheckedOut]) })
const CartState = StateType.make("cart", { state: Schema.Struct({ items: Schema.Int }) })
const tea = new ItemAdded({ sku: "tea" })

type Append<A> = Effect.Effect<A, Journal.AppendError, Journal.Journal>

describe("Journal.append", () => {
  test("says where events were written that are known to be there", () => {
    expect(Journal.append(Cart, { id: "c-1", events: [tea] })).type.toBe<Append<Receipt>>()
    expect(Journal.append(Cart, { id: "c-1", events: [tea, new CheckedOut({})] })).type.toBe<Append<Receipt>>()
    const some = null as unknown as NonEmptyReadonlyArray<ItemAdded>
    expect(Journal.append(Cart, { id: "c-1", events: some })).type.toBe<Append<Receipt>>()
  })

  test("takes any array, and may have written nothing of it", () => {
    const decided: ReadonlyArray<ItemAdded | CheckedOut> = []
    expect(Journal.append(Cart, { id: "c-1", events: decided })).type.toBe<Append<Receipt | undefined>>()
    const mutable: Array<ItemAdded> = []
    expect(Journal.append(Cart, { id: "c-1", events: mutable })).type.toBe<Append<Receipt | undefined>>()
    expect(Journal.append(Cart, { id: "c-1", events: [] })).type.toBe<Append<Receipt | undefined>>()
  })

  test("refuses events that the type does not have", () => {
    // @ts-expect-error is not assignable to type 'ItemAdded | CheckedOut'
    void Journal.append(Cart, { id: "c-1", events: [new CouponTried({ code: "SPRING" })] })
  })

  test("gives a function for tags the events of the type", () => {
    void Journal.append(Cart, {
      id: "c-1",
      events: [tea],
      tags: (event) => {
        expect(event).type.toBe<ItemAdded | CheckedOut>()
        return []
      }
    })
  })
})

test("numbers are plain where users write them", () => {
  expect(Journal.append).type.toBeCallableWith(Cart, { id: "c-1", events: [tea], expected: 3 })
  expect(Journal.append).type.not.toBeCallableWith(Cart, { id: "c-1", events: [tea], expected: "nothing" })
  expect(Journal.read).type.toBeCallableWith(Cart, "c-1", { from: 2, to: 3 })
  expect(Journal.deleteEvents).type.toBeCallableWith(Cart, "c-1", { to: 3 })
  expect(SnapshotStore.save).type.toBeCallableWith(CartState, { id: "c-1", sequenceNumber: 3, state: { items: 1 } })
  expect(SnapshotStore.load).type.toBeCallableWith(CartState, "c-1", { maxSequenceNumber: 3 })
  expect(DurableStateStore.upsert).type.toBeCallableWith(CartState, { id: "c-1", expected: 0, state: { items: 1 } })
})
