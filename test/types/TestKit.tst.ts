import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import type { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import type { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import type * as Source from "@sluice/core/Source"
import { Transaction } from "@sluice/core/Transaction"
import * as HandlerTest from "@sluice/testing/HandlerTest"
import type { TestSource } from "@sluice/testing/TestSource"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { describe, expect, test } from "tstyche"

class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String }) {}
class CheckedOut extends Schema.TaggedClass<CheckedOut>()("CheckedOut", {}) {}

const Cart = EntityType.make("cart", { event: ItemAdded })
const items = null as unknown as TestSource<ItemAdded>

const outside = ({ event }: Envelope<ItemAdded>) => event.sku === "" ? Effect.void : Effect.fail("broken" as const)
const inTransaction = (envelope: Envelope<ItemAdded>) => Effect.andThen(Transaction, outside(envelope))

describe("TestSource", () => {
  test("is a source of its events, and needs nothing", () => {
    expect<Source.Event<typeof items>>().type.toBe<ItemAdded>()
    expect<Source.Services<typeof items>>().type.toBe<never>()
    expect(items.pipe(Projection.atLeastOnce("items", outside))).type.toBeAssignableTo<
      Projection.Projection<unknown, Projection.Stores>
    >()
  })

  test("takes no events of another type", () => {
    expect(items.publish).type.toBeCallableWith({ id: "c-1", events: [new ItemAdded({ sku: "tea" })] as const })
    expect(items.publish).type.not.toBeCallableWith({ id: "c-1", events: [new CheckedOut({})] as const })
    expect(items.publish).type.not.toBeCallableWith({ id: "c-1", events: [] as const })
  })
})

describe("HandlerTest", () => {
  test("gives a Transaction to exactly-once handlers", () => {
    expect(HandlerTest.exactlyOnce(Cart, inTransaction)).type.toBeAssignableTo<
      Effect.Effect<unknown, unknown, OffsetStore | ProjectionManagement | Scope.Scope>
    >()
  })

  test("gives none to others", () => {
    expect(HandlerTest.atLeastOnce).type.not.toBeCallableWith(Cart, inTransaction)
  })

  test("fails as the handler does", () => {
    const made = HandlerTest.atLeastOnce(Cart, outside)
    expect(made).type.toBe<Effect.Effect<HandlerTest.HandlerTest<ItemAdded, "broken">, "broken", Scope.Scope>>()
  })
})
